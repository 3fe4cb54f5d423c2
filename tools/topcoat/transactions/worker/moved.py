"""Directories of an image that a scriptlet renamed, made whole in the overlay's upper directory.

This module must never follow a link, and never leave an attribute behind that says where a directory was: no archive carries it.

Packages replace a directory by a link with a scriptlet of Fedora's packaging guidelines ("Scriptlet to replace a directory"), which renames it, and
tries until that succeeds. On overlayfs it only does where a renamed directory may stay a reference to a layer below.
"""

# ruff: noqa: PTH102, PTH104, PTH114, PTH115, PTH118, PTH120, PTH208, PTH211

from __future__ import annotations

import os
import shutil
import stat
import tempfile

_REDIRECT = "trusted.overlay.redirect"


def settle(upper: str, root: str) -> None:
    """Replace each renamed directory by a copy of what the mounted tree shows of it.

    :param upper: the overlay's upper directory. :param root: where it is mounted; nothing runs in it any more.
    """
    for place, names, _ in os.walk(upper):
        for name in list(names):
            path = os.path.join(place, name)
            if not os.path.islink(path) and _REDIRECT in os.listxattr(path):
                names.remove(name)  # the copy is whole, whatever was renamed inside
                _replace(os.path.join(root, os.path.relpath(path, upper)))


def _replace(path: str) -> None:
    folder = os.path.dirname(path)
    before = os.lstat(folder)
    copy = tempfile.mkdtemp(prefix=".moved-", dir=folder)
    _fill(path, copy, {})
    shutil.rmtree(path)
    os.rename(copy, path)
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _fill(source: str, target: str, known: dict) -> None:  # type: ignore[type-arg]
    """Give an empty directory content and metadata of another one.

    :param known: (device, inode) of files with several names → where the copy lies.
    """
    for name in sorted(os.listdir(source)):
        here, there = os.path.join(source, name), os.path.join(target, name)
        status = os.lstat(here)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(there, 0o700)
            _fill(here, there, known)
            continue
        first = known.setdefault((status.st_dev, status.st_ino), there) if status.st_nlink > 1 else there
        if first != there:
            os.link(first, there, follow_symlinks=False)
            continue
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(here), there)
        elif stat.S_ISREG(status.st_mode):
            shutil.copyfile(here, there)
        else:
            os.mknod(there, status.st_mode, status.st_rdev)
        _describe(here, there, status)
    _describe(source, target, os.lstat(source))


def _describe(source: str, target: str, status: os.stat_result) -> None:
    """Owner before mode and attributes: changing it clears set-user-ID bits and file capabilities (chown(2), capabilities(7))."""
    os.lchown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target, follow_symlinks=False)
