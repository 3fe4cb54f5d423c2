"""Known ways out, tried from inside a transaction's jail; run under the system's Python in a worker's namespaces, prints one JSON object.

Arguments: folders of the worker's and of the jail's modules, an empty folder, a readable folder, a writable folder, a file with a secret, a process
of the machine, the name of an abstract socket, a port on loopback.
"""

# ruff: noqa: SIM115, PTH

import ctypes
import json
import os
import signal
import socket
import stat
import sys

sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[2])
import jail
import limits
import relay

PLACE, READABLE, WRITABLE, SECRET, OUTSIDER, ABSTRACT, PORT = sys.argv[3:]
BOUNDS = {"seconds": 120.0, "processes": 4096, "memory": 1 << 30, "disk": 1 << 30, "files": 100_000, "output": 1 << 20}
LIBC = ctypes.CDLL(None, use_errno=True)
DISK = os.stat("/").st_dev
NUMBERS = {
    "x86_64": {"unshare": 272, "clone": 56, "clone3": 435, "setns": 308, "ptrace": 101, "keyctl": 250, "bpf": 321, "io_uring_setup": 425}
    | {"perf_event_open": 298, "open_by_handle_at": 304, "process_vm_readv": 310, "mount": 165, "fsopen": 430, "reboot": 169, "pidfd_getfd": 438}
    | {"userfaultfd": 323, "init_module": 175, "kexec_load": 246},
    "aarch64": {"unshare": 97, "clone": 220, "clone3": 435, "setns": 268, "ptrace": 117, "keyctl": 219, "bpf": 280, "io_uring_setup": 425}
    | {"perf_event_open": 241, "open_by_handle_at": 265, "process_vm_readv": 270, "mount": 40, "fsopen": 430, "reboot": 142, "pidfd_getfd": 438}
    | {"userfaultfd": 282, "init_module": 105, "kexec_load": 104},
}[os.uname().machine]


def call(name, *arguments):
    """A system call by its number; "done", or why not."""
    ctypes.set_errno(0)
    result = LIBC.syscall(NUMBERS[name], *arguments)
    if result == 0 and name in ("clone",):
        os._exit(0)  # the child that should not be
    return "done" if result >= 0 else os.strerror(ctypes.get_errno())


def attempt(what):
    try:
        found = what()
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return "done" if found is None else found


def device(kind, number, folder):
    path = f"{folder}/device-{number}"
    os.mknod(path, kind | 0o600, number)
    os.close(os.open(path, os.O_RDONLY))


def escape():
    """The double chroot; what is seen then."""
    os.makedirs("/tmp/cell", exist_ok=True)
    os.chroot("/tmp/cell")
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return {"top": sorted(os.listdir("/")), "secret": os.path.exists(SECRET)}


def in_child(what):
    """In a child of its own, as a scriptlet is one: what it answers."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(sink, json.dumps(attempt(what)).encode())
        os._exit(0)
    os.close(sink)
    os.waitpid(child, 0)
    with os.fdopen(source, "rb") as stream:
        return json.loads(stream.read())


def executed(*argv):
    """A program of the machine, as a scriptlet starts one."""
    import subprocess

    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def connect(family, address):
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(address)


def write(path):
    with open(path, "r+b", buffering=0) as sink:
        sink.write(b"x")


def make(path):
    with open(path, "xb"):
        pass


def work(_fetch):
    found = {
        "secret": attempt(lambda: os.close(os.open(SECRET, os.O_RDONLY))),
        "double chroot": in_child(escape),
        "disk in the work folder": attempt(lambda: device(stat.S_IFBLK, DISK, WRITABLE)),
        "disk in /tmp": attempt(lambda: device(stat.S_IFBLK, DISK, "/tmp")),
        "disk in /dev": attempt(lambda: device(stat.S_IFBLK, DISK, "/dev")),
        "memory device": attempt(lambda: device(stat.S_IFCHR, os.makedev(1, 1), WRITABLE)),
        "root of process 1": in_child(lambda: os.readlink("/proc/1/root")),
        "memory of process 1": in_child(lambda: os.close(os.open("/proc/1/mem", os.O_RDONLY))),
        "descriptors of process 1": in_child(lambda: os.readlink("/proc/1/fd/0")),
        "ptrace": in_child(lambda: call("ptrace", 16, 1, 0, 0)),
        "process_vm_readv": in_child(lambda: call("process_vm_readv", 1, 0, 0, 0, 0, 0)),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) == [1],
        "signal": attempt(lambda: os.kill(int(OUTSIDER), signal.SIGTERM)),
        "abstract socket": attempt(lambda: connect(socket.AF_UNIX, "\0" + ABSTRACT)),
        "loopback": attempt(lambda: connect(socket.AF_INET, ("127.0.0.1", int(PORT)))),
        "vsock": attempt(lambda: socket.socket(socket.AF_VSOCK).close()),
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, b""),
        "remount /usr": call("mount", b"none", b"/usr", None, 0x20 | 0x1000, None),
        "user namespace": call("unshare", 0x10000000),
        "mount namespace": call("unshare", 0x20000),
        "clone into a user namespace": call("clone", 0x10000000 | 17, 0, 0, 0, 0),
        "clone3": call("clone3", 0, 0),
        "setns": call("setns", 0, 0),
        "core pattern": attempt(lambda: write("/proc/sys/kernel/core_pattern")),
        "sysrq": attempt(lambda: write("/proc/sysrq-trigger")),
        "kernel memory": attempt(lambda: os.close(os.open("/proc/kcore", os.O_RDONLY))),
        "system": attempt(lambda: make("/usr/bin/planted")),
        "settings": attempt(lambda: write("/etc/passwd")),
        "root directory": attempt(lambda: make("/planted")),
        "repository": attempt(lambda: make(f"{READABLE}/planted")),
        "host name": attempt(lambda: socket.sethostname("x")),
        "setuid program": executed("/bin/sh", "-c", "grep -E ^Cap\\(Eff\\|Bnd\\) /proc/self/status"),
        "top": sorted(os.listdir("/")),
        "capabilities": next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")),
        "bounding": next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd")),
    }
    for name in ("keyctl", "bpf", "io_uring_setup", "perf_event_open", "open_by_handle_at", "fsopen", "reboot", "pidfd_getfd", "userfaultfd"):
        found[name] = call(name, 0, 0, 0, 0, 0)
    for name in ("init_module", "kexec_load"):
        found[name] = call(name, 0, 0, 0, 0, 0)
    # What a transaction does need:
    with open(f"{WRITABLE}/file", "wb"):
        pass
    found["needed"] = [
        attempt(lambda: os.chown(f"{WRITABLE}/file", 1234, 1234)),
        attempt(lambda: os.setxattr(f"{WRITABLE}/file", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))),
        attempt(lambda: os.chmod(f"{WRITABLE}/file", 0o4755)),
        attempt(lambda: os.mknod(f"{WRITABLE}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))),
        in_child(lambda: os.setuid(1234)),
        in_child(lambda: os.chroot(WRITABLE)),
        attempt(lambda: os.close(os.open("/dev/null", os.O_RDWR))),
    ]
    return {"ok": True, "found": found}


if __name__ == "__main__":
    filtered = jail.compile_filter()
    print(
        json.dumps(
            relay.run(
                lambda: jail.enter(PLACE, filtered, folders=[(READABLE, "ro"), (WRITABLE, "rw")], bounds=BOUNDS),
                work,
                relay.Namespaces(),
                lambda _: None,
                2,
                limits.Watch(limits.Group(""), [WRITABLE], BOUNDS),
            )["found"]
        )
    )
