"""The table of contents of a zstd:chunked layer: where each file's content is, so that a client fetches only the files that it has not.

This module must never say of a file what its header in the archive does not say: clients believe the table, and compare both.

Source: the format as containers/storage reads it (``pkg/chunked``): a table and the archive's headers ("tar-split") in skippable frames behind the
data (RFC 8878, 3.1.2), their places and digests in annotations of the layer.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import tarfile
from collections.abc import Mapping

import fastcrc
import zstandard

from topcoat.archives.tarstream import XATTR_RECORD
from topcoat.layers.compression import ZSTD_LEVEL
from topcoat.model.labels import CHUNKED_CHECKSUM, CHUNKED_POSITION, CHUNKED_TARSPLIT
from topcoat.model.moments import rfc3339
from topcoat.registry.oci import to_json

_SKIPPABLE = struct.Struct("<4sI")
_SKIPPABLE_MAGIC = b"\x50\x2a\x4d\x18"
_FOOTER = struct.Struct("<7Q8s")
_FOOTER_MAGIC = b"GNUlInUx"
_TABLE = 1
"""The one kind of table that there is."""
_KINDS = {
    tarfile.REGTYPE: "reg",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.DIRTYPE: "dir",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
_FILE, _SEGMENT = 1, 2


class TableOfContents:
    """Collects while an archive is written; ``finish`` gives what goes behind it."""

    def __init__(self) -> None:
        self._entries: list[dict[str, object]] = []
        self._split: list[bytes] = []
        self._raw = bytearray()
        self._start = 0
        self._sha256 = hashlib.sha256()
        self._crc64 = 0
        self._usable = True

    def raw(self, data: bytes) -> None:
        """Bytes of the archive that are no file's content: headers and padding."""
        self._raw += data

    def add(self, info: tarfile.TarInfo, records: Mapping[str, bytes]) -> None:
        """A member without content, its header given to ``raw`` before."""
        self._member(info, records, b"", {})

    def begin(self, offset: int) -> None:
        """The content of a file begins here, in a frame of its own.

        :param offset: in the compressed layer, bytes.
        """
        self._start = offset
        self._sha256 = hashlib.sha256()
        self._crc64 = 0

    def content(self, data: bytes) -> None:
        """A part of that content."""
        self._sha256.update(data)
        self._crc64 = fastcrc.crc64.go_iso(data, self._crc64)

    def end(self, info: tarfile.TarInfo, records: Mapping[str, bytes], offset: int) -> None:
        """That content ended here.

        :param offset: in the compressed layer, bytes.
        """
        place = {"digest": f"sha256:{self._sha256.hexdigest()}", "offset": self._start, "endOffset": offset}
        self._member(info, records, self._crc64.to_bytes(8, "big"), place)

    def finish(self, offset: int) -> tuple[bytes, dict[str, str]]:
        """What goes behind the data, and the layer's annotations; nothing of both where a name or a time cannot be told in a table.

        :param offset: length of the compressed layer by now, bytes.
        """
        if not self._usable:
            return b"", {}
        self._segment()
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        split_size = sum(map(len, self._split))
        split = compressor.compress(b"".join(self._split))
        document = {"version": 1, "entries": self._entries, "tarSplitDigest": f"sha256:{hashlib.sha256(split).hexdigest()}"}
        plain = to_json(document)
        table = compressor.compress(plain)
        table_at = offset + _SKIPPABLE.size
        split_at = table_at + len(table) + _SKIPPABLE.size
        footer = _FOOTER.pack(table_at, len(table), len(plain), _TABLE, split_at, len(split), split_size, _FOOTER_MAGIC)
        annotations = {
            CHUNKED_CHECKSUM: f"sha256:{hashlib.sha256(table).hexdigest()}",
            CHUNKED_POSITION: f"{table_at}:{len(table)}:{len(plain)}:{_TABLE}",
            CHUNKED_TARSPLIT: f"{split_at}:{len(split)}:{split_size}",
        }
        return b"".join(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(frame)) + frame for frame in (table, split, footer)), annotations

    def _member(self, info: tarfile.TarInfo, records: Mapping[str, bytes], checksum: bytes, place: Mapping[str, object]) -> None:
        self._segment()
        try:
            name, link = os.fsencode(info.name).decode(), os.fsencode(info.linkname).decode()
            "".join(records).encode()
            moment = _moment(info, records)
        except ValueError:
            self._usable = False  # JSON has text only, and RFC 3339 four digits of a year
            return
        numbers = {"size": info.size, "mode": info.mode, "uid": info.uid, "gid": info.gid, "devMajor": info.devmajor, "devMinor": info.devminor}
        texts = {"type": _KINDS[info.type], "name": name, "linkName": link, "modtime": moment}
        attributes = {key.removeprefix(XATTR_RECORD): _base64(value) for key, value in records.items() if key.startswith(XATTR_RECORD)}
        entry: dict[str, object] = {**numbers, **texts, "xattrs": attributes, **place}
        self._entries.append({key: value for key, value in entry.items() if value})
        self._line({"type": _FILE, "name": name, "size": info.size, "payload": _base64(checksum) if checksum else None})

    def _segment(self) -> None:
        if self._raw:
            self._line({"type": _SEGMENT, "payload": _base64(self._raw)})
            self._raw.clear()

    def _line(self, entry: dict[str, object]) -> None:
        self._split.append(to_json(entry | {"position": len(self._split)}) + b"\n")


def _base64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()


def _moment(info: tarfile.TarInfo, records: Mapping[str, bytes]) -> str:
    """RFC 3339, with as many digits of the second as there are.

    :raises ValueError: a year of five digits.
    """
    seconds, _, fraction = records.get("mtime", str(info.mtime).encode()).decode().partition(".")
    moment = rfc3339(int(seconds))
    return f"{moment.removesuffix('Z')}.{fraction}Z" if fraction else moment
