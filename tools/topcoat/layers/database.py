"""Brings the package database of an upper directory into the one form that any reader can use.

This module must never change what the database says.

rpm keeps its SQLite database in write-ahead mode. A process that may not write beside the file, as every service that does not run as root, can
read such a database only where two side files lie ready, and those differ from run to run. In rollback mode the file alone is enough
(https://www.sqlite.org/wal.html, "Read-Only Databases"); rpm goes back to its own mode by itself the next time root writes.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.layers.leftovers import DATABASE_SIDE_FILES
from topcoat.rpm.rpmdb import FOLDERS, SQLITE


def settle(upper: Path) -> None:
    """Fold the write-ahead log into each package database of an upper directory, and leave it in rollback mode; owner and mode stay.

    Works on a private copy: beside the file in ``upper`` there may be an overlay's whiteout under the name of the log.

    :raises ContentError: the file is no SQLite database, or is damaged.
    """
    for folder in FOLDERS:
        path = upper / folder / SQLITE
        if not _is_file(path):
            continue
        with tempfile.TemporaryDirectory(prefix="topcoat-rpmdb-") as place:
            copy = Path(place) / SQLITE
            for name in (SQLITE, *DATABASE_SIDE_FILES[:1]):
                if _is_file(path.with_name(name)):
                    (Path(place) / name).write_bytes(path.with_name(name).read_bytes())
            _to_rollback(copy, f"/{folder}/{SQLITE}")
            with path.open("r+b") as file:
                file.write(copy.read_bytes())
                file.truncate()
        for name in DATABASE_SIDE_FILES:
            if _is_file(path.with_name(name)):
                path.with_name(name).unlink()


def _to_rollback(path: Path, label: str) -> None:
    try:
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA synchronous=OFF")  # a private copy
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise ContentError(f"the package database {label} is damaged: {error}", next_step="look at the log of the transaction") from error


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
