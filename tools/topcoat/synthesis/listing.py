"""Reads what one layer holds, from its stream, and stacks layers to the tree that a container sees.

This module must never keep a file's content but that of the few which say how packages are laid out, and the package database.

OCI image specification 1.1, "Image Layer Filesystem Changeset": whiteouts hide what lies in layers below, never in their own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from topcoat.archives import tarstream
from topcoat.archives.plain import CutOffError, Plain
from topcoat.archives.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX
from topcoat.errors import ContentError
from topcoat.rpm import settings
from topcoat.rpm.rpmdb import FOLDERS, FOREIGN, SQLITE, WAL
from topcoat.synthesis.tree import Node, Tree

_CHUNK = 1 << 18
_SMALL = 1 << 20
"""Bytes of the largest file whose digest is taken: configuration files are smaller."""
_MOST_DATABASE = 1 << 29
_KEPT = re.compile(r"etc/passwd|etc/group|etc/rpm/macros[^/]*|usr/lib/rpm/macros\.d/macros[^/]*|etc/nsswitch\.conf")
"""Beside what steers dnf."""
_KINDS = {tarstream.REGULAR: "f", tarstream.DIRECTORY: "d", tarstream.SYMLINK: "l"}


@dataclass
class Listing:
    """One layer: entries by path without leading slash, names of hard links with what they are links of, and what it hides below."""

    entries: dict[str, Node] = field(default_factory=dict)
    hard_links: dict[str, str] = field(default_factory=dict)
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    """Databases of formats that we do not read."""


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
                found.hard_links[path] = found.hard_links.get(target, target)
            else:
                found.hard_links.pop(path, None)
                found.entries[path] = _node(reader, entry, path, found)
        while source.next():
            pass
    except (tarstream.TarError, CutOffError) as error:
        raise ContentError(f"a layer is no readable tar archive: {error or 'it ends in the middle'}", next_step="push the image again") from error
    return found


def _node(reader: tarstream.Reader, entry: tarstream.Entry, path: str, found: Listing) -> Node:
    kind, digest = _KINDS.get(entry.kind, "o"), ""
    if kind == "f":
        folder, _, name = path.rpartition("/")
        database = folder in FOLDERS and name in (SQLITE, WAL)
        if folder in FOLDERS and name in FOREIGN:
            found.foreign.add(path)
        limit = _MOST_DATABASE if database else settings.MOST_BYTES
        if database or _KEPT.fullmatch(path) or settings.wanted(path):
            if entry.size > limit:
                raise ContentError(f"/{path} has {entry.size} bytes; at most {limit} are read", next_step="look at the image")
            found.contents[path] = b"".join(bytes(piece) for piece in reader.content())
            digest = hashlib.sha256(found.contents[path]).hexdigest()
        elif entry.size <= _SMALL:
            running = hashlib.sha256()
            for piece in reader.content():
                running.update(bytes(piece) if isinstance(piece, int) else piece)
            digest = running.hexdigest()
    return Node(kind, entry.mode & 0o7777, entry.uid, entry.gid, entry.mtime_ns, entry.link if kind == "l" else "", digest)


def merge(layers: Sequence[Listing]) -> Tree:
    """Put layers on top of each other, lowest first."""
    tree = Tree()
    for layer in layers:
        for path in layer.opaque:
            tree.remove(path, itself=False)
        for path in layer.whiteouts:
            tree.remove(path)
        for path, node in layer.entries.items():
            _check_way(tree, path)
            tree.contents.pop(path, None)
            tree.set(path, node)
        for path, target in layer.hard_links.items():
            _check_way(tree, path)
            first = tree.nodes.get(target)
            if first is None or first.kind == "d":
                tree.odd = tree.odd or f"/{path} is a hard link of nothing"
                continue
            tree.set(path, first)
            if target in tree.contents:
                tree.contents[path] = tree.contents[target]
        tree.contents.update({path: content for path, content in layer.contents.items() if path in layer.entries})
        if layer.foreign:
            tree.odd = tree.odd or "its package database is not SQLite"
    return tree


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
