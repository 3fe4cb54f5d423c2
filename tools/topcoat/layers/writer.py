"""Write the layers of an overlay's upper directory: the same content gives the same bytes, on any day and any machine.

This module must never store a time of the day, a log, a cache, or a file that the layers below already show unchanged.

The package database is a layer of its own, the last one: whoever wants to know what an image holds reads that small blob and nothing else, and what
the packages brought is the same blob in every image that got the same.
"""

# Thousands of calls a layer on paths that are plain strings:
# ruff: noqa: PTH115, PTH208

from __future__ import annotations

import contextlib
import functools
import os
import stat
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat.archives import whiteouts
from topcoat.archives.tarstream import NANO, XATTR_RECORD
from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import database, leftovers
from topcoat.layers.archive import Archive, set_time
from topcoat.layers.compression import Compression
from topcoat.layers.lower import LowerEntry, LowerView
from topcoat.model import Digest
from topcoat.registry.oci import Descriptor
from topcoat.rpm.rpmdb import FOLDERS

_CHUNK = 1 << 18


@dataclass(frozen=True)
class Layer:
    """One layer archive on disk."""

    path: Path
    descriptor: Descriptor
    diff_id: Digest
    entries: int
    """Members of the archive."""
    shared: bool = False
    """Other images have it, too: whoever publishes one of them leaves the file where it is."""

    @classmethod
    def of(cls, archive: Archive) -> Layer:
        """The layer that an archive is, closed before."""
        return cls(archive.path, archive.descriptor, archive.diff_id, archive.members)

    @property
    def digest(self) -> Digest:
        """Of the compressed archive."""
        return self.descriptor.digest


class _Times:
    """Which times say something, and which only when this run took place."""

    def __init__(self, epoch: int, dates: Collection[int], since: float | None) -> None:
        self._epoch = epoch * NANO
        self._dates = frozenset(dates)
        self._limit = self._epoch if since is None else min(self._epoch, int(since * NANO) - NANO)

    def of_this_run(self, moment: int) -> bool:
        """Whether a file's time (nanoseconds since 1970) is this run's; packages' times are whole seconds."""
        seconds, fraction = divmod(moment, NANO)
        return moment > self._limit and (fraction > 0 or seconds not in self._dates)

    def of(self, item: _Item) -> int:
        """The time that an entry has in the layer, nanoseconds since 1970."""
        own = item.status.st_mtime_ns
        below = item.below.status if item.below is not None else None
        if below is not None and stat.S_ISDIR(item.status.st_mode) and stat.S_ISDIR(below.st_mode):
            return below.st_mtime_ns
        if below is not None and below.st_mtime_ns == own:
            return own
        return self._epoch if self.of_this_run(own) else own


@dataclass(frozen=True)
class _Item:
    """One entry of the upper directory that may become a member."""

    path: str
    status: os.stat_result
    below: LowerEntry | None
    """What the lower directories show there; None also below a directory that hides them."""
    news: bool
    """Whether it differs from that."""


def write_layers(
    upper: Path,
    lower: Sequence[Path],
    fresh: Callable[[], Path],
    *,
    epoch: int,
    dates: Collection[int] = frozenset(),
    since: float | None = None,
    drop: Callable[[str, int, int], bool] = leftovers.is_junk,
    compression: Compression = Compression.GZIP,
) -> tuple[Layer, ...]:
    """Write what an upper directory changes over its lower ones as OCI layers (tar, PAX), its package database settled first.

    Members are sorted; a directory comes before what it holds. A time is kept where it is one of the packages' own ``dates``, the one that the
    file has below, or not later than ``epoch`` and ``since``; any other is of this run, and becomes ``epoch``. A directory that exists below keeps
    the time it has there. Entries that the lower directories already show the same are left out. Parents of each member are always present with
    their right owner and mode, because unpackers invent missing ones.

    :param upper: overlayfs' upper directory; nobody may write to it meanwhile.
    :param lower: directories of the layers below, topmost first.
    :param fresh: gives the name of a file to write, each time another one; one that exists is replaced.
    :param epoch: seconds since 1970; what this run made gets this time.
    :param dates: seconds since 1970, of files in packages; they may be later than the run itself.
    :param since: when the run began to make files, where ``epoch`` may be later than that.
    :param drop: (path, mode, size) -> whether the entry stays out; folders of entries that stay are there all the same.
    :returns: lowest first: the layer of files, and the one of the package database; of each only what there is.
    :raises ContentError: an entry has a name that says in an archive that another one is gone.
    :raises InfrastructureError: cannot read or write.
    """
    database.settle(upper)
    view = LowerView(lower)
    times = _Times(epoch, dates, since)
    layers = []
    try:
        walked = list(_walk(os.fspath(upper), "", view, times, drop))
        for belongs in (lambda path: not leftovers.is_database(path), leftovers.is_database):
            items = list(_kept(walked, belongs))
            if items:
                layers.append(_write(fresh(), compression, functools.partial(_members, upper, items, view, times, belongs)))
    except OSError as error:
        raise InfrastructureError(
            f"cannot write a layer: {error}", retriable=False, next_step="free disk space or use another work folder"
        ) from error
    return tuple(layers)


def _write(destination: Path, compression: Compression, members: Callable[[Archive], None]) -> Layer:
    with Archive(destination, compression) as archive:
        members(archive)
    return Layer.of(archive)


def litter(upper: Path) -> frozenset[str]:
    """What ``leftovers.is_junk`` names in an upper directory, also inside folders that it names."""
    found = set()
    for folder, names, files in os.walk(upper):
        relative = os.path.relpath(folder, upper)
        for name in (*names, *files):
            status = os.lstat(f"{folder}/{name}")
            path = name if relative == "." else f"{relative}/{name}"
            if not whiteouts.is_whiteout(status) and leftovers.is_junk(path, status.st_mode, status.st_size):
                found.add(path)
    return frozenset(found)


def _kept(walked: Iterable[_Item], belongs: Callable[[str], bool]) -> Iterator[_Item]:
    """What must be in the layer of these paths, parents first, sorted by path."""
    waiting: list[_Item] = []  # directories that nothing below them needs yet
    for item in walked:
        while waiting and not _contains(waiting[-1].path, item.path):
            waiting.pop()
        if item.news and belongs(item.path):
            yield from waiting
            waiting.clear()
            yield item
        elif stat.S_ISDIR(item.status.st_mode):
            waiting.append(item)


def _contains(directory: str, path: str) -> bool:
    return not directory or path.startswith(directory + "/")


def _walk(root: str, path: str, view: LowerView | None, times: _Times, drop: Callable[[str, int, int], bool]) -> Iterator[_Item]:
    """The directory and everything below it. ``view`` is None where an opaque directory above hides the lower ones."""
    place = f"{root}/{path}" if path else root
    if not path:
        yield _item(root, "", os.lstat(root), view, times)
    inner = None if whiteouts.is_opaque(place) else view
    for name in sorted(os.listdir(place)):
        child = f"{path}/{name}" if path else name
        status = os.lstat(f"{root}/{child}")
        item = _item(root, child, status, inner, times)
        if not whiteouts.is_whiteout(status) and drop(child, status.st_mode, status.st_size):
            if not stat.S_ISDIR(status.st_mode):
                continue
            item = replace(item, news=False)
        yield item
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, child, inner, times, drop)


def _item(root: str, path: str, status: os.stat_result, view: LowerView | None, times: _Times) -> _Item:
    below = view.entry(path) if view is not None else None
    return _Item(path, status, below, _is_news(f"{root}/{path}" if path else root, status, below, times))


def _is_news(place: str, here: os.stat_result, below: LowerEntry | None, times: _Times) -> bool:
    """Whether an entry differs from what the lower directories show."""
    if whiteouts.is_whiteout(here):
        return below is not None
    if below is None:
        return True
    there = below.status
    if (here.st_mode, here.st_uid, here.st_gid) != (there.st_mode, there.st_uid, there.st_gid):
        return True
    if _attributes(place) != _attributes(below.path):
        return True
    if stat.S_ISDIR(here.st_mode):
        return whiteouts.is_opaque(place)
    # A time of this run says nothing; any other one came out of a package, whose database entry names it.
    if here.st_mtime_ns != there.st_mtime_ns and not times.of_this_run(here.st_mtime_ns):
        return True
    if stat.S_ISLNK(here.st_mode):
        return os.readlink(place) != os.readlink(below.path)
    if stat.S_ISREG(here.st_mode):
        # One of several names, here or below: which files are one is news, too.
        return max(here.st_nlink, there.st_nlink) > 1 or here.st_size != there.st_size or not _same_content(place, below.path)
    return here.st_rdev != there.st_rdev


def _members(upper: Path, items: Sequence[_Item], view: LowerView, times: _Times, belongs: Callable[[str], bool], archive: Archive) -> None:
    first_of: dict[tuple[int, int], str] = {}
    for item in items:
        if not item.path:
            if item.news and belongs(""):  # the root directory itself is a member only where its owner or mode changed
                archive.add(*_describe(os.fspath(upper), item, times))
            continue
        status = item.status
        if whiteouts.is_whiteout(status):
            archive.hide(item.path)
            continue
        if item.path.rpartition("/")[2].startswith(whiteouts.WHITEOUT_PREFIX):
            raise ContentError(
                f"no layer can hold /{item.path}: its name says in an archive that another file is gone",
                next_step="give the file of the package or the step another name",
            )
        place = f"{upper}/{item.path}"
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            first = first_of.setdefault((status.st_dev, status.st_ino), item.path)
            if first != item.path:
                archive.add(*_link(place, item, first, times))
                continue
        info, records = _describe(place, item, times)
        if stat.S_ISREG(status.st_mode):
            archive.add_file(info, records, place)
        else:
            archive.add(info, records)
        # As a parent in the layer above, it would hide what the layer of files put there.
        if belongs(item.path) and whiteouts.is_opaque(place) and item.below is not None and stat.S_ISDIR(item.below.status.st_mode):
            archive.hide_below(item.path)
        if item.path in FOLDERS:
            _hide_side_files(item.path, view, upper, archive)


def _hide_side_files(directory: str, view: LowerView, upper: Path, archive: Archive) -> None:
    """A write-ahead log of an older state, left in a layer below, would be replayed into the new database: hide it."""
    if not os.path.lexists(f"{upper}/{directory}/rpmdb.sqlite"):
        return
    for name in sorted(leftovers.DATABASE_SIDE_FILES):
        if view.entry(f"{directory}/{name}") is None or _is_whiteout_at(f"{upper}/{directory}/{name}"):
            continue
        archive.hide(f"{directory}/{name}")


def _is_whiteout_at(place: str) -> bool:
    try:
        return whiteouts.is_whiteout(os.lstat(place))
    except FileNotFoundError:
        return False


def _link(place: str, item: _Item, target: str, times: _Times) -> tuple[tarfile.TarInfo, dict[str, bytes]]:
    """Another name of a file that the archive holds. Unpackers give the header of each name to the one file, so all names carry the same."""
    info, records = _describe(place, item, times)
    info.type, info.linkname, info.size, info.devmajor, info.devminor = tarfile.LNKTYPE, target, 0, 0, 0
    return info, records


def _describe(place: str, item: _Item, times: _Times) -> tuple[tarfile.TarInfo, dict[str, bytes]]:
    """The header of one member, and its PAX records."""
    status = item.status
    info = tarfile.TarInfo(item.path or ".")
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        info.name += "/"
    elif stat.S_ISLNK(status.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(place)
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    else:
        info.size = status.st_size
    records = {XATTR_RECORD + name: value for name, value in _attributes(place)}
    set_time(info, records, times.of(item))
    return info, records


def _attributes(place: str) -> tuple[tuple[str, bytes], ...]:
    """Extended attributes worth keeping, sorted. The host's security labels are not the image's."""
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError:
        return ()
    found = []
    for name in sorted(names):
        if whiteouts.steers_overlay(name) or name == "security.selinux":
            continue
        with contextlib.suppress(OSError):
            found.append((name, os.getxattr(place, name, follow_symlinks=False)))
    return tuple(found)


def _same_content(one: str, other: str) -> bool:
    with open(one, "rb") as left, open(other, "rb") as right:
        while True:
            chunk = left.read(_CHUNK)
            if chunk != right.read(_CHUNK):
                return False
            if not chunk:
                return True
