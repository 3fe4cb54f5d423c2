"""A package's header as far as its files, scriptlets and triggers go: of an RPM file, or a row of an rpm database.

This module must never decide anything, and never believe a number before it is checked.

The layout is that of rpm's header format, version 4 ("Header Format" in rpm's reference manual); tag numbers as in rpm's rpmtag.h.
"""

from __future__ import annotations

import stat
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from topcoat.errors import ContentError
from topcoat.model import Nevra

_LEAD, _LEAD_MAGIC, _MAGIC = 96, b"\xed\xab\xee\xdb", b"\x8e\xad\xe8\x01\0\0\0\0"
_MOST_ENTRIES, _MOST_BYTES = 0xFFFF, 0x10000000  # rpm's own limits (lib/header.c)
_MOST_FILES = 1 << 21
_NUMBERS = {1: "b", 2: "B", 3: "H", 4: "I", 5: "Q"}
_TEXTS = (6, 8, 9)

CONFIG, DOC, MISSINGOK, NOREPLACE, GHOST, ARTIFACT = 1, 2, 8, 16, 64, 4096
"""RPMFILE_*."""
NORMAL, NOT_INSTALLED = 0, 2
"""RPMFILE_STATE_*."""
_SCRIPTS = {
    "pre": (1023, 1085),
    "post": (1024, 1086),
    "preun": (1025, 1087),
    "postun": (1026, 1088),
    "pretrans": (1151, 1153),
    "posttrans": (1152, 1154),
    "preuntrans": (5104, 5106),
    "postuntrans": (5105, 5107),
}


@dataclass(frozen=True)
class PackageFile:
    """One entry: ``path`` relative to the root without leading slash, ``mtime`` in seconds since 1970, ``digest`` hexadecimal (empty: none)."""

    path: str
    mode: int
    mtime: int
    size: int
    digest: str
    link: str
    flags: int
    user: str
    group: str
    capabilities: str
    inode: tuple[int, int]
    state: int
    """RPMFILE_STATE_* of an installed package; ``NORMAL`` of a package file."""
    language: str = ""
    """Languages that it is for, ``|`` between them; empty: for all."""

    @property
    def is_ghost(self) -> bool:
        """Whether no package brings it."""
        return bool(self.flags & GHOST)

    @property
    def is_config(self) -> bool:
        """Whether what an administrator made of it counts."""
        return bool(self.flags & CONFIG)


@dataclass(frozen=True)
class Script:
    """A scriptlet: the program that runs it, and its text."""

    kind: str
    program: tuple[str, ...]
    body: str


class Package:
    """The header of one package. What a header lacks is empty; what is damaged raises ContentError."""

    def __init__(self, header: bytes) -> None:
        """:param header: number of index entries, bytes of data, the entries, the data."""
        try:
            entries, size = struct.unpack_from(">II", header)
            if not 0 < entries <= _MOST_ENTRIES or size > _MOST_BYTES or 8 + 16 * entries + size > len(header):
                raise ValueError("it is cut short")
            self._begin = 8 + 16 * entries
            self._data = header[self._begin : self._begin + size]
            rows = struct.iter_unpack(">IIiI", header[8 : 8 + 16 * entries])
            self._index = {tag: (kind, offset, count) for tag, kind, offset, count in rows}
        except (struct.error, ValueError) as error:
            raise _damaged(error) from error

    def _values(self, tag: int) -> list[Any]:
        kind, offset, count = self._index.get(tag, (0, 0, 0))
        try:
            if not count:
                return []
            if offset < 0 or count > len(self._data):
                raise ValueError(f"tag {tag} lies outside")
            if kind in _TEXTS:
                found = self._data[offset:].split(b"\0", count) if count > 1 else [self._data[offset : self._data.index(b"\0", offset)]]
                if count > 1 and len(found) <= count:
                    raise ValueError(f"tag {tag} has no end")
                return [text.decode("utf-8", "surrogateescape") for text in found[:count]]
            if kind in _NUMBERS:
                return list(struct.unpack_from(f">{count}{_NUMBERS[kind]}", self._data, offset))
            return [self._data[offset : offset + count]]
        except (struct.error, ValueError) as error:
            raise _damaged(error) from error

    def _one(self, tag: int, default: object = "") -> object:
        values = self._values(tag)
        return values[0] if values else default

    def _texts(self, tag: int) -> tuple[str, ...]:
        self._check_kind(tag, text=True)
        return tuple(self._values(tag))

    def _check_kind(self, tag: int, *, text: bool) -> None:
        if tag in self._index and self._index[tag][0] not in (_TEXTS if text else _NUMBERS):
            raise _damaged(f"tag {tag} is of another kind")

    def _number(self, tag: int, default: int) -> int:
        found = self._one(tag, default)
        if not isinstance(found, int):
            raise _damaged(f"tag {tag} is no number")
        return found

    @cached_property
    def nevra(self) -> Nevra:
        """Name, epoch, version, release, architecture."""
        return Nevra(str(self._one(1000)), self._number(1003, 0), str(self._one(1001)), str(self._one(1002)), str(self._one(1022)))

    @property
    def build_time(self) -> int:
        """Seconds since 1970."""
        return self._number(1006, 0)

    @cached_property
    def header_digest(self) -> str:
        """sha256 of the header, as the build wrote it; empty where it has none."""
        return str(self._one(273))

    @property
    def digest_bits(self) -> int:
        """Kind of the files' digests: 8 is SHA-256 (OpenPGP's numbers), 1 is MD5, which old packages mean without saying so."""
        return self._number(5011, 1)

    @property
    def provides(self) -> tuple[str, ...]:
        """Names of what it provides."""
        return self._texts(1047)

    @cached_property
    def scripts(self) -> tuple[Script, ...]:
        """Its scriptlets, also those that are a program without text."""
        found = []
        for kind, (body, program) in _SCRIPTS.items():
            if body in self._index or program in self._index:
                found.append(Script(kind, self._texts(program), str(self._one(body))))
        return tuple(found)

    @property
    def has_triggers(self) -> bool:
        """Whether other packages or files set something of it in motion."""
        return any(tag in self._index for tag in (1065, 5066, 5076))

    @property
    def trigger_names(self) -> frozenset[str]:
        """Names of the packages that do."""
        return frozenset(self._texts(1066))

    @property
    def trigger_paths(self) -> tuple[str, ...]:
        """Beginnings of the paths that do (absolute)."""
        return (*self._texts(5069), *self._texts(5079))

    @cached_property
    def file_triggers(self) -> tuple[tuple[str, Script], ...]:
        """The same with what each sets in motion."""
        found = []
        for scripts, programs, names, numbers in ((5066, 5067, 5069, 5070), (5076, 5077, 5079, 5080)):
            self._check_kind(numbers, text=False)
            bodies, runners = self._texts(scripts), self._texts(programs)
            try:
                for path, number in zip(self._texts(names), self._values(numbers), strict=True):
                    found.append((path, Script("trigger", (runners[number],), bodies[number])))
            except (ValueError, IndexError) as error:
                raise _damaged(error) from error
        return tuple(found)

    @cached_property
    def basenames(self) -> frozenset[str]:
        """Last parts of its files' paths."""
        return frozenset(self._texts(1117))

    def paths(self) -> Iterator[str]:
        """Its files' paths, relative to the root without leading slash."""
        for tag, text in ((1118, True), (1117, True), (1116, False)):
            self._check_kind(tag, text=text)
        names = self._values(1118)
        try:
            for base, index in zip(self._values(1117), self._values(1116), strict=True):
                yield (names[index] + base).lstrip("/")
        except (ValueError, IndexError) as error:
            raise _damaged(error) from error

    def folders(self) -> list[str]:
        """Directories of its files, as its header lists them; relative to the root without slashes at the ends."""
        return [name.strip("/") for name in self._texts(1118)]

    @property
    def states_at(self) -> int:
        """Where the states of its files begin in the header that it was made of, one byte a file.

        :raises ContentError: it has none, as no package has that is not installed.
        """
        kind, offset, count = self._index.get(1029, (0, 0, 0))
        if kind != 1 or count != len(self.files) or not 0 <= offset <= len(self._data) - count:
            raise _damaged("it does not say which of its files are there")
        return int(self._begin + offset)

    @cached_property
    def files(self) -> tuple[PackageFile, ...]:
        """Its files, in its own order."""
        paths = list(self.paths())
        count = len(paths)
        if count > _MOST_FILES or (1027 in self._index and not count):
            raise _damaged("its file list is of a kind that nobody writes any more")
        for tag in (5008, 1028):
            self._check_kind(tag, text=False)
        sizes = self._values(5008) or self._values(1028)

        def column(tag: int, default: object) -> list[Any]:
            self._check_kind(tag, text=isinstance(default, str))
            return self._values(tag) or [default] * count

        columns = [
            column(1030, 0),
            column(1034, 0),
            sizes or [0] * count,
            column(1035, ""),
            column(1036, ""),
            column(1037, 0),
            column(1039, "root"),
            column(1040, "root"),
            column(5010, ""),
            column(1095, 0),
            column(1096, 0),
            column(1029, NORMAL),
            column(1097, ""),
        ]
        try:
            return tuple(
                PackageFile(path, mode, mtime, size, digest, link, flags, user, group, caps, (device, inode), state, language)
                for path, mode, mtime, size, digest, link, flags, user, group, caps, device, inode, state, language in zip(
                    paths, *columns, strict=True
                )
            )
        except ValueError as error:
            raise _damaged(error) from error

    @cached_property
    def names(self) -> Mapping[tuple[int, int], list[PackageFile]]:
        """Its plain files by their inode: more than one are names of one file."""
        found: dict[tuple[int, int], list[PackageFile]] = defaultdict(list)
        for file in self.files:
            if is_kind(file.mode) == "f":
                found[file.inode].append(file)
        return found


def read_rpm(stream: BinaryIO) -> Package:
    """The header of an RPM file; the stream stands at the payload afterwards.

    :raises ContentError: it is no RPM file of version 3 or 4.
    """
    lead = stream.read(_LEAD)
    if len(lead) < _LEAD or lead[:4] != _LEAD_MAGIC:
        raise _damaged("it is no RPM file")
    _header(stream, align=True)
    return Package(_header(stream, align=False))


def _header(stream: BinaryIO, *, align: bool) -> bytes:
    intro = stream.read(16)
    if len(intro) < 16 or intro[:8] != _MAGIC:
        raise _damaged("a header of it is missing")
    entries, size = struct.unpack(">II", intro[8:])
    if entries > _MOST_ENTRIES or size > _MOST_BYTES:
        raise _damaged("a header of it is larger than rpm allows")
    body = stream.read(16 * entries + size)
    if len(body) < 16 * entries + size:
        raise _damaged("it is cut short")
    if align:
        stream.read(-size % 8)
    return intro[8:] + body


def _damaged(why: object) -> ContentError:
    return ContentError(
        f"a package's header cannot be read: {why}", next_step="build the package again, or rebuild the image whose database holds it"
    )


def is_kind(mode: int) -> str:
    """``d``, ``f``, ``l``, or ``o`` for devices, pipes and sockets."""
    kind = stat.S_IFMT(mode)
    return {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l"}.get(kind, "o")
