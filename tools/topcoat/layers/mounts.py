"""The mount(2) calls of this project: overlays, and the few devices a scriptlet needs.

This module must never import anything but the standard library: the transaction worker loads it under the system's own Python.
"""

# Plain strings throughout, as the calls want them:
# ruff: noqa: PTH101, PTH102, PTH112, PTH114, PTH116, PTH118, PTH211

from __future__ import annotations

import contextlib
import ctypes
import os
import stat

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# Each would make the upper directory depend on inode numbers or on attributes that an archive cannot carry.
_OVERLAY_OPTIONS = "index=off,metacopy=off,xino=off"
_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """mount(2); OSError when it fails."""
    encoded = [value.encode() if value is not None else None for value in (source, target, kind)]
    if _libc().mount(*encoded, ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind or 'bind'}: {os.strerror(number)}", target)


def unmount(target: str, flags: int = UMOUNT_NOFOLLOW) -> None:
    """umount2(2); OSError when it fails."""
    if _libc().umount2(target.encode(), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"umount: {os.strerror(number)}", target)


def mount_overlay(lower: list[str], upper: str, work: str, target: str, *, movable: bool = False) -> None:
    """Mount an overlay; ``lower`` is topmost first.

    :param movable: directories of the lower ones can be renamed (rename(2) fails with EXDEV otherwise). The upper directory then says by an attribute
        (``trusted.overlay.redirect``) where such a one was, and whoever wants to read it as it lies has to do away with that first.

    Directories are named as ``/proc/self/fd/N``: the kernel takes one page of options, and dozens of long paths do not fit into it; it also
    makes ``:`` and ``,`` in paths harmless. A device or a set-user-id file of an image means nothing there: it is nobody's to use on this machine.

    :raises OSError: as mount(2); EPERM without CAP_SYS_ADMIN.
    """
    options = f"{_OVERLAY_OPTIONS},redirect_dir={'on' if movable else 'off'}"
    with contextlib.ExitStack() as stack:

        def short(path: str) -> str:
            handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            return f"/proc/self/fd/{handle}"

        places = f"lowerdir={':'.join(map(short, lower))},upperdir={short(upper)},workdir={short(work)}"
        try:
            # "volatile": nothing is synced to disk; the upper directory is thrown away after a crash anyway.
            mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, f"{places},{options},volatile")
        except OSError as error:
            if error.errno != 22:
                raise
            mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, f"{places},{options}")


def prepare_overlay(lower: list[str], directory: str, *, movable: bool = False) -> tuple[str, str]:
    """Make ``upper``, ``work`` and ``merged`` in a directory and mount the overlay (``mount_overlay``). Returns (upper, merged)."""
    upper, work, merged = (os.path.join(directory, name) for name in ("upper", "work", "merged"))
    for path in (upper, work, merged):
        os.mkdir(path, 0o755)
    # The merged root shows the upper directory's own mode and owner.
    top = os.stat(lower[0])
    os.chown(upper, top.st_uid, top.st_gid)
    os.chmod(upper, stat.S_IMODE(top.st_mode))
    mount_overlay(lower, upper, work, merged, movable=movable)
    return upper, merged


def mount_devices(root: str) -> list[str]:
    """Mount the few devices and the process table that scriptlets use, where the image has the directories; returns what to unmount, in order.

    They are mounts, so nothing of them can enter the upper directory.
    """
    mounted: list[str] = []
    dev, proc = os.path.join(root, "dev"), os.path.join(root, "proc")
    try:
        if os.path.isdir(dev) and not os.path.islink(dev):
            mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k")
            mounted.insert(0, dev)
            for name, major, minor in _DEVICES:
                os.mknod(os.path.join(dev, name), stat.S_IFCHR | 0o666, os.makedev(major, minor))
                os.chmod(os.path.join(dev, name), 0o666)
            for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
                os.symlink(target, os.path.join(dev, name))
        if os.path.isdir(proc) and not os.path.islink(proc):
            mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
            mounted.insert(0, proc)
    except OSError:
        unmount_all(mounted)
        raise
    return mounted


def unmount_all(targets: list[str]) -> None:
    """Unmount in order; what is busy is detached, so that nothing stays behind."""
    for target in targets:
        try:
            unmount(target)
        except OSError:
            with contextlib.suppress(OSError):
                unmount(target, MNT_DETACH | UMOUNT_NOFOLLOW)


def mounts_below(directory: str) -> list[str]:
    """Mount points at or below a directory, deepest first."""
    found = []
    with open("/proc/self/mountinfo") as table:
        for line in table:
            place = line.split(" ")[4].replace("\\040", " ").replace("\\134", "\\")
            if place == directory or place.startswith(directory + "/"):
                found.append(place)
    return found[::-1]
