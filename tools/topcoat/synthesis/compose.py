"""What the files of a transaction do to an image's tree: entries to write, paths to hide, and the times that directories have afterwards.

This module must never leave a question open: what depends on bytes that it does not have is refused.

The rules are those of rpm 4.18 to 4.20 (lib/fsm.c, lib/transaction.c, lib/rpmfi.c ``rpmfilesDecideFate``), and those by which this package writes the
layer of a real transaction: what a run makes gets the time of its image, a directory that was there keeps its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topcoat.archives.tarstream import NANO
from topcoat.synthesis import capabilities
from topcoat.synthesis.canvas import Canvas, Layout, Placed
from topcoat.synthesis.package import MISSINGOK, NOREPLACE, NORMAL, NOT_INSTALLED, Package, PackageFile, is_kind
from topcoat.synthesis.refusal import Refusal
from topcoat.synthesis.tree import Tree

_SHA256 = 8


def compose(tree: Tree, installs: Sequence[Package], removes: Sequence[Package], others: Sequence[Package], *, epoch: int) -> Layout:
    """The layout of a transaction's files.

    :param installs: headers of the packages that came, **as the database has them afterwards** (with the states of their files), in the order in
        which rpm takes them.
    :param removes: headers of those that went, as the database had them, in rpm's order, too; ``others``: of those that stayed.
    :param epoch: seconds since 1970 that whatever the run itself makes gets.
    :raises Refusal: it cannot be said without the files themselves.
    """
    if tree.odd:
        raise Refusal(tree.odd)
    return _Composer(tree, installs, removes, others, epoch).result()


@dataclass(frozen=True)
class _Shared:
    """A path as one package has it. ``written``: its own is the one that lies there; ``linked``: it is one of several names."""

    file: PackageFile
    written: bool
    linked: bool = False


class _Composer:
    """One composition: what comes is placed, then what goes is taken away, as rpm does it."""

    def __init__(self, tree: Tree, installs: Sequence[Package], removes: Sequence[Package], others: Sequence[Package], epoch: int) -> None:
        self._tree = tree
        self._installs, self._removes = installs, removes
        self._canvas = Canvas(tree, epoch)
        self._users, self._groups = tree.ids("etc/passwd"), tree.ids("etc/group")
        self._real: dict[str, str] = {}
        self._latest: dict[str, _Shared] = {}
        """The last package so far that has a path."""
        self._beside: set[str] = set()
        """Settings that go beside changed ones."""
        self._before: dict[str, list[tuple[Package, PackageFile]]] = defaultdict(list)
        for package in removes:
            for place, file in self._places(package):
                self._before[place].append((package, file))
        self._kept = self._owned_by(others)

    def result(self) -> Layout:
        for number, package in enumerate(self._installs):
            self._check_accounts(package)
            for place, file in self._places(package):
                if file.is_ghost and file.state != NOT_INSTALLED:
                    self._latest[place] = _Shared(file, written=False)
                elif file.state != NOT_INSTALLED:
                    self._install(number, package, file)
        self._remove()
        return self._canvas.layout()

    def _places(self, package: Package) -> Iterator[tuple[str, PackageFile]]:
        """Files of a package with the paths where they really lie."""
        return ((self._real_path(file.path), file) for file in package.files)

    def _real_path(self, path: str) -> str:
        """Where a file really lies: rpm follows the links of folders, too (lib/fprint.c)."""
        folder, _, name = path.rpartition("/")
        if folder not in self._real:
            self._real[folder] = self._tree.resolve(folder)
        return f"{self._real[folder]}/{name}" if self._real[folder] else name

    def _owned_by(self, others: Sequence[Package]) -> dict[str, list[tuple[Package, PackageFile]]]:
        """Files of the packages that stay, by the path where they really lie, as far as a package that moves has a file there."""
        moved = {*self._before, *(path for package in self._installs for path in package.paths())}
        wanted = {path.rpartition("/")[2] for path in moved}
        found: dict[str, list[tuple[Package, PackageFile]]] = defaultdict(list)
        for package in others:
            if wanted.isdisjoint(package.basenames):
                continue
            for number, path in enumerate(package.paths()):
                if path.rpartition("/")[2] in wanted and (place := self._real_path(path)) in moved:
                    found[place].append((package, package.files[number]))
        return found

    # ---- what comes ---------------------------------------------------------------------------------------------------------------------------

    def _check_accounts(self, package: Package) -> None:
        """rpm 4.19 and newer make the accounts that a package provides."""
        for name in package.provides:
            kind, _, rest = name.partition("(")
            known = {"user": self._users, "group": self._groups}.get(kind)
            if kind == "groupmember" and rest:
                raise Refusal(f"{package.nevra.name} puts an account into a group: {name}")
            if known is not None and rest.rstrip(")") not in known:
                raise Refusal(f"{package.nevra.name} makes the account {name}")

    def _install(self, number: int, package: Package, file: PackageFile) -> None:
        name = package.nevra.name
        if is_kind(file.mode) != "d" and any(not _are_alike(other, file) for _, other in self._kept.get(file.path, ())):
            raise Refusal(f"/{file.path} of {name} is another package's too, and differs")
        if file.state != NORMAL:
            raise Refusal(f"/{file.path} of {name} gives way to another package's")
        self._canvas.check_path(file.path, name)
        kind = is_kind(file.mode)
        if kind == "o":
            raise Refusal(f"/{file.path} of {name} is a device, a pipe or a socket")
        if (kind == "d" and file.is_config) or file.path in self._beside:
            raise Refusal(f"/{file.path} of {name} has the name of a setting that rpm moves")
        below = self._canvas.now(file.path)
        if below is not None and (below.kind == "d") != (kind == "d"):
            raise Refusal(f"/{file.path} of {name} becomes a {'directory' if kind == 'd' else 'file'}, and was none")
        if below is None and self._tree.has(file.path) and file.path not in self._canvas.placed:
            raise Refusal(f"no layer names the directory /{file.path}")
        owner = (self._id(file.user, self._users, "user", name), self._id(file.group, self._groups, "group", name))
        if file.path in ("etc/passwd", "etc/group"):
            raise Refusal(f"{name} holds the image's accounts")
        again, written = file.path in self._latest, not self._is_written(package, file)
        self._latest[file.path] = _Shared(file, written, _names(package, file) > 1)
        if not written:
            return
        self._canvas.make_parents(file.path)
        if kind == "d":
            self._canvas.check_folder(file.path)
            own = below.mtime if below is not None and file.path in self._tree.nodes else file.mtime * NANO
            self._canvas.put(file.path, Placed("d", file.mode & 0o7777, *owner, own), new=below is None)
            return
        path = self._place_of(package, file)
        if path is not None and again and file.is_config:
            path = self._place_again(file, path)
        if path is None:
            self._latest[file.path] = _Shared(file, written=False)
            return
        self._install_file(number, package, file, owner, path)

    def _is_written(self, package: Package, file: PackageFile) -> bool:
        """Whether rpm leaves a file out because the last package before, of those that have it as well, wrote it.

        It looks at that one alone (lib/transaction.c, ``handleOverlappedFiles``), so of several packages the first writes it, and the third again.
        """
        former = self._latest.get(file.path)
        if former is None or former.file.is_ghost:
            return False
        if not _are_alike(former.file, file):
            raise Refusal(f"/{file.path} comes with two packages, and differs")
        if former.linked or _names(package, file) > 1:
            raise Refusal(f"/{file.path} comes with two packages, and is a hard link")
        return former.written

    def _install_file(self, number: int, package: Package, file: PackageFile, owner: tuple[int, int], path: str) -> None:
        kind = is_kind(file.mode)
        attributes = (("security.capability", capabilities.attribute(file)),) if file.capabilities else ()
        linked = package.names[file.inode] if _names(package, file) > 1 else []
        group = (number, file.inode) if linked else None
        if group and (path != file.path or any(other.state != NORMAL or other.is_ghost or other.is_config for other in linked)):
            raise Refusal(f"/{file.path} of {package.nevra.name} is one of several hard links that are not all installed")
        entry = Placed(
            kind,
            0o777 if kind == "l" else file.mode & 0o7777,
            *owner,
            file.mtime * NANO,
            file.link if kind == "l" else "",
            (number, file.path) if kind == "f" else None,
            file.size if kind == "f" else 0,
            file.digest if kind == "f" else "",
            attributes,
            group,
        )
        self._canvas.put(path, entry)

    def _place_of(self, package: Package, file: PackageFile) -> str | None:
        """Where a file goes: to its own place, beside a changed one of an administrator (``.rpmnew``), or nowhere (None)."""
        owned = [(owner, old) for owner, old in (*self._before.get(file.path, ()), *self._kept.get(file.path, ())) if old.state != NOT_INSTALLED]
        if not any(other.is_config for other in (file, *(old for _, old in owned))):
            return file.path
        name = package.nevra.name
        below = self._tree.nodes.get(file.path)  # not what is placed there by now: rpm decided before anything was written
        if below is None:
            # Gone from the disk: rpm brings it back, unless the package says that it may be missing.
            return None if owned and file.flags & MISSINGOK else file.path
        if is_kind(file.mode) != "f" or below.kind != "f":
            raise Refusal(f"the configuration file /{file.path} of {name} is no plain file")
        if not below.digest or package.digest_bits != _SHA256:
            raise Refusal(f"the configuration file /{file.path} of {name} has no digest to compare")
        if not owned:
            if below.digest == file.digest:
                return file.path
            return self._put_beside(file, f"the configuration file /{file.path} of {name} exists already")
        if any(owner.digest_bits != _SHA256 or is_kind(old.mode) != "f" or old.is_ghost or old.state != NORMAL for owner, old in owned):
            raise Refusal(f"the configuration file /{file.path} of {name} was none before")
        digests = {old.digest for _, old in owned}
        if len(digests) > 1:  # rpm asks each, and the last of them in its database decides
            raise Refusal(f"the configuration file /{file.path} of {name} was another one in each of several packages")
        if below.digest in {file.digest, *digests}:
            return file.path
        if file.digest in digests and file.is_config:
            return None
        return self._put_beside(file, f"the configuration file /{file.path} of {name} was changed in the image")

    def _place_again(self, file: PackageFile, path: str) -> str | None:
        """The same for a setting that a package before has, too, and did not write: rpm takes whatever is there, and is not the new one, for an
        administrator's (``rpmfilesConfigConflict``)."""
        below = self._tree.nodes.get(file.path)
        if below is None or below.digest == file.digest:
            return path
        return self._put_beside(file, "") if file.flags & NOREPLACE else None

    def _put_beside(self, file: PackageFile, otherwise: str) -> str:
        """Where a setting goes that must not replace the one that is there.

        :raises Refusal: it replaces that one, which moves.
        """
        if not (file.flags & NOREPLACE and file.is_config):
            raise Refusal(otherwise)
        new = f"{file.path}.rpmnew"
        before = self._tree.nodes.get(new)
        if (before.kind == "d" if before else self._tree.has(new)) or (new in self._canvas.placed and new not in self._beside):
            raise Refusal(f"/{new} exists already")
        self._beside.add(new)  # over one that an earlier update left, as rpm does it
        return new

    def _id(self, account: str, known: dict[str, int], what: str, package: str) -> int:
        if account == "root":
            return 0
        if account not in known:
            raise Refusal(f"{package} needs the {what} {account}, which the image does not have")
        return known[account]

    # ---- what goes ----------------------------------------------------------------------------------------------------------------------------

    def _remove(self) -> None:
        # What a new package leaves out does not protect what an old one brought.
        named = {place for package in self._installs for place, file in self._places(package) if file.state != NOT_INSTALLED}
        turns = {id(package): number for number, package in enumerate(self._removes)}
        folders: dict[str, int] = {}
        gone: dict[str, int] = {}
        for path, owners in self._before.items():
            # Of several that go, the last one takes a file away (lib/transaction.c, ``handleOverlappedFiles``).
            package, file = owners[-1]
            name = package.nevra.name
            if path in named or not any(other.state == NORMAL for _, other in owners):
                continue
            if others := self._kept.get(path):
                if any(other.state != NORMAL for _, other in others):
                    raise Refusal(f"/{path} is another package's too, which did not install it")
                continue
            self._canvas.check_path(file.path, name)
            node = self._tree.nodes.get(path)
            if node is None:
                continue
            if path in self._beside:
                raise Refusal(f"/{path} of {name} has the name of a setting that rpm moves")
            if len({(other.state, other.is_config, other.is_ghost, is_kind(other.mode), other.digest) for _, other in owners}) > 1:
                raise Refusal(f"/{path} of {name} is another one in each of several packages that go")
            if file.is_config and is_kind(file.mode) not in ("f", "l"):
                raise Refusal(f"/{path} of {name} is a directory of settings that goes")
            if file.is_config and file.is_ghost:
                continue  # rpm never takes such a one away, changed or not (lib/rpmfi.c, ``rpmfilesConfigConflict``)
            if (node.kind == "d") != (is_kind(file.mode) == "d") and not file.is_ghost:
                raise Refusal(f"/{path} of {name} is of another kind in the image")
            if node.kind == "d":
                folders[path] = turns[id(package)]
                continue
            if file.is_config and not (node.digest and node.digest == file.digest and package.digest_bits == _SHA256):
                raise Refusal(f"the configuration file /{path} of {name} was changed in the image, and goes")
            gone[path] = turns[id(package)]
        self._canvas.whiteouts.update(gone)
        for path in sorted(folders, reverse=True):
            self._remove_folder(path, folders, gone)

    def _remove_folder(self, path: str, folders: dict[str, int], gone: dict[str, int]) -> None:
        """rpm takes a directory away when it is empty by then: what a package after it takes away is still there."""
        inside = {f"{path}/{name}" for name in self._tree.children(path)}
        if inside - self._canvas.whiteouts or any(other.startswith(f"{path}/") for other in self._canvas.placed):
            return
        if any(gone.get(child, folders.get(child, 0)) > folders[path] for child in inside):
            return
        self._canvas.whiteouts.add(path)
        self._canvas.whiteouts.difference_update({child for child in self._canvas.whiteouts if child.startswith(f"{path}/")})


def _are_alike(one: PackageFile, two: PackageFile) -> bool:
    """Whether rpm takes the files of two packages for one (lib/rpmfi.c, ``rpmfilesCompare``); modes and dates are not said of links, and dates of
    none."""
    if one.is_ghost or two.is_ghost:
        return True
    links = is_kind(one.mode) == is_kind(two.mode) == "l"
    modes = links or one.mode == two.mode
    return modes and (one.digest, one.link, one.user, one.group) == (two.digest, two.link, two.user, two.group)


def _names(package: Package, file: PackageFile) -> int:
    """How many names of a package its file has."""
    return len(package.names.get(file.inode, ())) if is_kind(file.mode) == "f" and file.inode[1] else 1
