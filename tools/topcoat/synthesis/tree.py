"""The files that a container of an image sees, as values: name, kind, mode, owner, time, target of links, digest of small files.

This module must never hold a file's content but that of the few which say how packages are laid out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from topcoat.model import account_table

_MAX_LINKS = 40


class Node(NamedTuple):
    """One path. ``kind`` is ``d``, ``f``, ``l`` or ``o``; ``mtime`` in nanoseconds since 1970; ``digest`` sha256, hexadecimal, of small files."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    link: str = ""
    digest: str = ""
    attributed: bool = False
    """Whether it has extended attributes; which ones is not known."""


@dataclass
class Tree:
    """``nodes`` by path without leading slash; ``contents`` of the files that matter; ``odd``: why it cannot be relied on, empty when it can."""

    nodes: dict[str, Node] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    odd: str = ""

    def __post_init__(self) -> None:
        self._children: dict[str, set[str]] = {}
        for path in self.nodes:
            self._link(path)

    def copy(self) -> Tree:
        """The same, to be changed without changing this one."""
        found = Tree(odd=self.odd)
        found.nodes, found.contents = dict(self.nodes), dict(self.contents)
        found._children = {path: set(names) for path, names in self._children.items()}
        return found

    def _link(self, path: str) -> None:
        while path:
            folder, _, name = path.rpartition("/")
            known = self._children.setdefault(folder, set())
            if name in known:
                return
            known.add(name)
            path = folder

    def children(self, path: str) -> frozenset[str]:
        """Names in a directory."""
        return frozenset(self._children.get(path, ()))

    def has(self, path: str) -> bool:
        """Whether something is there, be it a directory that no layer names."""
        return path in self.nodes or path in self._children

    def implied(self) -> bool:
        """Whether there is a directory that no layer names."""
        return any(path and path not in self.nodes for path in self._children)

    def set(self, path: str, node: Node) -> None:
        """Put one entry; what lay below something that is no directory any more goes."""
        if node.kind != "d" and path in self._children:
            self.remove(path)
        self.nodes[path] = node
        self._link(path)

    def remove(self, path: str, *, itself: bool = True) -> None:
        """Take an entry away with everything below it, or only what is below it."""
        waiting = [path]
        while waiting:
            here = waiting.pop()
            waiting += [f"{here}/{name}" if here else name for name in self._children.pop(here, ())]
            if here != path or itself:
                self.nodes.pop(here, None)
                self.contents.pop(here, None)
        if itself and path:
            folder, _, name = path.rpartition("/")
            self._children.get(folder, set()).discard(name)
        elif path in self.nodes:
            self._link(path)

    def resolve(self, path: str) -> str:
        """Where a path leads when the links of every part are followed inside the tree; parts that do not exist stay as they are."""
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        real: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                real = real[:-1]
                continue
            real.append(part)
            node = self.nodes.get("/".join(real))
            if node is None or node.kind != "l" or links >= _MAX_LINKS:
                continue
            links += 1
            real = [] if node.link.startswith("/") else real[:-1]
            waiting += [piece for piece in reversed(node.link.split("/")) if piece not in ("", ".")]
        return "/".join(real)

    def directory_links(self) -> Iterator[tuple[str, str]]:
        """(path of a link, path of the directory it leads to)."""
        for path, node in self.nodes.items():
            if node.kind == "l":
                target = self.resolve(path)
                found = self.nodes.get(target)
                if target in self._children or (found is not None and found.kind == "d"):
                    yield path, target

    def ids(self, name: str) -> dict[str, int]:
        """Names with their numbers in ``etc/passwd`` or ``etc/group``, the first of a name counting, as the C library reads them."""
        found: dict[str, int] = {}
        for line in account_table.lines(self.contents.get(name, b"").decode("utf-8", "replace")):
            fields = line.split(":")
            number = account_table.number(fields[2]) if len(fields) > 2 else None
            if number is not None:
                found.setdefault(fields[0], number)
        return found
