"""Reads the headers of RPM files and of rpm databases as far as signatures and bills of materials need it.

This module must never decide whether a signature is good.

"RPM Package Format" (version 4), rpm.org documentation: a lead of 96 bytes, the signature header padded to 8 bytes, the header, the payload.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from topcoat.rpm import openpgp

_LEAD = 96
_LEAD_MAGIC = b"\xed\xab\xee\xdb"
_MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
_MOST_ENTRIES, _MOST_BYTES = 0xFFFF, 0x10000000  # rpm's own limits (lib/header.c)
_STRING, _BINARY, _STRINGS, _I18N = 6, 7, 8, 9
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _BUILDTIME, _SOURCE_RPM = 1000, 1001, 1002, 1003, 1022, 1006, 1044
_VENDOR, _LICENSE, _MODULE = 1011, 1014, 5096
_REGION_SIGNATURES, _REGION = 62, 63
# Tag in the signature header of a file → tag in the header that rpm stores; what it covers.
_IN_FILE = {268: "header", 267: "header", 1002: "payload", 1005: "payload", 278: "header"}
_IN_DATABASE = {268: "header", 267: "header", 259: "payload", 262: "payload", 278: "header"}
_OPENPGP, _SHA256_HEADER = 278, 273
_STORED = frozenset({_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH, _BUILDTIME, _SOURCE_RPM, _VENDOR, _LICENSE, _MODULE, _SHA256_HEADER, *_IN_DATABASE})


@dataclass(frozen=True)
class PackageSignature:
    """One signature on a package: ``covers`` is ``header`` or ``payload`` (the header with the payload)."""

    covers: str
    signature: openpgp.Signature


@dataclass(frozen=True)
class StoredHeader:
    """A package of an rpm database: ``nevra`` as ``name-epoch:version-release.arch``; ``pseudo`` is an RPM file of its header and header signatures
    with an empty payload, which is what a signature over the header can be checked on; None where it has none. ``license`` and ``vendor`` are the
    packager's own words, ``sha256`` is that of the header as it was built (hexadecimal), ``module`` the label of the module build that it belongs to
    (``name:stream:version:context``); each empty where the package does not say.
    """

    nevra: str
    build_time: int
    signatures: tuple[PackageSignature, ...]
    pseudo: bytes | None
    license: str = ""
    vendor: str = ""
    sha256: str = ""
    source_rpm: str = ""
    module: str = ""


class Damaged(ValueError):
    """Not of the format; the text says where."""


def signatures_of_file(path: Path) -> tuple[PackageSignature, ...]:
    """The OpenPGP signatures that an RPM file carries.

    :raises Damaged: it is no RPM file, or one of its signatures is no OpenPGP packet.
    """
    with path.open("rb") as stream:
        _pass_lead(stream)
        _, entries, blob = _next_header(stream, "signature header")
    found, damaged = _signed(_values(entries, blob, _IN_FILE), _IN_FILE)
    if damaged:
        raise Damaged(f"a signature of it is damaged: {damaged}")
    return found


def sha256_of_file(path: Path) -> str:
    """sha256 of the header of an RPM file, hexadecimal: what rpm notes of the package that it installs (``%{SHA256HEADER}``).

    :raises Damaged: it is no RPM file.
    """
    with path.open("rb") as stream:
        _pass_lead(stream)
        _, _, signatures = _next_header(stream, "signature header")
        stream.seek(-len(signatures) % 8, os.SEEK_CUR)  # it ends at a multiple of eight bytes (RPM file format, "Signature")
        intro, _, blob = _next_header(stream, "header")
    return hashlib.sha256(intro + blob).hexdigest()


def _pass_lead(stream: BinaryIO) -> None:
    lead = stream.read(_LEAD)
    if len(lead) < _LEAD or lead[:4] != _LEAD_MAGIC:
        raise Damaged("it is no RPM file")


def _next_header(stream: BinaryIO, what: str) -> tuple[bytes, int, bytes]:
    """The header that begins here: its first 16 bytes, the number of its entries, and all behind them."""
    intro = stream.read(16)
    if len(intro) < 16 or intro[:8] != _MAGIC:
        raise Damaged(f"its {what} is damaged")
    entries, size = struct.unpack(">II", intro[8:])
    _limits(entries, size)
    blob = stream.read(16 * entries + size)
    if len(blob) < 16 * entries + size:
        raise Damaged("it is cut short")
    return intro, entries, blob


def rows(database: Path) -> Iterator[bytes]:
    """The headers of an rpm database in SQLite format, keys left out.

    :raises Damaged: it is none.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro&immutable=1", uri=True)) as connection:
            for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
                if isinstance(blob, bytes):
                    yield blob
    except sqlite3.DatabaseError as error:
        raise Damaged(f"the package database is damaged: {error}") from error


def stored(blob: bytes, *, checkable: bool = True) -> StoredHeader:
    """One row of an rpm database.

    :param checkable: make ``pseudo``, which is only needed for checking.
    :raises Damaged: it is no header.
    """
    entries, size, body = _opened(blob)
    found = _values(entries, body, _STORED)

    def text(tag: int) -> str:
        return found[tag][0].decode("utf-8", "replace") if found.get(tag) else ""

    def number(tag: int) -> int:
        return int.from_bytes(found[tag][0][:4], "big") if found.get(tag) else 0

    nevra = f"{text(_NAME)}-{number(_EPOCH)}:{text(_VERSION)}-{text(_RELEASE)}.{text(_ARCH)}"
    # What is installed is told, whatever somebody wrote in the place of a signature: one that is none vouches for nothing.
    signatures, _ = _signed(found, _IN_DATABASE)
    pseudo = _pseudo(entries, size, body, found) if checkable else None
    words = (text(tag) for tag in (_LICENSE, _VENDOR, _SHA256_HEADER, _SOURCE_RPM, _MODULE))
    return StoredHeader(nevra, number(_BUILDTIME), signatures, pseudo, *words)


def values(blob: bytes, wanted: Collection[int]) -> dict[int, list[bytes]]:
    """Tag -> values of a row of an rpm database: strings without their end, all numbers of an entry as the bytes of one value.

    :raises Damaged: it is no header.
    """
    entries, _, body = _opened(blob)
    return _values(entries, body, wanted)


def _opened(blob: bytes) -> tuple[int, int, bytes]:
    """(number of entries, bytes of data, entries and data) of a row of an rpm database."""
    if len(blob) < 8:
        raise Damaged("a header in the package database is cut short")
    entries, size = struct.unpack(">II", blob[:8])
    _limits(entries, size)
    body = blob[8:]
    if len(body) < 16 * entries + size:
        raise Damaged("a header in the package database is cut short")
    return entries, size, body


def _limits(entries: int, size: int) -> None:
    if not 0 < entries <= _MOST_ENTRIES or size > _MOST_BYTES:
        raise Damaged("a header of it is damaged: more entries than rpm allows")


def _values(entries: int, blob: bytes, wanted: Collection[int]) -> dict[int, list[bytes]]:
    """Tag → values, of strings without their end, of other types their bytes."""
    found: dict[int, list[bytes]] = {}
    data = memoryview(blob)[16 * entries :]
    for tag, kind, offset, count in struct.iter_unpack(">IIiI", memoryview(blob)[: 16 * entries]):
        if tag not in wanted:
            continue
        if not 0 <= offset <= len(data) or count > len(data):
            raise Damaged("a header of it is damaged: an entry lies outside")
        if kind in (_STRING, _STRINGS, _I18N):
            found[tag] = []
            for _ in range(count):
                end = blob.find(b"\0", 16 * entries + offset)
                if end < 0:
                    raise Damaged("a header of it is damaged: a text has no end")
                found[tag].append(blob[16 * entries + offset : end])
                offset = end + 1 - 16 * entries
        else:
            found[tag] = [bytes(data[offset : offset + count * {3: 2, 4: 4, 5: 8}.get(kind, 1)])]
    return found


def _signed(values: Mapping[int, list[bytes]], tags: Mapping[int, str]) -> tuple[tuple[PackageSignature, ...], str]:
    """(the signatures, what is wrong with one that cannot be read)."""
    found: list[PackageSignature] = []
    damaged = ""
    for tag, covers in tags.items():
        for value in values.get(tag, ()):
            try:
                entry = PackageSignature(covers, openpgp.signature(base64.b64decode(value, validate=True) if tag == _OPENPGP else value))
            except (ValueError, binascii.Error) as error:
                entry, damaged = PackageSignature(covers, openpgp.Signature("", 0, 0, 0)), str(error)
            if entry not in found:
                found.append(entry)
    return tuple(found), damaged


def _pseudo(entries: int, size: int, body: bytes, found: Mapping[int, list[bytes]]) -> bytes | None:
    """Lead, signature header and the immutable region of a stored header: what the build signed, byte for byte."""
    tags = [tag for tag in (267, 268, _OPENPGP) if found.get(tag)]
    if not tags or not entries:
        return None
    tag, _, offset, count = struct.unpack_from(">IIiI", body, 0)
    if tag != _REGION or count != 16 or not 0 <= offset <= size - 16:
        return None
    data = body[16 * entries :]
    _, _, back, _ = struct.unpack(">IIiI", data[offset : offset + 16])
    length = -back // 16
    if not 0 < length <= entries:
        raise Damaged("a header in the package database is damaged: its region is longer than itself")
    header = _MAGIC + struct.pack(">II", length, offset + 16) + body[: 16 * length] + data[: offset + 16]
    sealed = _emit(
        [(tag, _STRINGS if tag == _OPENPGP else _BINARY, found[tag]) for tag in sorted([*tags, *([_SHA256_HEADER] if found.get(273) else [])])]
    )
    lead = _LEAD_MAGIC + struct.pack(">BBHH66sHH16s", 3, 0, 0, 1, b"stored", 1, 5, b"")
    return lead + sealed + b"\0" * (-len(sealed) % 8) + header


def _emit(entries: Iterable[tuple[int, int, list[bytes]]]) -> bytes:
    """A signature header with a region around its entries."""
    index, data = b"", b""
    number = 1
    for tag, kind, values in entries:
        text = kind == _STRINGS or tag == _SHA256_HEADER
        content = b"".join(value + b"\0" for value in values) if text else values[0]
        count = len(values) if text else len(content)
        index += struct.pack(">IIiI", tag, _STRING if tag == _SHA256_HEADER else kind, len(data), count)
        data += content
        number += 1
    region = struct.pack(">IIiI", _REGION_SIGNATURES, _BINARY, len(data), 16)
    data += struct.pack(">IIiI", _REGION_SIGNATURES, _BINARY, -16 * number, 16)
    return _MAGIC + struct.pack(">II", number, len(data)) + region + index + data
