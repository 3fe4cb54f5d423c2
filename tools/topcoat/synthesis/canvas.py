"""The tree of an image and what a run puts over it: entries, the directories that they need, and the paths that go.

This module must never decide what a package wants; it knows what an archive of a layer has to hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topcoat.archives.tarstream import NANO
from topcoat.archives.whiteouts import WHITEOUT_PREFIX
from topcoat.synthesis.refusal import Refusal
from topcoat.synthesis.tree import Node, Tree


@dataclass(frozen=True)
class Placed:
    """One entry of the layer. ``source`` is (number of the package among the installed ones, path in it) of a regular file's content."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since 1970."""
    link: str = ""
    source: tuple[int, str] | None = None
    size: int = 0
    digest: str = ""
    attributes: tuple[tuple[str, bytes], ...] = ()
    hard_link: tuple[int, tuple[int, int]] | None = None
    """Entries with the same value are names of one file."""


@dataclass
class Layout:
    """``entries`` by path, directories that have to be there among them, ``whiteouts`` paths that go; all without leading slash."""

    entries: dict[str, Placed] = field(default_factory=dict)
    whiteouts: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.entries or self.whiteouts)


class Canvas:
    """What lies where while a composition goes on."""

    def __init__(self, tree: Tree, epoch: int) -> None:
        """:param epoch: seconds since 1970 that whatever the run itself makes gets."""
        self._tree = tree
        self.placed: dict[str, Placed] = {}
        self.whiteouts: set[str] = set()
        self._epoch = epoch * NANO
        self._unowned: set[str] = set()
        """Directories that nobody owns, made for what a package has below."""

    def layout(self) -> Layout:
        """The layer so far, with each directory above what it holds.

        :raises Refusal: no layer names one of them.
        """
        entries = dict(self.placed)
        for path in [*self.placed, *self.whiteouts]:
            self._add_parents(path, entries)
        return Layout(entries, sorted(self.whiteouts))

    def put(self, path: str, entry: Placed, *, new: bool = True) -> None:
        """Let an entry lie there. ``new``: the directory above gets it, and with it the time of the run, if the run made that one."""
        self.placed[path] = entry
        if new:
            self._touch_parent(path)

    def check_path(self, path: str, package: str) -> None:
        """Ask whether each directory above a path is one, or nothing yet.

        :raises Refusal: it is a link, a file, or one that no layer names; or the name is odd. Names the package.
        """
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") or part.startswith(WHITEOUT_PREFIX) for part in parts):
            raise Refusal(f"{package} has a file with an odd name (/{path!r})")
        for count in range(1, len(parts)):
            folder = "/".join(parts[:count])
            node = self.now(folder)
            if node is not None and node.kind != "d":
                raise Refusal(f"{package} has /{path}, and the image's /{folder} is {'a link' if node.kind == 'l' else 'no directory'}")
            if node is None and self._tree.has(folder):
                raise Refusal(f"no layer names the directory /{folder}")

    def check_folder(self, path: str) -> None:
        """Ask whether a directory can be written.

        :raises Refusal: its entry would take the place of the one below, with all its attributes, and nobody knows which those are.
        """
        node = self._tree.nodes.get(path)
        if node is not None and node.attributed:
            raise Refusal(f"the directory /{path} has extended attributes")

    def now(self, path: str) -> Node | Placed | None:
        """What lies there by now; what goes is still there."""
        return self.placed.get(path) or self._tree.nodes.get(path)

    def make_parents(self, path: str) -> None:
        """Make the directories above a path that nobody owns, as rpm makes them.

        :raises Refusal: of which group they are depends on rpm's order.
        """
        parts = path.split("/")
        for count in range(1, len(parts)):
            folder = "/".join(parts[:count])
            if self.now(folder) is None:
                self.put(folder, Placed("d", *self._inherited(folder), self._epoch))
                self._unowned.add(folder)

    def _inherited(self, folder: str) -> tuple[int, int, int]:
        """(mode, uid, gid) of a directory that rpm makes and nobody owns: below one with the set-group-id bit it has that bit and its group
        (mkdir(2))."""
        above = folder.rpartition("/")[0]
        before, now = map(_set_group, (self._tree.nodes.get(above), self.now(above)))
        if before != now and above not in self._unowned:
            raise Refusal(f"whether /{folder} inherits the group of the directory above depends on which rpm makes first")
        return 0o755 | now[0], 0, now[1]

    def _touch_parent(self, path: str) -> None:
        """A directory of this run got or lost an entry: its time is the run's."""
        folder = path.rpartition("/")[0]
        parent = self.placed.get(folder)
        if parent is not None and folder not in self._tree.nodes:
            self.placed[folder] = Placed("d", parent.mode, parent.uid, parent.gid, self._epoch)

    def _add_parents(self, path: str, entries: dict[str, Placed]) -> None:
        folder = path.rpartition("/")[0]
        while folder and folder not in entries:
            node = self._tree.nodes.get(folder)
            if node is None or node.kind != "d":
                raise Refusal(f"no layer names the directory /{folder}")
            self.check_folder(folder)
            entries[folder] = Placed("d", node.mode, node.uid, node.gid, node.mtime)
            folder = folder.rpartition("/")[0]


def _set_group(folder: Node | Placed | None) -> tuple[int, int]:
    """(set-group-id bit, group) that what is made in a directory gets from it, zeros where it gets none."""
    return (folder.mode & 0o2000, folder.gid) if folder is not None and folder.mode & 0o2000 else (0, 0)
