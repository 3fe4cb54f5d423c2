"""A tar archive, compressed into a file, with the figures that a manifest needs.

This module must never write a byte that depends on the day, the host or the order of calls to a clock.
"""

from __future__ import annotations

import copy
import hashlib
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from topcoat.archives.tarstream import NANO
from topcoat.archives.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX
from topcoat.layers.chunked import TableOfContents
from topcoat.layers.compression import Compression
from topcoat.model import Digest
from topcoat.registry.oci import Descriptor

_CHUNK = 1 << 18
_MOST_SECONDS = 0o77777777777
"""That a ustar header holds: the year 2242."""


class Archive:
    """A tar stream through a compression into a file; a context manager, after which ``descriptor`` and ``diff_id`` are known."""

    def __init__(self, destination: Path, compression: Compression) -> None:
        self.path = destination
        self._engine = compression.engine()
        self._contents = TableOfContents() if compression.is_chunked else None
        self._packed = hashlib.sha256()
        self._plain = hashlib.sha256()
        self._length = 0
        self._size = 0
        self.members = 0
        self.descriptor = Descriptor(compression.media_type, Digest(""), 0)
        self.diff_id = Digest("")

    def __enter__(self) -> Archive:
        self._out = self.path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._out:
            if error is None:
                self._close()

    def add(self, info: tarfile.TarInfo, records: dict[str, bytes]) -> None:
        """A member without content."""
        self.members += 1
        self._raw(_header(info, records))
        if self._contents:
            self._contents.add(info, records)

    def hide(self, path: str) -> None:
        """A whiteout: what lies under this path in the layers below is gone."""
        folder, slash, name = path.rpartition("/")
        self.add(_marker(f"{folder}{slash}{WHITEOUT_PREFIX}{name}"), {})

    def hide_below(self, folder: str) -> None:
        """An opaque whiteout: of this folder nothing is seen but what this layer puts into it."""
        self.add(_marker(f"{folder}/{OPAQUE_NAME}"), {})

    def add_file(self, info: tarfile.TarInfo, records: dict[str, bytes], place: str) -> None:
        """A regular file with its content, exactly as long as its header says."""
        size = left = info.size
        if not size:
            self.add(info, records)
            return
        self.members += 1
        self._raw(_header(info, records))
        if self._contents:
            self._emit(self._engine.flush())
            self._contents.begin(self._size)
        with open(place, "rb") as content:
            while left:
                chunk = content.read(min(_CHUNK, left))
                if not chunk:
                    raise OSError(f"{place} became shorter while it was read")
                self._write(chunk)
                if self._contents:
                    self._contents.content(chunk)
                left -= len(chunk)
        if self._contents:
            self._emit(self._engine.flush())
            self._contents.end(info, records, self._size)
        self._raw(b"\0" * (-size % tarfile.BLOCKSIZE))

    def _close(self) -> None:
        self._raw(b"\0" * (2 * tarfile.BLOCKSIZE))
        self._raw(b"\0" * (-self._length % tarfile.RECORDSIZE))
        self._emit(self._engine.flush())
        annotations: dict[str, str] = {}
        if self._contents:
            tail, annotations = self._contents.finish(self._size)
            self._emit(tail)
        self.descriptor = replace(
            self.descriptor, digest=Digest(f"sha256:{self._packed.hexdigest()}"), size=self._size, annotations=tuple(sorted(annotations.items()))
        )
        self.diff_id = Digest(f"sha256:{self._plain.hexdigest()}")

    def _raw(self, data: bytes) -> None:
        """Bytes of the archive that are no file's content."""
        self._write(data)
        if self._contents:
            self._contents.raw(data)

    def _write(self, data: bytes) -> None:
        self._plain.update(data)
        self._length += len(data)
        self._emit(self._engine.compress(data))

    def _emit(self, data: bytes) -> None:
        if data:
            self._packed.update(data)
            self._size += len(data)
            self._out.write(data)


def _marker(name: str) -> tarfile.TarInfo:
    """An empty file that says something by its name alone."""
    info = tarfile.TarInfo(name)
    info.mode = 0
    return info


def set_time(info: tarfile.TarInfo, records: dict[str, bytes], nanoseconds: int) -> None:
    """Write a time into a header, and into its PAX records where it is no whole second or too late for a header; before 1970 it is 1970.

    :param nanoseconds: since 1970.
    """
    seconds, fraction = divmod(nanoseconds, NANO)
    if seconds < 0:
        info.mtime, records["mtime"] = 0, b"0"
        return
    info.mtime = min(seconds, _MOST_SECONDS)
    if fraction or seconds > _MOST_SECONDS:
        records["mtime"] = f"{seconds}.{fraction:09d}".rstrip("0").rstrip(".").encode()


def _header(info: tarfile.TarInfo, records: dict[str, bytes]) -> bytes:
    """A ustar header, after a PAX one where a value does not fit (POSIX.1-2017 pax, "pax Extended Header"). Attribute values stay raw bytes."""
    info, records = copy.copy(info), dict(records)
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
