"""Reads what one layer holds, from its stream, and stacks layers to the tree that a container sees.

This module must never keep a file's content but that of the few which say how packages are laid out, and the package database.

OCI image specification 1.1, "Image Layer Filesystem Changeset": whiteouts hide what lies in layers below, never in their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from isal import isal_zlib

from topcoat.archives import tarstream
from topcoat.archives.plain import CutOffError, Plain
from topcoat.archives.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX, steers_overlay
from topcoat.errors import ContentError
from topcoat.rpm import settings
from topcoat.rpm.rpmdb import FOLDERS, FOREIGN, SQLITE, WAL
from topcoat.synthesis.tree import Node, Tree

_CHUNK = 1 << 18
MOST_HASHED = 1 << 20
"""Bytes of the largest file whose digest is taken: configuration files are smaller."""
_MOST_DATABASE = 1 << 29
_KEPT = re.compile(
    r"etc/passwd|etc/group|etc/rpm/macros[^/]*|usr/lib/rpm/macros\.d/macros[^/]*|etc/nsswitch\.conf|etc/ld\.so\.(?:cache|conf|conf\.d/[^/]+\.conf)"
)
"""Beside what steers dnf."""
_VERSION = 2
"""Of kept listings; what is kept of contents is part of it."""
_LIMIT = 1 << 30
"""Bytes that a kept listing may unpack to."""
_KINDS = {tarstream.REGULAR: "f", tarstream.DIRECTORY: "d", tarstream.SYMLINK: "l"}


class HardLink(NamedTuple):
    """A further name of a file: the path of the first one, and the mode, owner and time (nanoseconds) that this name's own header says."""

    target: str
    mode: int
    uid: int
    gid: int
    mtime: int


@dataclass
class Listing:
    """One layer: entries by path without leading slash, names of hard links with what they are links of, and what it hides below."""

    entries: dict[str, Node] = field(default_factory=dict)
    hard_links: dict[str, HardLink] = field(default_factory=dict)
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    """Databases of formats that we do not read."""

    def to_bytes(self) -> bytes:
        """All of it, compressed; what ``from_bytes`` reads."""
        document = {
            "version": _VERSION,
            "entries": [[path, *node] for path, node in self.entries.items()],
            "hard_links": self.hard_links,
            "whiteouts": self.whiteouts,
            "opaque": self.opaque,
            "foreign": sorted(self.foreign),
            "contents": [[path, len(content)] for path, content in self.contents.items()],
        }
        engine = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
        pieces = [json.dumps(document, separators=(",", ":")).encode() + b"\n", *self.contents.values()]
        return b"".join([*map(engine.compress, pieces), engine.flush()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Listing:
        """:raises ContentError: not of this shape."""
        try:
            engine = isal_zlib.decompressobj(31)
            head, _, rest = engine.decompress(data, _LIMIT).partition(b"\n")
            document = json.loads(head)
            if document["version"] != _VERSION or not engine.eof:
                raise ValueError("of another version, or cut off")
            paths, lengths = [path for path, _ in document["contents"]], [length for _, length in document["contents"]]
            ends = list(accumulate(lengths))
            if (ends[-1] if ends else 0) != len(rest):
                raise ValueError("its contents are of another length")
            return cls(
                {path: Node(*values) for path, *values in document["entries"]},
                {path: HardLink(*values) for path, values in document["hard_links"].items()},
                document["whiteouts"],
                document["opaque"],
                {path: rest[end - length : end] for path, length, end in zip(paths, lengths, ends, strict=True)},
                set(document["foreign"]),
            )
        except (ValueError, KeyError, TypeError, isal_zlib.error) as error:  # type: ignore[misc]
            raise ContentError(f"what is known of a layer's files is damaged: {error!r}", next_step="remove it from the work folder") from error


def is_kept(path: str) -> bool:
    """Whether the content of a file is kept: it says how packages are laid out, or steers dnf."""
    return _KEPT.fullmatch(path) is not None or settings.wanted(path)


def read_listing(stream: BinaryIO) -> Listing:
    """Read a layer to its end, so that whoever gives the stream can prove its digest.

    :raises ContentError: it is no readable tar archive.
    """
    found = Listing()
    source = Plain(iter(lambda: stream.read(_CHUNK), b""))
    reader = tarstream.Reader(source.next)
    try:
        for entry in reader:
            path = "/".join(part for part in entry.name.split("/") if part not in ("", "."))
            if not path:
                continue
            if ".." in path.split("/"):
                raise tarstream.TarError(f"{entry.name!r} leads out of it")
            folder, _, name = path.rpartition("/")
            if name == OPAQUE_NAME:
                found.opaque.append(folder)
            elif name.startswith(WHITEOUT_PREFIX):
                gone = name.removeprefix(WHITEOUT_PREFIX)
                found.whiteouts.append(f"{folder}/{gone}" if folder else gone)
            elif entry.kind == tarstream.HARDLINK:
                target = "/".join(part for part in entry.link.split("/") if part not in ("", "."))
                found.entries.pop(path, None)
                first = found.hard_links[target].target if target in found.hard_links else target
                found.hard_links[path] = HardLink(first, entry.mode & 0o7777, entry.uid, entry.gid, entry.mtime_ns)
            else:
                found.hard_links.pop(path, None)
                found.entries[path] = _node(reader, entry, path, found)
        while source.next():
            pass
    except (tarstream.TarError, CutOffError) as error:
        raise ContentError(f"a layer is no readable tar archive: {error or 'it ends in the middle'}", next_step="push the image again") from error
    return found


def _node(reader: tarstream.Reader, entry: tarstream.Member, path: str, found: Listing) -> Node:
    kind, digest = _KINDS.get(entry.kind, "o"), ""
    if kind == "f":
        folder, _, name = path.rpartition("/")
        database = folder in FOLDERS and name in (SQLITE, WAL)
        if folder in FOLDERS and name in FOREIGN:
            found.foreign.add(path)
        limit = _MOST_DATABASE if database else settings.MOST_BYTES
        if database or is_kept(path):
            if entry.size > limit:
                raise ContentError(f"/{path} has {entry.size} bytes; at most {limit} are read", next_step="look at the image")
            found.contents[path] = b"".join(bytes(piece) for piece in reader.content())
            digest = hashlib.sha256(found.contents[path]).hexdigest()
        elif entry.size <= MOST_HASHED:
            running = hashlib.sha256()
            for piece in reader.content():
                running.update(bytes(piece) if isinstance(piece, int) else piece)
            digest = running.hexdigest()
    # The host's security labels are not the image's, and overlayfs' own attributes do not leave a layer.
    attributed = any(name != "security.selinux" and not steers_overlay(name) for name in entry.attributes)
    return Node(kind, entry.mode & 0o7777, entry.uid, entry.gid, entry.mtime_ns, entry.link if kind == "l" else "", digest, attributed)


def merge(layers: Sequence[Listing]) -> Tree:
    """Put layers on top of each other, lowest first."""
    tree = Tree()
    for layer in layers:
        add_layer(tree, layer)
    return tree


def add_layer(tree: Tree, layer: Listing) -> None:
    """Put one layer on top of a tree."""
    for path in layer.opaque:
        tree.remove(path, itself=False)
    for path in layer.whiteouts:
        tree.remove(path)
    for path, node in layer.entries.items():
        _check_way(tree, path)
        tree.contents.pop(path, None)
        tree.set(path, node)
    for path, (target, *header) in layer.hard_links.items():
        _check_way(tree, path)
        first = tree.nodes.get(target)
        if first is None or first.kind == "d":
            tree.odd = tree.odd or f"/{path} is a hard link of nothing"
            continue
        if first.kind == "f" and header != [first.mode, first.uid, first.gid, first.mtime]:
            # podman and buildah give the file what the last name says, GNU tar leaves it as the first one said
            tree.odd = tree.odd or f"/{path} and /{target} are one file, with different modes, owners or times in the layer"
        tree.set(path, first)
        if target in tree.contents:
            tree.contents[path] = tree.contents[target]
    tree.contents.update({path: content for path, content in layer.contents.items() if path in layer.entries})
    if layer.foreign:
        tree.odd = tree.odd or "its package database is not SQLite"


def _check_way(tree: Tree, path: str) -> None:
    """Tools unpack an entry below a link in two ways: into the link's target, or in the place of the link."""
    folder = path.rpartition("/")[0]
    while folder:
        node = tree.nodes.get(folder)
        if node is not None:
            if node.kind != "d":
                tree.odd = tree.odd or f"a layer holds /{path}, and /{folder} is no directory below it"
            return
        folder = folder.rpartition("/")[0]
