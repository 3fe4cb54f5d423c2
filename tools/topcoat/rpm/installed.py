"""Which packages a database says are installed, and which files they own, read straight out of its headers, without rpm and without libsolv.

This module must never change a database, and never guess: a header that it cannot read is an error.

It is the second pair of eyes on what an inventory says. The layout is that of rpm's header format, version 4 ("Header Format" in rpm's reference
manual): number of index entries, bytes of data, the entries (tag, type, offset, count), the data; all numbers big-endian.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Collection

from topcoat.errors import ContentError
from topcoat.model import Nevra
from topcoat.rpm import header
from topcoat.rpm.rpmdb import Database, opened

_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_WANTED = frozenset({_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH})
_INT32, _STRING = 4, 6
_BASENAMES, _DIRNAMES, _DIRINDEXES, _FILEFLAGS = 1117, 1118, 1116, 1037
_GHOST = 1 << 6
_KEY_PACKAGE = "gpg-pubkey"
"""Keys lie in the database as packages, and are none."""


def nevras(database: Database) -> frozenset[Nevra]:
    """The installed packages.

    :raises ContentError: the database or a header in it is damaged.
    """
    found = set()
    try:
        with opened(database) as connection:
            for (blob,) in connection.execute("SELECT blob FROM Packages"):
                fields = _fields(blob)
                if fields[_NAME] != _KEY_PACKAGE:
                    epoch = int(fields.get(_EPOCH, 0))
                    found.add(Nevra(str(fields[_NAME]), epoch, str(fields[_VERSION]), str(fields[_RELEASE]), str(fields[_ARCH])))
    except (sqlite3.DatabaseError, struct.error, ValueError, KeyError, TypeError) as error:
        raise ContentError(f"the rpm database {database.path} is damaged: {error!r}", next_step="rebuild the image") from error
    return frozenset(found)


def owned(database: Database, names: Collection[str]) -> frozenset[str]:
    """The paths (absolute) whose last part is one of ``names`` and that an installed package brought; a ghost came with none.

    :raises ContentError: as ``nevras``.
    """
    wanted = frozenset(name.encode() for name in names)
    found = set()
    try:
        with opened(database) as connection:
            for (blob,) in connection.execute("SELECT blob FROM Packages"):
                values = header.values(blob, (_BASENAMES,))
                if wanted.isdisjoint(values.get(_BASENAMES, ())):
                    continue
                values = header.values(blob, (_BASENAMES, _DIRNAMES, _DIRINDEXES, _FILEFLAGS))
                bases, folders = values[_BASENAMES], values[_DIRNAMES]
                indexes, flags = (struct.unpack(f">{len(bases)}I", values[tag][0]) for tag in (_DIRINDEXES, _FILEFLAGS))
                found |= {
                    (folders[index] + base).decode("utf-8", "replace")
                    for base, index, flag in zip(bases, indexes, flags, strict=True)
                    if base in wanted and not flag & _GHOST
                }
    except (sqlite3.DatabaseError, struct.error, ValueError, KeyError, IndexError, TypeError) as error:
        raise ContentError(f"the rpm database {database.path} is damaged: {error!r}", next_step="rebuild the image") from error
    return frozenset(found)


def _fields(blob: bytes) -> dict[int, str | int]:
    count, size = struct.unpack_from(">II", blob)
    start = 8 + 16 * count
    if start + size > len(blob):
        raise ValueError("a header is cut off")
    found: dict[int, str | int] = {}
    for tag, kind, offset, _length in struct.iter_unpack(">IIII", blob[8:start]):
        if tag not in _WANTED:
            continue
        where = start + offset
        if kind == _STRING:
            found[tag] = blob[where : blob.index(b"\0", where)].decode()
        elif kind == _INT32:
            found[tag] = struct.unpack_from(">I", blob, where)[0]
    return found
