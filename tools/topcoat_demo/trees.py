"""File trees as values that can be compared: what a deployer sees of an unpacked image.

This module must never use our own reader of layers.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path


def tree(root: Path, *, without: Sequence[str] = ()) -> dict[str, tuple]:
    """Every path below a root with all that a file system knows of it.

    Hard links are given as the first name of the same file; times of files in nanoseconds, of directories not at all.

    :param without: paths left out, with what is below them.
    """
    found: dict[str, tuple] = {}
    first: dict[tuple[int, int], str] = {}
    for folder, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            place = f"{folder}/{name}"
            path = os.path.relpath(place, root)
            if any(path == skipped or path.startswith(skipped + "/") for skipped in without):
                continue
            found[path] = _facts(place, path, first)
    return found


def _facts(place: str, path: str, first: dict[tuple[int, int], str]) -> tuple:
    status = os.lstat(place)
    content, mtime = "", status.st_mtime_ns
    if stat.S_ISLNK(status.st_mode):
        content = str(Path(place).readlink())
    elif stat.S_ISREG(status.st_mode):
        with Path(place).open("rb") as source:
            content = hashlib.file_digest(source, "sha256").hexdigest()
    elif stat.S_ISDIR(status.st_mode):
        mtime = 0
    names = os.listxattr(place, follow_symlinks=False)
    attributes = {name: os.getxattr(place, name, follow_symlinks=False).hex() for name in sorted(names) if not name.startswith("trusted.overlay.")}
    same = "" if stat.S_ISDIR(status.st_mode) else first.setdefault((status.st_dev, status.st_ino), path)
    return (oct(status.st_mode), status.st_uid, status.st_gid, mtime, status.st_rdev, content, attributes, same)


def differences(one: dict[str, tuple], other: dict[str, tuple]) -> dict[str, list]:
    """What two trees do not share, by path."""
    return {path: [one.get(path), other.get(path)] for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)}
