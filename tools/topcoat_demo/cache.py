"""What the account's cache keeps: all that the selections of today name, and of what others left the latest up to a stated size.

This module must never remove what was used within the last hour: another checkout may be about to link it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from topcoat.process.files import write_whole

SPARE_BYTES = 1_000_000_000
"""Of conversions, of archives and of images each: what other versions of this code, and selections of before, may leave behind."""
_FRESH_SECONDS = 3600.0


def use(cache: Path, selection: str, paths: Iterable[Path]) -> None:
    """Write down what a selection of packages needs of the cache, before it is looked for: entries that are there count as used now.

    :param selection: its name (``world``, ``base``); the same name replaces what it needed before.
    """
    paths = list(paths)
    write_whole(cache / "named" / selection, "".join(f"{path.relative_to(cache)}\n" for path in paths))
    for path in paths:
        mark(path)


def mark(path: Path) -> None:
    """An entry is used now; nothing where it is missing."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)


def sweep(cache: Path, spare: int | None = None) -> int:
    """Remove conversions and archives that no selection names, those used longest ago first, until no more than ``spare`` bytes of each are left.

    :returns: bytes that went.
    """
    named = {cache / line for file in (cache / "named").glob("*") for line in file.read_text().splitlines()}
    return tidy((cache / "rpms").glob("??/*"), named, spare) + tidy((cache / "debs").glob("*.deb"), named, spare)


def tidy(
    entries: Iterable[Path], named: Collection[Path] = frozenset(), spare: int | None = None, *, busy: Callable[[Path], bool] = lambda path: False
) -> int:
    """Of files and folders that are not named keep the latest used, up to ``spare`` bytes, and those of the last hour.

    :param busy: whether somebody holds an entry, however long ago it was marked.
    :returns: bytes that went.
    """
    spare = SPARE_BYTES if spare is None else spare
    now = time.time()
    ages = sorted(((now - path.stat().st_mtime, path) for path in entries if path not in named), key=lambda one: one[0])
    kept = gone = 0
    for age, path in ages:
        size = _size(path)
        if age < _FRESH_SECONDS or kept + size <= spare or busy(path):
            kept += size
            continue
        gone += size
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return gone


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*"))
