"""An image's files without what its packages say of them: a small document from which, with the package database, the whole tree comes again.

This module must never give a tree that is not, entry for entry, the one that was drawn.

Most of what is in an image lies there as its packages brought it. So a document holds what is otherwise (settings, accounts, caches, compiled files,
directories, what a build copied, what is not there), the few contents that composing an update asks for, and a digest over the whole tree.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from isal import isal_zlib

from topcoat.archives.tarstream import NANO
from topcoat.documents import Door, Shape
from topcoat.errors import ContentError
from topcoat.synthesis.listing import MOST_HASHED, is_kept
from topcoat.synthesis.package import NOT_INSTALLED, Package, is_kind
from topcoat.synthesis.tree import Node, Tree

_VERSION = 2
"""Of the form, and of what is expected of packages."""
_ENTRY = "%s\0%s%d,%d,%d,%d,%s\0%s%d"
"""A path with the fields of ``Node``, in their order."""
_LEVEL = 2
"""Of ISA-L; the same bytes on every processor (``topcoat.layers.writer``)."""
_LIMIT = 64 << 20
"""Bytes that a document may unpack to."""
_SHA256 = 8
_ACCOUNTS = ("etc/passwd", "etc/group")
_DOOR = Door(ContentError, "the image's layers are read instead", limit=_LIMIT)
_WHAT = "the list of an image's files"


def draw(tree: Tree, packages: Iterable[Package]) -> bytes | None:
    """The document of a tree; the same tree and packages give the same bytes.

    :param packages: of the image's database, in its order.
    :returns: None where no document can say it: names that are no UTF-8, directories that no layer names.
    """
    if tree.implied():
        return None
    expected = _expected(packages, tree.contents)
    other = sorted((path, *node) for path, node in tree.nodes.items() if expected.get(path) != node)
    contents = sorted(tree.contents.items())
    document = {
        "version": _VERSION,
        "odd": tree.odd,
        "other": other,
        "absent": sorted(expected.keys() - tree.nodes.keys()),
        "contents": [[path, len(content)] for path, content in contents],
        "tree": _digest(tree),
    }
    try:
        head = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return None
    engine = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, 31)
    return b"".join([*map(engine.compress, [head, b"\n", *(content for _, content in contents)]), engine.flush()])


def restore(data: bytes, packages: Iterable[Package]) -> Tree:
    """The tree that was drawn.

    :param packages: of the database that the image had then, in its order.
    :raises ContentError: it is no such document, or one of another image.
    """
    try:
        engine = isal_zlib.decompressobj(31)
        head, _, rest = engine.decompress(data, _LIMIT).partition(b"\n")
        whole = engine.eof
    except isal_zlib.error as error:  # type: ignore[misc]
        raise ContentError(f"{_WHAT} is damaged: {error}", next_step=_DOOR.next_step) from error
    document, shape = _DOOR.json_object(head, _WHAT), _DOOR.shape(_WHAT)
    if document.get("version") != _VERSION or not whole:
        raise ContentError(f"{_WHAT} is cut off, or of another version", next_step=_DOOR.next_step)
    tree = Tree(odd=shape.need(document, "odd", str))
    tree.contents = dict(_contents(shape.need(document, "contents", list), rest, shape))
    nodes = _expected(packages, tree.contents)
    for path in shape.need(document, "absent", list):
        nodes.pop(_path(path, shape), None)
    for entry in shape.need(document, "other", list):
        path, node = _node(entry, shape)
        nodes[path] = node
    for path in sorted(nodes):
        tree.set(path, nodes[path])
    standing = all(nodes[folder].kind == "d" for path in nodes if (folder := path.rpartition("/")[0]) in nodes)
    if tree.implied() or not standing or not tree.contents.keys() <= tree.nodes.keys() or _digest(tree) != document.get("tree"):
        raise ContentError(f"{_WHAT} is not that of its packages", next_step=_DOOR.next_step)
    return tree


def _expected(packages: Iterable[Package], contents: Mapping[str, bytes]) -> dict[str, Node]:
    """What lies there when all packages lie there as they were brought."""
    users, groups = (Tree(contents=dict(contents)).ids(name) for name in _ACCOUNTS)
    found: dict[str, Node] = {}
    for package in packages:
        hashed = package.digest_bits == _SHA256
        for file in package.files:
            if file.is_ghost or file.state == NOT_INSTALLED:
                continue
            kind = is_kind(file.mode)
            found[file.path] = Node(
                kind,
                file.mode & 0o7777,
                users.get(file.user, 0),
                groups.get(file.group, 0),
                file.mtime * NANO,
                file.link if kind == "l" else "",
                file.digest if kind == "f" and hashed and file.size <= MOST_HASHED else "",
                bool(file.capabilities),
            )
    return found


def _digest(tree: Tree) -> str:
    """Of every entry. Names and targets of links hold no NUL, so no two trees have one text; one text, because this is nearly all of the work."""
    entries = [_ENTRY % (path, *node) for path, node in sorted(tree.nodes.items())]
    contents = [f"{path}\0{hashlib.sha256(content).hexdigest()}" for path, content in sorted(tree.contents.items())]
    return hashlib.sha256("\0".join([*entries, "", *contents]).encode("utf-8", "surrogatepass")).hexdigest()


def _path(value: object, shape: Shape) -> str:
    """A path relative to the root that leads nowhere else."""
    if not isinstance(value, str) or not value or "\0" in value or any(part in ("", ".", "..") for part in value.split("/")):
        raise shape.wrong("a path", "one inside the image")
    return value


def _contents(entries: list[object], rest: bytes, shape: Shape) -> Iterator[tuple[str, bytes]]:
    if not all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int) and entry[1] >= 0 for entry in entries):
        raise shape.wrong("contents", "pairs of a path and a length")
    lengths = [entry[1] for entry in entries]  # type: ignore[index]
    ends = list(accumulate(lengths))
    if (ends[-1] if ends else 0) != len(rest):
        raise shape.wrong("contents", "as long as they say")
    for entry, length, end in zip(entries, lengths, ends, strict=True):
        path = _path(entry[0], shape)  # type: ignore[index]
        if not is_kept(path):
            raise shape.wrong("contents", "those of files that say how packages are laid out")
        yield path, rest[end - length : end]


def _node(entry: object, shape: Shape) -> tuple[str, Node]:
    kinds = (str, str, int, int, int, int, str, str, bool)
    if not isinstance(entry, list) or len(entry) != len(kinds) or not all(type(value) is kind for value, kind in zip(entry, kinds, strict=True)):
        raise shape.wrong("an entry", "a path with what lies there")
    path, node = _path(entry[0], shape), Node(*entry[1:])
    if node.kind not in ("d", "f", "l", "o") or not 0 <= node.mode <= 0o7777 or min(node.uid, node.gid) < 0 or "\0" in node.link:
        raise shape.wrong("an entry", "one that can lie in an image")
    return path, node
