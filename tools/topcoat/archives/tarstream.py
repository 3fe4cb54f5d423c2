"""Reads a tar archive that comes in pieces: entries one after the other, contents straight from the buffer.

This module must never trust a header: every one is proved by its checksum, and every length before it is used.

It exists because the standard library's reader costs three times as much on the thousands of small files of an image; a test compares both.
Formats: v7, ustar, PAX (POSIX.1-2017, pax) and GNU's long names, large numbers and sparse files in all four forms (GNU tar manual, "Storing Sparse
Files"). As container tools do, global extended headers are read past.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

XATTR_RECORD = "SCHILY.xattr."
"""PAX record prefix that every container tool uses for extended attributes."""
BLOCK = 512
REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_AS_REGULAR = {b"\0": REGULAR, b"7": REGULAR}
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
_EXTENSION_LIMIT = 16 << 20
"""Bytes of one extended header; file capabilities and ACLs need a few hundred."""
NANO = 1_000_000_000
# What the kernel can make (Linux: uid_t, PATH_MAX, NAME_MAX, dev_t); more than so many folders no tool can walk through or delete.
_MAX_OWNER = (1 << 32) - 2
_MAX_SIZE = 1 << 62
_MAX_SECONDS = 1 << 40
_MAX_MAJOR, _MAX_MINOR = 1 << 12, 1 << 20
_MAX_PATH, _MAX_PARTS, _MAX_PART = 4096, 400, 255
_OCTAL = re.compile(rb"-?[0-7]+|")
_LENGTH = re.compile(rb"[0-9]+")
_TIME = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]*)?|-?\.[0-9]+")


class TarError(ValueError):
    """The archive is damaged; the text says how."""


@dataclass
class Member:
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
    parts: tuple[tuple[int, int], ...] | None = None
    """(offset, length) of what the archive holds of a sparse file; the rest up to ``size`` is zeros. None: it holds everything."""


class Reader:
    """Members of an archive, in order. The content of one is read, or skipped, before the next one is asked for."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        """:param more: gives the next piece of the plain archive; empty at its end."""
        self._more = more
        self._buffer = memoryview(b"")
        self._at = 0
        self._left = 0  # of the current entry's content, with padding
        self._content = 0  # the same without padding
        self._entry = Member("", REGULAR, 0, 0, 0, 0, 0, "", (0, 0))

    def __iter__(self) -> Iterator[Member]:
        """:raises TarError: damaged, or ends in the middle."""
        first = True
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
                elif entry.kind != _PAX_GLOBAL:
                    records["path" if entry.kind == _GNU_NAME else "linkpath"] = data.split(b"\0", 1)[0]
                header = self._take(BLOCK)
                entry = _parse(header)
            entry.kind = _AS_REGULAR.get(entry.kind, entry.kind)
            _apply(entry, records)
            stored = entry.size
            if entry.kind == _GNU_SPARSE:
                entry.kind, entry.size = REGULAR, _number(header[483:495])
                entry.parts = self._old_sparse_map(header)
            elif any(key.startswith("GNU.sparse.") for key in records):
                stored -= self._sparse(entry, records, stored)
            if entry.kind == REGULAR and entry.name.endswith("/"):
                entry.kind = DIRECTORY  # as very old archives write them
            _check(entry, stored)
            self._entry = entry
            self._content = stored if entry.kind == REGULAR else 0
            self._left = self._content + -self._content % BLOCK if entry.kind == REGULAR else 0
            yield entry

    def content(self) -> Iterator[memoryview | int]:
        """The current entry's content: pieces that are good until the next one is asked for, and lengths of holes, which read as zeros.

        :raises TarError: it ends in the middle.
        """
        if self._entry.parts is None:
            yield from self._pieces(self._content)
            return
        at = 0
        for offset, length in self._entry.parts:
            if offset > at:
                yield offset - at
            yield from self._pieces(length)
            at = offset + length
        if self._entry.size > at:
            yield self._entry.size - at

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            piece = self._available(size)
            size -= len(piece)
            self._content -= len(piece)
            self._left -= len(piece)
            yield piece

    def _old_sparse_map(self, header: bytes) -> tuple[tuple[int, int], ...]:
        """Of GNU's old format: four parts in the header, more in blocks that follow it."""
        found = _old_parts(header[386:482])
        more = header[482]
        while more:
            block = self._take(BLOCK)
            found += _old_parts(block[:504])
            more = block[504]
            if len(found) > _EXTENSION_LIMIT // 24:
                raise TarError("a sparse file of too many parts")
        return tuple(found)

    def _sparse(self, entry: Member, records: dict[str, bytes], stored: int) -> int:
        """Of GNU's PAX formats 0.0, 0.1 and 1.0; returns how many bytes of the content the map took."""
        if "GNU.sparse.name" in records:
            entry.name = records["GNU.sparse.name"].decode("utf-8", "surrogateescape")
        size = records.get("GNU.sparse.realsize", records.get("GNU.sparse.size"))
        if size is None:
            raise TarError("a sparse file without its size")
        entry.size = _decimal(size)
        if records.get("GNU.sparse.major") != b"1":
            numbers = [_decimal(text) for text in records.get("GNU.sparse.map", b"").split(b",") if text]
            entry.parts = tuple(zip(numbers[::2], numbers[1::2], strict=False))
            return 0
        taken, text = 0, b""
        wanted = None
        while wanted is None or text.count(b"\n") <= 2 * wanted:
            if taken + BLOCK > min(stored + BLOCK, _EXTENSION_LIMIT):
                raise TarError("a sparse file whose map does not end")
            text += self._take(BLOCK)
            taken += BLOCK
            if wanted is None and b"\n" in text:
                wanted = _decimal(text.split(b"\n", 1)[0])
        numbers = [_decimal(number) for number in text.split(b"\n")[1 : 2 * wanted + 1]]
        entry.parts = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        return taken

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

    def _extension(self, entry: Member) -> bytes:
        if entry.size > _EXTENSION_LIMIT:
            raise TarError(f"an extended header of {entry.size} bytes")
        return self._take(entry.size + -entry.size % BLOCK)[: entry.size]


def _parse(header: bytes) -> Member:
    checksum = _number(header[148:156])
    plain = sum(header) - sum(header[148:156]) + 256
    # Very old programs summed up signed bytes.
    if checksum != plain and checksum != plain - 256 * sum(byte > 127 for byte in header[:148] + header[156:]):
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
    return Member(
        name,
        kind,
        _number(header[100:108]),
        _number(header[108:116]),
        _number(header[116:124]),
        size,
        _number(header[136:148]) * NANO,
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
    if not _OCTAL.fullmatch(text):
        raise TarError(f"not a number in a header: {data!r}")
    return int(text, 8) if text else 0


def _records(data: bytes) -> dict[str, bytes]:
    """``length key=value newline``, the length counting itself; values are raw bytes."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        if not _LENGTH.fullmatch(data, at, max(blank, at)):
            raise TarError("a broken extended header")
        length = int(data[at:blank])
        record = data[blank + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if blank < 0 or length <= 0 or not equals or not value.endswith(b"\n") or at + length > len(data):
            raise TarError("a broken extended header")
        name = key.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):  # of format 0.0: repeated, in pairs
            found["GNU.sparse.map"] = b",".join(filter(None, (found.get("GNU.sparse.map"), value[:-1])))
        else:
            found[name] = value[:-1]
        at += length
    return found


def _apply(entry: Member, records: dict[str, bytes]) -> None:
    for key, value in records.items():
        if key.startswith(XATTR_RECORD):
            entry.attributes[key.removeprefix(XATTR_RECORD)] = value
        elif key == "path":
            entry.name = value.decode("utf-8", "surrogateescape")
        elif key == "linkpath":
            entry.link = value.decode("utf-8", "surrogateescape")
        elif key in ("size", "uid", "gid"):
            setattr(entry, key, _decimal(value))
        elif key == "mtime":
            text = value.decode("ascii", "replace")
            if not _TIME.fullmatch(text):
                raise TarError(f"not a time in an extended header: {value[:40]!r}")
            entry.mtime_ns = int(Decimal(text) * NANO)


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise TarError(f"not a number in an extended header: {value[:40]!r}")
    return int(value)


def _old_parts(data: bytes) -> list[tuple[int, int]]:
    found = []
    for at in range(0, len(data) - 23, 24):
        if not data[at]:
            break
        found.append((_number(data[at : at + 12]), _number(data[at + 12 : at + 24])))
    return found


def _check(entry: Member, stored: int) -> None:
    """Refuse what no file system holds, before anybody hands it to the kernel.

    :raises TarError: with the value.
    """
    shown = entry.name[:60]
    for what, value, limit in (("owner", entry.uid, _MAX_OWNER), ("group", entry.gid, _MAX_OWNER), ("size", entry.size, _MAX_SIZE)):
        if not 0 <= value <= limit:
            raise TarError(f"{shown!r} has the {what} {value}, which no file system holds")
    if not 0 <= entry.device[0] < _MAX_MAJOR or not 0 <= entry.device[1] < _MAX_MINOR:
        raise TarError(f"{shown!r} is a device {entry.device[0]}:{entry.device[1]}, which no kernel knows")
    if abs(entry.mtime_ns) > _MAX_SECONDS * NANO:
        raise TarError(f"{shown!r} has a time {entry.mtime_ns // NANO} seconds from 1970, which no file system holds")
    for what, name in (("name", entry.name), ("link", entry.link)):
        raw = name.encode("utf-8", "surrogateescape")
        if b"\0" in raw:
            raise TarError(f"a {what} with a NUL: {name[:60]!r}")
        parts = raw.split(b"/")
        if len(raw) >= _MAX_PATH or len(parts) > _MAX_PARTS or max(map(len, parts)) > _MAX_PART:
            raise TarError(f"a {what} of {len(raw)} bytes in {len(parts)} parts, which is too long: {name[:60]!r}")
    if any("\0" in name or len(name) > _MAX_PART for name in entry.attributes):
        raise TarError(f"{shown!r} has an attribute whose name no file system holds")
    at = total = 0
    for offset, length in entry.parts or ():
        if offset < at or length < 0 or offset + length > entry.size:
            raise TarError(f"the parts of the sparse file {shown!r} overlap or leave it")
        at, total = offset + length, total + length
    if entry.parts is not None and total != stored:
        raise TarError(f"the sparse file {shown!r} has parts of {total} bytes and {stored} bytes of content")
