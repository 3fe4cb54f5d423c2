"""Run a program that builds images in a root of its own.

This program must never be started outside mount, process, IPC and host name namespaces of its own, and never show a folder that it was not given.

Arguments: a JSON object, and the program with its own. ``place`` is an empty directory for the root, ``folders`` [[path, "ro" or "rw"]...],
``network`` the path of a network namespace, "" (the one it was started in) or null (the machine's). A program that builds images (``mounts``: true)
keeps the rights that mounting takes; what it runs for a step has its own, smaller set, and whoever leaves the step's root is in this one.
"""

# ruff: noqa: PTH100, PTH103, PTH110, PTH120

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import warnings  # noqa: F401  # os.execvpe takes it, when the library of a Python outside /usr is out of sight

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # isolated mode leaves it out
import jail
import limits

_CLONE_NEWNET = 0x40000000
_POLICY = ("containers/policy.json", "containers/registries.conf", "containers/registries.conf.d")
# What building takes beyond a transaction's capabilities: mounts, limits, the steps' own set.
_MORE = {"SETPCAP": 8, "NET_BIND_SERVICE": 10, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_RESOURCE": 24}
_CONFIGURATION = "/run/containers.conf"
_OWN_PROFILE, _PROFILE = "/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"
"""Of system calls, for steps: one of the machine's own counts before the one that comes with containers-common."""


def _containers_conf() -> str:
    """containers.conf(5) of the root. A step has the limits of whoever builds: newer tools ask for more than some machines grant."""
    limits = []
    for name, which in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        soft, hard = (-1 if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(which))
        limits.append(f'"{name}={soft}:{hard}"')
    return f'[containers]\ndefault_ulimits=[{", ".join(limits)}]\n[network]\nnetwork_config_dir="/run/networks"\n'


def _steps_profile() -> str:
    """The machine's profile leaves user namespaces to steps, which would give them every capability back. Some versions of buildah start a step in a
    chroot, where the kernel refuses one, others in a root of its own."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    for path in (_OWN_PROFILE, _PROFILE):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as source:
                profile = json.load(source)
            break
    return json.dumps(jail.narrowed(profile))


def main() -> int:
    wanted = json.loads(sys.argv[1])
    limits.Group(wanted["group"]).enter(wanted["bounds"])
    if wanted["network"]:
        handle = os.open(wanted["network"], os.O_RDONLY | os.O_CLOEXEC)
        if jail.libc.setns(handle, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    elif wanted["network"] is None:
        jail.SETTINGS += ("resolv.conf", "hosts")
    jail.SETTINGS += _POLICY
    place = wanted["place"]
    jail.furnish(place, wanted["folders"])
    for name in ("root", "run", "sys"):
        os.makedirs(f"{place}/{name}", exist_ok=True)  # a folder that was asked for may lie below it
    jail.mount("tmpfs", f"{place}/run", "tmpfs", jail.MS_NOSUID | jail.MS_NODEV, "mode=0755,size=64m")
    with open(place + _CONFIGURATION, "w", encoding="utf-8") as sink:
        sink.write(_containers_conf())
    if wanted["mounts"]:
        os.makedirs(os.path.dirname(place + _OWN_PROFILE), exist_ok=True)
        with open(place + _OWN_PROFILE, "w", encoding="utf-8") as sink:
            sink.write(_steps_profile())
    jail.mount("proc", f"{place}/proc", "proc", jail.MS_NOSUID | jail.MS_NODEV | jail.MS_NOEXEC)
    filtered = b"" if wanted["mounts"] else jail.compile_filter()
    jail.settle(place)
    if wanted["mounts"]:
        jail.bound({**jail.CAPABILITIES, **_MORE})
    else:
        jail.limit(filtered)
    limits.bound_process(wanted["bounds"])
    os.execvpe(sys.argv[2], sys.argv[2:], {**os.environ, "CONTAINERS_CONF": _CONFIGURATION})
    return 1


if __name__ == "__main__":
    sys.exit(main())
