"""The files in an RPM's payload, as a stream.

This module must never hold a file as a whole, and never hand on a length that the archive does not keep.

cpio in its "new ASCII" form (cpio(5)), and rpm's own short form for files of more than four gigabytes (``07070X`` and the file's number).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from topcoat.archives.plain import CutOffError, Plain
from topcoat.errors import ContentError
from topcoat.synthesis.package import Package

_CHUNK = 1 << 18
_HEADER = 110
_TRAILER = "TRAILER!!!"


class _Source:
    def __init__(self, stream: BinaryIO) -> None:
        self._plain = Plain(iter(lambda: stream.read(_CHUNK), b""))
        self._buffer = b""
        self.at = 0

    def some(self, most: int) -> bytes:
        if not self._buffer:
            self._buffer = bytes(self._plain.next())
            if not self._buffer:
                raise CutOffError
        found, self._buffer = self._buffer[:most], self._buffer[most:]
        self.at += len(found)
        return found

    def take(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self.some(size - len(found))
        return found

    def align(self) -> None:
        self.take(-self.at % 4)


def read_payload(stream: BinaryIO, package: Package) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """(path without leading slash, bytes, content) of each entry; the content is read, or skipped, before the next one is asked for.

    Of several hard links one, the last, carries the content; the others have none.

    :param stream: stands at the payload (``read_rpm``).
    :raises ContentError: damaged.
    """
    source = _Source(stream)
    try:
        while True:
            magic = source.take(6)
            if magic == b"07070X":
                file = package.files[number(source.take(8))]
                path, size = file.path, file.size
            elif magic in (b"070701", b"070702"):
                fields = source.take(_HEADER - 6)
                size, length = number(fields[48:56]), number(fields[88:96])
                if not 0 < length <= 1 << 16:
                    raise ValueError("a name of an odd length")
                path = source.take(length).rstrip(b"\0").decode("utf-8", "surrogateescape")
                if path == _TRAILER:
                    return
                path = path.removeprefix(".").lstrip("/")
            else:
                raise ValueError(f"an unknown kind of archive ({magic!r})")
            source.align()
            content = _content(source, size)
            yield path, size, content
            for _ in content:
                pass
            source.align()
    except (CutOffError, ValueError, IndexError) as error:
        why = error or "it ends in the middle"
        raise ContentError(f"the payload of {package.nevra} cannot be read: {why}", next_step="build the package again") from error


def number(text: bytes) -> int:
    """A field of a header: eight hexadecimal digits.

    :raises ValueError: it is anything else; ``int`` takes signs, blanks and line ends too.
    """
    if not re.fullmatch(rb"[0-9A-Fa-f]{8}", text):
        raise ValueError(f"{text!r} is no number")
    return int(text, 16)


def _content(source: _Source, size: int) -> Iterator[bytes]:
    while size:
        piece = source.some(min(size, _CHUNK))
        size -= len(piece)
        yield piece
