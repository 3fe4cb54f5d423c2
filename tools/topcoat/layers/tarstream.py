"""Reads a tar archive that comes in pieces: entries one after the other, contents straight from the buffer.

This module must never trust a header: every one is proved by its checksum, and every length before it is used.

It exists because the standard library's reader costs three times as much on the thousands of small files of an image; a test compares both.
Formats: ustar, PAX (POSIX.1-2017, pax) and GNU's long names and large numbers, which is what container tools write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from topcoat.layers.marks import XATTR_RECORD

BLOCK = 512
REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_AS_REGULAR = {b"\0": REGULAR, b"7": REGULAR}
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_EXTENSION_LIMIT = 16 << 20
"""Bytes of one extended header; file capabilities and ACLs need a few hundred."""
_NANO = 1_000_000_000


class TarError(ValueError):
    """The archive is damaged; the text says how."""


@dataclass
class Entry:
    """One member. Names are as the archive has them, undecodable bytes as surrogates (PEP 383)."""

    name: str
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: str
    device: tuple[int, int]
    attributes: dict[str, bytes] = field(default_factory=dict)


class Reader:
    """Entries of an archive, in order. The content of an entry is read, or skipped, before the next one is asked for."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        """:param more: gives the next piece of the plain archive; empty at its end."""
        self._more = more
        self._buffer = memoryview(b"")
        self._at = 0
        self._left = 0  # of the current entry's content, with padding
        self._content = 0  # the same without padding

    def __iter__(self) -> Iterator[Entry]:
        """:raises TarError: damaged, or ends in the middle."""
        first = True
        shared: dict[str, bytes] = {}
        while True:
            self._skip()
            header = self._take(BLOCK, end_is_fine=not first)
            if not header or not any(header):
                return
            first = False
            entry = _parse(header)
            records: dict[str, bytes] = {}
            while entry.kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                data = self._extension(entry)
                if entry.kind == _PAX:
                    records.update(_records(data))
                elif entry.kind == _PAX_GLOBAL:
                    shared.update(_records(data))
                else:
                    records["path" if entry.kind == _GNU_NAME else "linkpath"] = data.split(b"\0", 1)[0]
                entry = _parse(self._take(BLOCK))
            entry.kind = _AS_REGULAR.get(entry.kind, entry.kind)
            if shared or records:
                _apply(entry, shared | records)
            if entry.kind == REGULAR and entry.name.endswith("/"):
                entry.kind = DIRECTORY  # as very old archives write them
            self._content = entry.size if entry.kind == REGULAR else 0
            self._left = self._content + -self._content % BLOCK if entry.kind == REGULAR else 0
            yield entry

    def content(self) -> Iterator[memoryview]:
        """The current entry's content in pieces; a piece is good until the next one is asked for.

        :raises TarError: it ends in the middle.
        """
        while self._content:
            piece = self._available(self._content)
            self._content -= len(piece)
            self._left -= len(piece)
            yield piece

    def _skip(self) -> None:
        self._content = 0
        while self._left:
            self._left -= len(self._available(self._left))

    def _available(self, limit: int) -> memoryview:
        """At least one byte, at most ``limit``."""
        if self._at == len(self._buffer):
            self._refill()
        piece = self._buffer[self._at : self._at + limit]
        self._at += len(piece)
        return piece

    def _refill(self) -> None:
        data = self._more()
        if not data:
            raise TarError("it ends in the middle of an entry")
        self._buffer, self._at = memoryview(data), 0

    def _take(self, size: int, *, end_is_fine: bool = False) -> bytes:
        if len(self._buffer) - self._at >= size:
            self._at += size
            return bytes(self._buffer[self._at - size : self._at])
        parts, left = [], size
        while left:
            try:
                piece = self._available(left)
            except TarError:
                if end_is_fine and left == size:
                    return b""
                raise
            parts.append(bytes(piece))
            left -= len(piece)
        return b"".join(parts)

    def _extension(self, entry: Entry) -> bytes:
        if entry.size > _EXTENSION_LIMIT:
            raise TarError(f"an extended header of {entry.size} bytes")
        return self._take(entry.size + -entry.size % BLOCK)[: entry.size]


def _parse(header: bytes) -> Entry:
    checksum = _number(header[148:156])
    if sum(header) - sum(header[148:156]) + 256 != checksum:
        raise TarError("a header with a wrong checksum")
    name = _text(header[0:100])
    # GNU's own format keeps other things where ustar has the prefix.
    if header[257:263] == b"ustar\0":
        prefix = _text(header[345:500])
        if prefix:
            name = f"{prefix}/{name}"
    kind = header[156:157]
    device = (_number(header[329:337]), _number(header[337:345])) if kind in (CHARACTER, BLOCK_DEVICE) else (0, 0)
    size = _number(header[124:136])
    if size < 0:
        raise TarError("an entry of negative size")
    return Entry(
        name,
        kind,
        _number(header[100:108]),
        _number(header[108:116]),
        _number(header[116:124]),
        size,
        _number(header[136:148]) * _NANO,
        _text(header[157:257]),
        device,
    )


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(data: bytes) -> int:
    """Octal text, or base 256 where the first bit says so (GNU tar manual, "Extensions")."""
    if data[0] & 0x80:
        value = int.from_bytes(data, "big", signed=False) & ((1 << (8 * len(data) - 1)) - 1)
        bits = 8 * len(data) - 2
        return value - (1 << (bits + 1)) if value >> bits else value
    text = data.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise TarError(f"not a number in a header: {data!r}") from error


def _records(data: bytes) -> dict[str, bytes]:
    """``length key=value newline``, the length counting itself; values are raw bytes."""
    found = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        try:
            length = int(data[at:blank])
        except ValueError as error:
            raise TarError("a broken extended header") from error
        record = data[blank + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if blank < 0 or length <= 0 or not equals or not value.endswith(b"\n") or at + length > len(data):
            raise TarError("a broken extended header")
        found[key.decode("utf-8", "surrogateescape")] = value[:-1]
        at += length
    return found


def _apply(entry: Entry, records: dict[str, bytes]) -> None:
    for key, value in records.items():
        if key.startswith(XATTR_RECORD):
            entry.attributes[key.removeprefix(XATTR_RECORD)] = value
        elif key == "path":
            entry.name = value.decode("utf-8", "surrogateescape")
        elif key == "linkpath":
            entry.link = value.decode("utf-8", "surrogateescape")
        elif key in ("size", "uid", "gid"):
            try:
                number = int(value)
            except ValueError as error:
                raise TarError(f"not a number in an extended header: {value!r}") from error
            if number < 0:
                raise TarError(f"a negative {key} in an extended header")
            setattr(entry, key, number)
        elif key == "mtime":
            try:
                entry.mtime_ns = int(Decimal(value.decode("ascii")) * _NANO)
            except (InvalidOperation, ValueError, OverflowError) as error:
                raise TarError(f"not a time in an extended header: {value!r}") from error
        elif key.startswith("GNU.sparse"):
            raise TarError("a sparse file")
