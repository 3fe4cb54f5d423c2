"""What was written beside an upper directory, brought into it.

This module must never follow a link of the image, and never overwrite what the upper directory holds.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from topcoat.archives import whiteouts
from topcoat.layers.lower import LowerView


def adopt(added: Path, upper: Path, lower: tuple[Path, ...], folder: str) -> None:
    """Move what one overlay's upper directory gained into a folder of another one's, on the same file system.

    Removals in ``added`` say nothing about ``lower`` and are left where they are. Nothing is moved where the folder is no real directory of the tree.

    :param folder: relative to the root, without leading slash.
    """
    gained = [entry for entry in os.scandir(added) if not whiteouts.is_whiteout(entry.stat(follow_symlinks=False))]
    if gained and _present(upper, LowerView(lower), folder):
        _move(gained, os.fspath(upper / folder))


def _present(upper: Path, view: LowerView, folder: str) -> bool:
    """Have the folder in the upper directory, as the lower ones show it."""
    parts = folder.split("/")
    for depth in range(1, len(parts) + 1):
        path = "/".join(parts[:depth])
        place = upper / path
        if not os.path.lexists(place):
            below = view.entry(path)
            if below is None or not stat.S_ISDIR(below.status.st_mode):
                return False
            place.mkdir()
            os.chown(place, below.status.st_uid, below.status.st_gid)
            shutil.copystat(below.path, place)
        elif not stat.S_ISDIR(place.lstat().st_mode):
            return False
    return True


def _move(entries: list[os.DirEntry[str]], place: str) -> None:
    for entry in entries:
        target = f"{place}/{entry.name}"
        if not os.path.lexists(target):
            Path(entry.path).rename(target)
        elif entry.is_dir(follow_symlinks=False) and stat.S_ISDIR(os.lstat(target).st_mode):
            _move([inner for inner in os.scandir(entry.path) if not whiteouts.is_whiteout(inner.stat(follow_symlinks=False))], target)
