"""A tar archive through gzip into a file, with the figures that a manifest needs.

This module must never write a byte that depends on the day, the host or the order of calls to a clock.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from typing import BinaryIO

from isal import isal_zlib

from topcoat.model import Digest

_CHUNK = 1 << 18


class Archive:
    """A tar stream through gzip into a file, with the three figures that a manifest needs."""

    def __init__(self, out: BinaryIO, level: int) -> None:
        self._out = out
        # wbits 31: a gzip member whose header holds neither name nor time (RFC 1952, 2.3.1).
        self._engine = isal_zlib.compressobj(level, isal_zlib.DEFLATED, 31)
        self._packed = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._length = 0
        self.size = 0
        self.digest = Digest("")
        self.diff_id = Digest("")

    def add(self, info: tarfile.TarInfo, records: dict[str, bytes]) -> None:
        """A member without content."""
        self._write(_header(info, records))

    def add_file(self, info: tarfile.TarInfo, records: dict[str, bytes], place: str) -> None:
        """A regular file with its content, exactly as long as its header says."""
        size = left = info.size
        self._write(_header(info, records))
        with open(place, "rb") as content:
            while left:
                chunk = content.read(min(_CHUNK, left))
                if not chunk:
                    raise OSError(f"{place} became shorter while it was read")
                self._write(chunk)
                left -= len(chunk)
        self._write(b"\0" * (-size % tarfile.BLOCKSIZE))

    def close(self) -> None:
        self._write(b"\0" * (2 * tarfile.BLOCKSIZE))
        self._write(b"\0" * (-self._length % tarfile.RECORDSIZE))
        self._emit(self._engine.flush())
        self.digest = Digest(f"sha256:{self._packed.hexdigest()}")
        self.diff_id = Digest(f"sha256:{self._plain.hexdigest()}")

    def _write(self, data: bytes) -> None:
        self._plain.update(data)
        self._length += len(data)
        self._emit(self._engine.compress(data))

    def _emit(self, data: bytes) -> None:
        if data:
            self._packed.update(data)
            self.size += len(data)
            self._out.write(data)


def _header(info: tarfile.TarInfo, records: dict[str, bytes]) -> bytes:
    """A ustar header, after a PAX one where a value does not fit (POSIX.1-2017 pax, "pax Extended Header"). Attribute values stay raw bytes."""
    records = dict(records)
    name, link = os.fsencode(info.name), os.fsencode(info.linkname)
    if len(name) > 100 or not name.isascii():
        records["path"] = name
        info.name = "long" if len(name) > 100 else name.decode("ascii", "replace").replace("\ufffd", "?")
    if len(link) > 100 or not link.isascii():
        records["linkpath"] = link
        info.linkname = "long"
    for field, value in (("uid", info.uid), ("gid", info.gid)):
        if value > 0o7777777:
            records[field] = str(value).encode()
            setattr(info, field, 0)
    if info.size > 0o77777777777:
        records["size"] = str(info.size).encode()
        info.size = 0
    ustar = info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    if not records:
        return ustar
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    extended = tarfile.TarInfo("././@PaxHeader")
    extended.type = tarfile.XHDTYPE
    extended.mode = 0
    extended.size = len(body)
    return extended.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") + body + b"\0" * (-len(body) % tarfile.BLOCKSIZE) + ustar


def _record(key: str, value: bytes) -> bytes:
    """``length key=value newline``, the length counting itself."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest)
    total = length + len(str(length))
    while total != length + len(str(total)):
        total = length + len(str(total))
    return str(total).encode() + rest
