"""The lab's own network, process and mount namespaces: start them, run programs inside, make them vanish.

This module must never touch a process it did not start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from topcoat.errors import InfrastructureError, UsageError
from topcoat.process import run
from zuul_lab import init_process
from zuul_lab.layout import GATEWAY, LAB_HOSTS, NODE_HOSTS, Places

INSIDE = "TOPCOAT_ZUUL_LAB_INSIDE"
_NAMESPACES = ("--net", "--pid", "--mount")


def _file(places: Places) -> Path:
    return places.state / "sandbox.json"


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot (proc(5), field 22), or None; tells a reused pid from ours."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rsplit(")", 1)[1].split()[19]


def holder_pid(places: Places) -> int | None:
    """The pid, seen from outside, of the lab's first process; None when no lab runs."""
    try:
        record = json.loads(_file(places).read_text())
    except FileNotFoundError:
        return None
    return record["pid"] if _started(record["pid"]) == record["started"] else None


def start(places: Places) -> int:
    """Make the namespaces.

    :returns: pid of the holder.
    :raises UsageError: not root, or a lab runs already in this state folder.
    :raises InfrastructureError: the kernel refuses.
    """
    if os.geteuid() != 0:
        raise UsageError("the lab needs root for its namespaces", next_step="run it as root")
    if holder_pid(places):
        raise UsageError(f"a lab runs already in {places.state}", next_step="`python -m zuul_lab down` ends it")
    if places.state.exists():
        shutil.rmtree(places.state)
    places.state.mkdir(parents=True)
    places.etc.mkdir()
    argv = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", sys.executable, init_process.__file__]
    unshare = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    assert unshare.stdout
    if unshare.stdout.readline().strip() != "ready":
        unshare.kill()
        raise InfrastructureError("could not make the lab's namespaces", retriable=False, next_step="run it where unshare(2) is allowed")
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
    record = {"pid": int(children[0]), "started": _started(int(children[0])), "unshare": unshare.pid}
    _file(places).write_text(json.dumps(record))
    hosts = places.etc / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {' '.join(LAB_HOSTS)}\n{GATEWAY} {' '.join(NODE_HOSTS)}\n")
    # A name server that refuses at once: an unreachable one costs Ansible's facts ten seconds for each host.
    resolver = places.etc / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    for source, target in ((hosts, "/etc/hosts"), (resolver, "/etc/resolv.conf")):
        enter(places, ["mount", "--bind", source, target])
    return record["pid"]


def argv_inside(pid: int, argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The argument list that runs a program inside the lab."""
    return ["nsenter", f"--target={pid}", "--net", "--pid", "--mount", "--", *map(os.fspath, argv)]


def enter(places: Places, argv: Sequence[str | os.PathLike[str]], *, timeout: float = 60) -> str:
    """Run one short program inside; its standard output."""
    pid = holder_pid(places)
    if not pid:
        raise UsageError(f"no lab runs in {places.state}", next_step="`python -m zuul_lab up` starts one")
    return run(argv_inside(pid, argv), timeout=timeout, failure=InfrastructureError).output


def stop(places: Places) -> bool:
    """End every process of the lab at once and forget its state.

    :returns: whether there was one.
    """
    pid = holder_pid(places)
    if pid:
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline and _started(pid):
            if _zombie(pid):
                break
            time.sleep(0.05)
    if places.state.exists():
        # Some hundred thousand files: rm is several times faster than Python here.
        run(["rm", "-rf", "--one-file-system", places.state], timeout=600, check=False)
    return pid is not None


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
