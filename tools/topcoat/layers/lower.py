"""What an overlay shows of its lower directories, asked path by path, without mounting anything.

This module must never change a file.
"""

# Paths are plain strings here:
# ruff: noqa: PTH115

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.archives import whiteouts

_MAX_LINKS = 40


@dataclass(frozen=True)
class LowerEntry:
    """One visible path: its status, and where it really lies."""

    status: os.stat_result
    path: str


class LowerView:
    """The merged view of layer directories, **topmost first** (the order of overlayfs' ``lowerdir``)."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._stacks: dict[str, list[str]] = {"": [os.fspath(directory) for directory in directories]}

    def entry(self, path: str) -> LowerEntry | None:
        """The entry at a path relative to the root (no leading slash, "" is the root), or None when nothing is visible there."""
        head, _, name = path.rpartition("/")
        for directory in self._stack(head):
            place = f"{directory}/{name}" if name else directory
            try:
                status = os.lstat(place)
            except FileNotFoundError:
                continue
            return None if whiteouts.is_whiteout(status) else LowerEntry(status, place)
        return None

    def names(self, path: str) -> set[str]:
        """Names visible in a directory; empty when there is none."""
        seen: dict[str, bool] = {}
        for directory in self._stack(path):
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name not in seen:
                        seen[entry.name] = not whiteouts.is_whiteout(entry.stat(follow_symlinks=False))
        return {name for name, visible in seen.items() if visible}

    def real(self, path: str) -> str:
        """Where an entry lies when the links in its folders are followed inside the tree; the entry itself may be a link. No leading slash."""
        done: list[str] = []
        head, _, name = path.strip("/").rpartition("/")
        left, links = [part for part in reversed(head.split("/")) if part not in ("", ".")], 0
        while left:
            part = left.pop()
            if part == "..":
                done = done[:-1]
                continue
            found = self.entry("/".join([*done, part]))
            if found is None or not stat.S_ISLNK(found.status.st_mode) or links >= _MAX_LINKS:
                done.append(part)
                continue
            links += 1
            target = os.readlink(found.path)
            done = [] if target.startswith("/") else done
            left += [step for step in reversed(target.split("/")) if step not in ("", ".")]
        return "/".join([*done, name])

    def _stack(self, path: str) -> list[str]:
        """The real directories that make up a visible directory, topmost first."""
        known = self._stacks.get(path)
        if known is not None:
            return known
        head, _, name = path.rpartition("/")
        found: list[str] = []
        for directory in self._stack(head):
            place = f"{directory}/{name}"
            try:
                status = os.lstat(place)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            found.append(place)
            if whiteouts.is_opaque(place):
                break
        self._stacks[path] = found
        return found
