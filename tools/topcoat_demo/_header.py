"""Header surgery: adds tags to a finished RPM that the package builder has no word for (the source package), its new digests and its signatures.

This module must never touch the payload.

RPM 4 file format ("RPM Package Format", rpm.org documentation): lead of 96 bytes, signature header padded to 8 bytes, header, payload.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping

_MAGIC = b"\x8e\xad\xe8\x01\0\0\0\0"
_LEAD = 96
_REGION_TAGS = (62, 63)
_BASENAMES, _DIRNAMES, _DIRINDEXES = 1117, 1118, 1116
_INT32 = 4
_STRING, _BIN, _STRING_ARRAY, _I18N = 6, 7, 8, 9
_WIDTH = {0: 0, 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
_SIG_SHA1, _SIG_SHA256, _SIG_SIZE, _SIG_MD5 = 269, 273, 1000, 1004

Entry = tuple[int, int, bytes]
"""(type, count, raw data)"""


def _strings_end(store: bytes, start: int, count: int) -> int:
    end = start
    for _ in range(count):
        end = store.index(b"\0", end) + 1
    return end


def _parse(blob: bytes, start: int) -> tuple[int, dict[int, Entry], int]:
    """(region tag, tag -> entry, offset after the header) of the header at ``start``."""
    if blob[start : start + 8] != _MAGIC:
        raise ValueError("not an RPM header")
    entries, size = struct.unpack(">II", blob[start + 8 : start + 16])
    index = start + 16
    store = blob[index + 16 * entries : index + 16 * entries + size]
    found: dict[int, Entry] = {}
    region = 0
    for number in range(entries):
        tag, kind, offset, count = struct.unpack(">IIiI", blob[index + 16 * number : index + 16 * number + 16])
        if tag in _REGION_TAGS:
            region = tag
            continue
        end = _strings_end(store, offset, count) if kind in (_STRING, _STRING_ARRAY, _I18N) else offset + _WIDTH[kind] * count
        found[tag] = (kind, count, store[offset:end])
    return region, found, index + 16 * entries + size


def _emit(region: int, entries: Mapping[int, Entry]) -> bytes:
    """One header with a region around all of its entries, tags in ascending order."""
    store = bytearray()
    index = bytearray()
    for tag, (kind, count, data) in sorted(entries.items()):
        width = _WIDTH.get(kind, 1)
        store += b"\0" * (-len(store) % width if width else 0)
        index += struct.pack(">IIiI", tag, kind, len(store), count)
        store += data
    total = len(entries) + 1
    region_entry = struct.pack(">IIiI", region, _BIN, len(store), 16)
    store += struct.pack(">IIiI", region, _BIN, -16 * total, 16)
    return _MAGIC + struct.pack(">II", total, len(store)) + region_entry + bytes(index) + bytes(store)


Sign = Callable[[bytes, bytes], Mapping[int, bytes]]
"""(header, payload) -> tag of the signature header -> signature."""


Marks = Mapping[int, tuple[int, int]]
"""tag of a number that each file has -> (bits to clear, bits to set)."""


def _paths(entries: Mapping[int, Entry]) -> list[str]:
    def texts(tag: int) -> list[str]:
        return entries[tag][2].decode().split("\0")[:-1] if tag in entries else []

    folders, names = texts(_DIRNAMES), texts(_BASENAMES)
    numbers = struct.unpack(f">{len(names)}I", entries[_DIRINDEXES][2]) if names else ()
    return [folders[number] + name for number, name in zip(numbers, names, strict=True)]


def _mark(entries: dict[int, Entry], marks: Mapping[str, Marks]) -> None:
    paths = _paths(entries)
    for tag in {tag for wanted in marks.values() for tag in wanted}:
        values = list(struct.unpack(f">{len(paths)}I", entries[tag][2])) if tag in entries else [0] * len(paths)
        for number, path in enumerate(paths):
            clear, bits = marks.get(path, {}).get(tag, (0, 0))
            values[number] = values[number] & ~clear | bits
        entries[tag] = (_INT32, len(values), struct.pack(f">{len(values)}I", *values))


def with_tags(package: bytes, tags: Mapping[int, str], marks: Mapping[str, Marks] | None = None, sign: Sign | None = None) -> bytes:
    """The same RPM with string tags, and bits of its files, set in its header.

    :param package: a complete, unsigned RPM file.
    :param tags: tag number -> text, as in rpmtag.h (1044 is SOURCERPM).
    :param marks: path of a file -> what to set of it.
    :param sign: makes the signatures of the new header.
    :raises ValueError: not an RPM file.
    """
    signature_region, signature, end = _parse(package, _LEAD)
    start = end + (-end % 8)
    region, entries, payload = _parse(package, start)
    entries.update({tag: (_STRING, 1, text.encode() + b"\0") for tag, text in tags.items()})
    _mark(entries, marks or {})
    header = _emit(region, entries)
    body = header + package[payload:]
    fresh: dict[int, Entry] = {
        _SIG_SHA1: (_STRING, 1, hashlib.sha1(header, usedforsecurity=False).hexdigest().encode() + b"\0"),
        _SIG_SHA256: (_STRING, 1, hashlib.sha256(header).hexdigest().encode() + b"\0"),
        _SIG_SIZE: (4, 1, struct.pack(">I", len(body))),
        _SIG_MD5: (_BIN, 16, hashlib.md5(body, usedforsecurity=False).digest()),
    }
    kept = {tag: entry for tag, entry in signature.items() if tag not in (1008,)}
    kept.update(fresh)
    if sign is not None:
        kept.update({tag: (_BIN, len(data), data) for tag, data in sign(header, package[payload:]).items()})
    sealed = _emit(signature_region, kept)
    return package[:_LEAD] + sealed + b"\0" * (-len(sealed) % 8) + body
