"""Layers as lists of files, and the tree that they make together (OCI image specification, layer.md: whiteouts, opaque directories).

This module must never unpack: of a file's content only the first bytes of programs and a few small tables are kept.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from posixpath import dirname, normpath
from typing import BinaryIO

from topcoat.archives import tarstream
from topcoat.archives.plain import PIECE, CutOffError, Plain
from topcoat.archives.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX
from topcoat.errors import ContentError

KEPT = frozenset(("etc/passwd", "etc/group"))
"""Files whose whole content is kept."""

_HEAD_BYTES = 256
_KEPT_BYTES = 1 << 20
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a layer. ``mode`` holds type and permissions as ``st_mode`` does; ``link`` the target of a symbolic link."""

    mode: int
    uid: int
    gid: int
    size: int
    link: str = ""
    head: bytes = b""
    capabilities: bool = False

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True)
class LayerListing:
    """What one layer says, paths without a leading slash: entries, whiteouts, opaque directories, and the kept contents."""

    entries: dict[str, FileEntry]
    whiteouts: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    contents: dict[str, bytes] = field(default_factory=dict)


_TYPES = {
    tarstream.DIRECTORY: stat.S_IFDIR,
    tarstream.SYMLINK: stat.S_IFLNK,
    tarstream.CHARACTER: stat.S_IFCHR,
    tarstream.BLOCK_DEVICE: stat.S_IFBLK,
    tarstream.FIFO: stat.S_IFIFO,
}


def read_layer(stream: BinaryIO) -> LayerListing:
    """Read a layer, plain or compressed in any way that images are, from a stream that can be read once.

    :raises ContentError: it is not a tar archive of a kind we read.
    """
    entries: dict[str, FileEntry] = {}
    whiteouts: list[str] = []
    opaque: list[str] = []
    contents: dict[str, bytes] = {}
    source = Plain(iter(lambda: stream.read(PIECE), b""))
    reader = tarstream.Reader(source.next)
    try:
        for member in reader:
            path = normpath(member.name).lstrip("/")
            if path in ("", "."):
                continue
            folder, _, name = path.rpartition("/")
            if name == OPAQUE_NAME:
                opaque.append(folder)
            elif name.startswith(WHITEOUT_PREFIX):
                gone = name.removeprefix(WHITEOUT_PREFIX)
                whiteouts.append(f"{folder}/{gone}" if folder else gone)
            elif member.kind == tarstream.HARDLINK:
                target = entries.get(normpath(member.link).lstrip("/"))
                if target is not None:
                    entries[path] = target
            else:
                entries[path] = _entry(reader, member, path, contents)
        # Read to the end: the digest of the blob is proved by its last byte.
        while source.next():
            pass
    except tarstream.TarError as error:
        raise ContentError(f"a layer cannot be read as tar: {error}", next_step="push the image again") from error
    except CutOffError as error:
        raise ContentError("a layer cannot be read as tar: it ends in the middle", next_step="push the image again") from error
    return LayerListing(entries, tuple(whiteouts), tuple(opaque), contents)


def _entry(reader: tarstream.Reader, member: tarstream.Member, path: str, contents: dict[str, bytes]) -> FileEntry:
    head = b""
    if member.kind == tarstream.REGULAR and (member.mode & 0o111 or path in KEPT):
        head = _first(reader, _KEPT_BYTES if path in KEPT else _HEAD_BYTES)
        if path in KEPT:
            contents[path] = head
            head = b""
        elif not head.startswith(b"#!"):
            head = head[:4]
    kind = _TYPES.get(member.kind, stat.S_IFREG)
    capabilities = "security.capability" in member.attributes
    return FileEntry(kind | (member.mode & 0o7777), member.uid, member.gid, member.size, member.link, head, capabilities)


def _first(reader: tarstream.Reader, limit: int) -> bytes:
    """The first bytes of the member that is being read; holes are zeros."""
    found = bytearray()
    for piece in reader.content():
        left = limit - len(found)
        found += bytes(min(piece, left)) if isinstance(piece, int) else piece[:left]
        if len(found) >= limit:
            break
    return bytes(found)


class FileTree:
    """The files that a container sees."""

    def __init__(self, entries: dict[str, FileEntry], contents: dict[str, bytes], hidden_bytes: int) -> None:
        self.entries = entries
        self.contents = contents
        self.hidden_bytes = hidden_bytes
        """Uncompressed bytes of files that a later layer replaces or deletes: shipped, and never seen."""

    def resolve(self, path: str) -> str | None:
        """Follow symbolic links in every part of an absolute path; the real path without a leading slash, None when it does not exist.

        Nothing ever leads out of the image: ``..`` of the root is the root.
        """
        waiting = [part for part in reversed(path.split("/")) if part and part != "."]
        real: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                if real:
                    real.pop()
                continue
            real.append(part)
            entry = self.entries.get("/".join(real))
            if entry is None:
                # A layer need not name a directory that another layer's file implies.
                prefix = "/".join(real) + "/"
                if not any(known.startswith(prefix) for known in self.entries):
                    return None
                continue
            if entry.is_link:
                links += 1
                if links > _MAX_LINKS:
                    return None
                if entry.link.startswith("/"):
                    real = []
                else:
                    real.pop()
                waiting += [piece for piece in reversed(entry.link.split("/")) if piece and piece != "."]
        return "/".join(real)

    def place(self, path: str) -> str | None:
        """Where an absolute path lies, links followed in its directories but not in its last part; None when a directory does not exist."""
        folder, _, name = path.rpartition("/")
        real = self.resolve(folder)
        return None if real is None else f"{real}/{name}".lstrip("/")

    def get(self, path: str) -> FileEntry | None:
        """The entry of an absolute path, links followed."""
        real = self.resolve(path)
        return self.entries.get(real) if real is not None else None

    def text(self, path: str) -> str:
        """The content of a kept file, empty when it does not exist."""
        return self.contents.get(path.lstrip("/"), b"").decode("utf-8", "replace")


def merge(layers: Sequence[LayerListing]) -> FileTree:
    """Put layers on top of each other, lowest first."""
    entries: dict[str, FileEntry] = {}
    contents: dict[str, bytes] = {}
    hidden = 0

    def drop(path: str, *, itself: bool) -> None:
        nonlocal hidden
        prefix = f"{path}/" if path else ""
        gone = [known for known in entries if (itself and known == path) or known.startswith(prefix)] if prefix or itself else list(entries)
        for known in gone:
            hidden += entries.pop(known).size
            contents.pop(known, None)

    for layer in layers:
        for path in layer.opaque:
            drop(path, itself=False)
        for path in layer.whiteouts:
            drop(path, itself=True)
        for path, entry in layer.entries.items():
            below = entries.get(path)
            if below is not None:
                if below.is_directory and not entry.is_directory:
                    drop(path, itself=True)
                else:
                    hidden += 0 if below.is_directory else below.size
            entries[path] = entry
        contents.update(layer.contents)
    return FileTree(entries, contents, hidden)


def parents_of(path: str) -> list[str]:
    """Every directory above a path, nearest last."""
    found = []
    folder = dirname(path)
    while folder:
        found.append(folder)
        folder = dirname(folder)
    return found[::-1]
