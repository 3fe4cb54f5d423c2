"""A process in a root of its own and with few rights, for programs that nobody has reviewed: scriptlets, and the parsers of what a registry sent.

This module must never import anything but the standard library, and never leave the process one right more than the lists here name.

The process sees the system's programs and libraries read-only, the folders it is given, an empty /tmp, the processes it started, and nothing else: no
home, no /run, no /var, no device of the machine, no network. Who breaks out of the image's root (``chroot`` is no boundary for root) is there.
"""

# Plain strings and calls throughout, as the system calls want them. This program also has to run on the Python 3.9 of CentOS Stream 9.
# ruff: noqa: PTH101, PTH102, PTH103, PTH108, PTH110, PTH112, PTH114, PTH115, PTH118, PTH120, PTH211

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import stat
import struct

import limits

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x2, 0x4, 0x8, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x08000000, 0x20000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What Python, dnf and rpm are made of."""
SETTINGS = (
    "ld.so.cache",
    "passwd",
    "group",
    "nsswitch.conf",
    "os-release",
    "localtime",
    "crypto-policies",
    "pki/tls/openssl.cnf",
    "ssl/openssl.cnf",
)
"""What of /etc their libraries read; none of it is a secret."""
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICE_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))

CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SYS_CHROOT": 18,  # rpm's own
    "MKNOD": 27,  # packages may hold devices; no mount that can be written lets one be opened
    "SETFCAP": 31,
}
"""Capabilities that remain (capabilities(7)), with their numbers: those that unpacking packages and running their scriptlets takes."""

_SCRATCH = "size=256m,nr_inodes=64k,mode=1777"
_SECCOMP_LIBRARY = "libseccomp.so.2"

# What no scriptlet needs and root can hurt the kernel or other processes with, also without a capability; more than the capabilities forbid already,
# because a user namespace would give them all back.
_FORBIDDEN = (
    "acct add_key bpf clock_adjtime clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick"
    " get_kernel_syms init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl"
    " lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages name_to_handle_at nfsservctl open_by_handle_at"
    " open_tree perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace query_module quotactl"
    " quotactl_fd reboot request_key set_mempolicy setns settimeofday stime swapoff swapon sysfs _sysctl syslog umount umount2 unshare"
    " uselib userfaultfd ustat vhangup vm86 vm86old"
)
_NAMESPACE_FLAGS = (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# Sockets that no network namespace holds: the kernel's cryptography, and the way to a hypervisor's host.
_FORBIDDEN_FAMILIES = (38, 40)
_FORBIDDEN_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing for somebody else

_EPERM, _ENOSYS = 1, 38


libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = [None if value is None else value.encode() for value in (source, target, kind)]
    if libc.mount(*encoded, ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind or 'bind'}: {os.strerror(number)}", target)


def new_namespaces(flags: int) -> None:
    """unshare(2); OSError when it fails."""
    _check(libc.unshare(flags), "unshare")


class _Comparison(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64))


def compile_filter() -> bytes:
    """The system call filter as a BPF program, for this machine's architecture and the 32-bit one beside it.

    :raises OSError: no libseccomp.
    """
    library = ctypes.CDLL(_SECCOMP_LIBRARY, use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(0x7FFF0000))  # SCMP_ACT_ALLOW
    if not context:
        raise OSError(_ENOSYS, "seccomp_init failed")
    try:
        for name in ("x86", "x32") if os.uname().machine == "x86_64" else ("arm",) if os.uname().machine == "aarch64" else ():
            library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
            library.seccomp_arch_add(context, ctypes.c_uint32(library.seccomp_arch_resolve_name(name.encode())))

        def deny(name: str, *comparisons: tuple, error: int = _EPERM) -> None:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                return  # a call that this libseccomp does not know
            rows = (_Comparison * len(comparisons))(*(_Comparison(*row) for row in comparisons))
            result = library.seccomp_rule_add_array(context, ctypes.c_uint32(0x00050000 | error), number, len(comparisons), rows)
            if result < 0 and number >= 0:
                raise OSError(-result, f"seccomp rule for {name}: {os.strerror(-result)}")

        for name in _FORBIDDEN.split():
            deny(name)
        deny("clone3", error=_ENOSYS)  # its flags lie in memory; C libraries go back to clone
        masked, equal = 7, 4
        for flag in _NAMESPACE_FLAGS:
            deny("clone", (0, masked, flag, flag))
        for family in _FORBIDDEN_FAMILIES:
            deny("socket", (0, equal, family, 0))
        for request in _FORBIDDEN_TERMINAL:
            deny("ioctl", (1, masked, 0xFFFFFFFF, request))
        with os.fdopen(os.memfd_create("filter"), "w+b") as sink:
            result = library.seccomp_export_bpf(context, sink.fileno())
            if result != 0:
                raise OSError(-result, "seccomp_export_bpf failed")
            sink.seek(0)
            return sink.read()
    finally:
        library.seccomp_release(context)


def enter(
    place: str,
    system_calls: bytes,
    *,
    folders: list,
    bounds: dict,
    system: Devices | None = None,
) -> None:
    """Make a root at an empty directory, move into it for good, and give up all rights but the listed ones.

    The caller is the first process of a process namespace and has mount and IPC namespaces of its own.

    :param system_calls: what ``compile_filter`` gave.
    :param folders: (path, "ro" | "rw"): shown at the same path.
    :param bounds: what one process may have (``topcoat.process.bounds``).
    :param system: where a root among the folders gets devices and a process table.
    :raises OSError: the kernel refused.
    """
    furnish(place, folders)
    mount("proc", f"{place}/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if system and system.processes:
        mount(f"{place}/proc", place + system.processes, None, MS_BIND)
    for name, _, _ in DEVICES if system and system.devices else ():
        target = f"{place}{system.devices}/{name}"
        if _plain(target):
            mount(f"{place}/dev/{name}", target, None, MS_BIND)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as sink:
        sink.write("500")  # short of memory, the machine ends this before what started it
    settle(place)
    limits.bound_process(bounds)
    limit(system_calls)


def narrowed(profile: dict) -> dict:
    """A profile of system calls (containers-common, seccomp.json), without what the filter of a transaction forbids."""
    forbidden = _FORBIDDEN.split()
    rules = []
    for rule in profile.get("syscalls") or ():
        names = [name for name in rule.get("names") or () if name not in forbidden and name not in ("clone", "clone3")]
        if names:
            rules.append({**rule, "names": names})
    # libseccomp takes no rule that says what it does anyway.
    usual = profile.get("defaultErrnoRet", _EPERM) if profile.get("defaultAction") == "SCMP_ACT_ERRNO" else None
    for names, error in ((forbidden, _EPERM), (["clone3"], _ENOSYS)):
        if error != usual:
            rules.append({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error})
    masked = {"index": 1 if os.uname().machine == "s390x" else 0, "op": "SCMP_CMP_MASKED_EQ"}
    if profile.get("defaultAction") == "SCMP_ACT_ALLOW":
        for flag in _NAMESPACE_FLAGS:
            rules.append({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM, "args": [{**masked, "value": flag, "valueTwo": flag}]})
    else:
        rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{**masked, "value": sum(_NAMESPACE_FLAGS), "valueTwo": 0}]})
    return {**profile, "syscalls": rules}


def furnish(place: str, folders: list) -> None:
    """Make a root at an empty directory: the system's programs, the folders, small devices, an empty /tmp."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m,nr_inodes=4k")
    _fill(place)
    for path, mode in folders:
        _show(path, place + path, mode)


def settle(place: str) -> None:
    """Move into a root that was made, for good; the root directory itself is read-only from now on."""
    mount("none", place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(place)
    # The old root comes to lie over the new one, and is taken off (pivot_root(2), "pivot_root(".", ".")").
    _check(libc.syscall(_pivot_root_number(), b".", b"."), "pivot_root")
    _check(libc.umount2(b".", MNT_DETACH), "umount of the machine's root")
    os.chdir("/")


def _pivot_root_number() -> int:
    # All newer architectures share one table of system calls (include/uapi/asm-generic/unistd.h).
    return {"x86_64": 155, "ppc64le": 203, "s390x": 217}.get(os.uname().machine, 41)


def _fill(place: str) -> None:
    for path in SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), place + path)
        elif os.path.isdir(path):
            _show(path, place + path, "ro")
    if os.path.isdir(f"{place}/usr/local"):
        mount("tmpfs", f"{place}/usr/local", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k")
    os.makedirs(f"{place}/etc")
    for name in SETTINGS:
        path = f"/etc/{name}"
        if os.path.exists(path):
            _show(os.path.realpath(path), f"{place}{path}", "ro")
    for name in ("proc", "dev", "tmp", "var"):
        os.mkdir(f"{place}/{name}")
    os.symlink("../tmp", f"{place}/var/tmp")
    mount("tmpfs", f"{place}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, _SCRATCH)
    mount("tmpfs", f"{place}/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k")
    for name, major, minor in DEVICES:
        target = f"{place}/dev/{name}"
        try:
            os.mknod(target, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(target, 0o666)
        except PermissionError:  # an ordinary user's namespace: the machine's own device, shown here
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            mount(f"/dev/{name}", target, None, MS_BIND)
    for name, target in DEVICE_LINKS:
        os.symlink(target, f"{place}/dev/{name}")
    # The file system itself, not this mount of it: a device that somebody made there could be opened, through whatever other mount.
    mount("none", f"{place}/dev", None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC)


def _show(path: str, target: str, mode: str) -> None:
    """Show a file or directory of the machine at a place of the new root; what is mounted below it stays out."""
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    mount(path, target, None, MS_BIND)
    mount("none", target, None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | (MS_RDONLY if mode == "ro" else 0))


def _plain(path: str) -> bool:
    """Whether there is something that a mount can lie over without following a link."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(kind) or stat.S_ISCHR(kind)


def limit(system_calls: bytes) -> None:
    """Give up all rights but ``CAPABILITIES``, and all system calls that the filter forbids."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = libc
    # Before the filter and the capabilities go: no scriptlet may read or steer the process that answers for it.
    _check(library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")
    bound(CAPABILITIES)
    _check(library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    program = ctypes.create_string_buffer(system_calls, len(system_calls))
    # struct sock_fprog: a length in instructions of eight bytes, and where they are
    filter_of = ctypes.create_string_buffer(struct.pack("@HP", len(system_calls) // 8, ctypes.addressof(program)))
    _check(library.prctl(_PR_SET_SECCOMP, 2, ctypes.c_void_p(ctypes.addressof(filter_of)), 0, 0), "seccomp")
    mask = sum(1 << number for number in CAPABILITIES.values())
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = ctypes.create_string_buffer(struct.pack("@II", 0x20080522, 0))  # _LINUX_CAPABILITY_VERSION_3, this process
    data = ctypes.create_string_buffer(struct.pack("@IIIIII", low, low, 0, high, high, 0))
    _check(library.capset(header, data), "capset")


def bound(capabilities: dict) -> None:
    """Take all other capabilities from every program that is started from now on."""
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl")
    with open("/proc/sys/kernel/cap_last_cap") as source:
        last = int(source.read())
    for number in range(last + 1):
        if number not in capabilities.values():
            _check(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl")


class Devices:
    """Places for the devices and the process table in an image's root: made before it is used, taken away afterwards.

    Mounts over single files, not over /dev itself: what a package puts there enters the image.
    """

    def __init__(self, root: str) -> None:
        self.devices, self.processes = (_directory(os.path.join(root, name)) for name in ("dev", "proc"))
        self._made: list = []

    def __enter__(self) -> Devices:
        if self.devices:
            for name, _, _ in DEVICES:
                self._make(name, lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666)))
            for name, target in DEVICE_LINKS:
                self._make(name, lambda path, target=target: os.symlink(target, path))
        return self

    def _make(self, name: str, make) -> None:  # type: ignore[no-untyped-def]
        path = os.path.join(self.devices, name)
        if not os.path.lexists(path):
            make(path)
            self._made.append((path, os.lstat(path).st_ino))

    def __exit__(self, *_: object) -> None:
        for path, number in self._made if self.devices and _directory(self.devices) else ():
            with contextlib.suppress(OSError):
                if os.lstat(path).st_ino == number:
                    os.unlink(path)


def _directory(path: str) -> str | None:
    return path if os.path.isdir(path) and not os.path.islink(path) else None
