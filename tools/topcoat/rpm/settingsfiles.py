"""Reads the files that steer dnf out of a root filesystem, or out of the directories of an overlay that nobody has mounted.

This module must never follow a link: it could lead out of the image.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from topcoat.archives.whiteouts import is_opaque, is_whiteout
from topcoat.errors import ContentError
from topcoat.rpm import settings


def read_stack(stack: Sequence[Path]) -> dict[str, bytes]:
    """Path relative to the root → content of every file that ``settings.wanted`` names; a link is no file.

    :param stack: directories, topmost first; of a mounted or single root just that one.
    """
    found: dict[str, bytes] = {}
    for folder in settings.FOLDERS:
        for name, path in _entries(stack, folder).items():
            if settings.wanted(f"{folder}/{name}"):
                _keep(found, f"{folder}/{name}", path)
    for file in settings.FILES:
        folder, _, name = file.rpartition("/")
        for path in _entries(stack, folder, only=name).values():
            _keep(found, file, path)
    return found


def _keep(found: dict[str, bytes], name: str, path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_size > settings.MOST_BYTES:
        raise ContentError(f"/{name} of the image has {status.st_size} bytes, a file of dnf's settings at most {settings.MOST_BYTES}")
    found[name] = path.read_bytes()


def _entries(stack: Sequence[Path], folder: str, *, only: str | None = None) -> dict[str, Path]:
    """File name → where it lies, of a folder as the overlay would show it."""
    found: dict[str, Path | None] = {}
    for top in stack:
        covered = False
        path = top
        for part in folder.split("/"):
            path = path / part
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                break
            if not stat.S_ISDIR(status.st_mode):
                covered = True
                break
            covered = covered or is_opaque(path)
        else:
            for name in [only] if only else sorted(entry.name for entry in path.iterdir()):
                entry = path / name
                try:
                    status = entry.lstat()
                except FileNotFoundError:
                    continue
                found.setdefault(name, None if is_whiteout(status) else entry)
        if covered:
            break
    return {name: path for name, path in found.items() if path is not None}
