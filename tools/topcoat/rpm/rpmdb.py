"""Finds the rpm database of a root filesystem and makes a checkpointed private copy.

This module must never open a database in place: SQLite would write beside it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from topcoat.errors import ContentError

FOLDERS = ("usr/lib/sysimage/rpm", "var/lib/rpm")
"""Where a database can lie, relative to the root; the first that holds one wins, as in rpm's own migration."""
SQLITE = "rpmdb.sqlite"
WAL = "rpmdb.sqlite-wal"
PATHS = tuple(f"/{folder}/{SQLITE}" for folder in FOLDERS)
"""Where it is inside an image."""
FOREIGN = {"Packages": "Berkeley DB", "Packages.db": "ndb"}
_MOST_LINKS = 16
_STEPS, _FREE_STEPS, _BYTES_A_STEP = 10_000, 1_000_000, 10
"""Steps of SQLite's machine between two looks, and how many there may be; a package takes about ten, and several thousand bytes."""
_MAGIC, _SMALLEST = b"SQLite format 3\0", 512  # SQLite, "Database File Format", 1.3: one page of the smallest size


class WithoutRpmError(ContentError):
    """There is no package database, and no trace of rpm either: an image of another distribution, or of none."""


@dataclass(frozen=True)
class Database:
    """``path`` is the absolute path of the SQLite file inside the image; ``wal`` its write-ahead log, None where there is none."""

    path: str
    main: bytes
    wal: bytes | None


def choose(folders: Mapping[str, Mapping[str, bytes | None]]) -> Database:
    """Pick the database out of the files found in each folder (file name → content; None: the file exists but was not read).

    :raises ContentError: there is none, or only one of another format.
    """
    for folder in FOLDERS:
        files = folders.get(folder, {})
        main = files.get(SQLITE)
        if main:
            return Database(f"/{folder}/{SQLITE}", main, files.get(WAL) or None)
    for folder in FOLDERS:
        for name in folders.get(folder, {}):
            if name in FOREIGN:
                raise ContentError(
                    f"the rpm database /{folder}/{name} is in {FOREIGN[name]} format, only SQLite is read",
                    next_step="convert it inside the image with 'rpmdb --rebuilddb' of an rpm whose %_db_backend is sqlite",
                )
    raise ContentError(
        f"no rpm database in {' or '.join(f'/{folder}' for folder in FOLDERS)}",
        next_step="is this an image of an RPM distribution, with its database?",
    )


def read_root(root: Path) -> Database:
    """The database of a root filesystem; symbolic links are followed inside the root only.

    :raises ContentError: see ``choose``.
    """
    folders: dict[str, dict[str, bytes | None]] = {}
    for folder in FOLDERS:
        real = resolve(root, folder)
        if real is None or not (root / real).is_dir():
            continue
        files: dict[str, bytes | None] = {}
        for name in (SQLITE, WAL, *FOREIGN):
            path = root / real / name
            if path.is_file() and not path.is_symlink():
                files[name] = path.read_bytes() if name in (SQLITE, WAL) else None
        folders.setdefault(real if real in FOLDERS else folder, files)
    return choose(folders)


def resolve(root: Path, folder: str) -> str | None:
    """Where a folder of a root really lies, relative to the root; None when it does not exist or its links run in circles."""
    pending = list(PurePosixPath(folder).parts)
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop(0)
        if part in ("/", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        path = root.joinpath(*done, part)
        if path.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                return None
            target = str(path.readlink())
            if target.startswith("/"):
                done = []
            pending = [*PurePosixPath(target).parts, *pending]
        elif path.exists():
            done.append(part)
        else:
            return None
    return "/".join(done)


@contextmanager
def opened(database: Database) -> Iterator[sqlite3.Connection]:
    """A connection to a private copy, in memory where there is no log to fold in.

    :raises ContentError: see ``place``. :raises sqlite3.DatabaseError: it is not a SQLite database; seen at the first statement.
    """
    if database.wal:
        with tempfile.TemporaryDirectory(prefix="topcoat-rpmdb-") as folder, closing(sqlite3.connect(place(database, Path(folder)))) as connection:
            yield connection
        return
    if len(database.main) < _SMALLEST or not database.main.startswith(_MAGIC):  # SQLite would answer that there is no memory left
        raise sqlite3.DatabaseError("file is not a database")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(_without_wal_mode(database.main))
        require_plain(connection, len(database.main))
        yield connection


def require_plain(connection: sqlite3.Connection, size: int) -> None:
    """Refuse a database whose packages are not rows that lie in it: SQLite computes views and columns, and follows pages in circles.

    :param size: bytes of the database with its log.
    :raises sqlite3.DatabaseError: it holds no such table, or more in it than it is long.
    """
    kinds = [(kind, str(sql)) for kind, sql in connection.execute("SELECT type, sql FROM sqlite_master WHERE name = 'Packages' COLLATE NOCASE")]
    if [kind for kind, _ in kinds] != ["table"] or kinds[0][1].upper().startswith("CREATE VIRTUAL"):
        raise sqlite3.DatabaseError("it has no table of packages")
    if any(column[6] for column in connection.execute("PRAGMA table_xinfo(Packages)")):
        raise sqlite3.DatabaseError("its table of packages has computed columns")
    steps = iter(range((_FREE_STEPS + size // _BYTES_A_STEP) // _STEPS))
    connection.set_progress_handler(lambda: int(next(steps, None) is None), _STEPS)
    try:
        # The length of a value stands in its row: nothing of it is read.
        (total,) = connection.execute("SELECT total(length(blob)) FROM Packages").fetchone()
    except sqlite3.OperationalError as error:
        raise sqlite3.DatabaseError(f"its table of packages does not end: {error}") from error
    finally:
        connection.set_progress_handler(None, 0)
    if total > size:
        raise sqlite3.DatabaseError(f"its packages have {total:.0f} bytes, it has {size}")


def _without_wal_mode(main: bytes) -> bytes:
    """A database in memory can have no log, so its header must not ask for one (SQLite, "Database File Format", 1.3.3)."""
    return main if main[18:20] != b"\x02\x02" else main[:18] + b"\x01\x01" + main[20:]


def place(database: Database, private: Path) -> Path:
    """Write the database into a private root under /var/lib/rpm, fold its write-ahead log into it, and return its path.

    The result is one file without log: what a container would see, in the form that can be carried around.

    :raises ContentError: it is not a SQLite database, or its log is damaged.
    """
    folder = private / "var/lib/rpm"
    folder.mkdir(parents=True)
    path = folder / SQLITE
    path.write_bytes(database.main)
    if database.wal:
        (folder / WAL).write_bytes(database.wal)
    try:
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA synchronous=OFF")  # the copy is private
            require_plain(connection, len(database.main) + len(database.wal or b""))
            # Asking for the mode opens the log; a checkpoint then folds it in. The mode itself stays as it was: it is part of the file.
            connection.execute("SELECT count(*) FROM Packages").fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise ContentError(f"the rpm database {database.path} is damaged: {error}", next_step="rebuild the image") from error
    for suffix in ("-wal", "-shm"):
        path.with_name(SQLITE + suffix).unlink(missing_ok=True)
    return path
