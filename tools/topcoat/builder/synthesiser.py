"""Composes the update of an image that was never pulled: one layer of package payloads, one with the package database.

This module must never unpack an image, never need root, and never go on where the rules of ``topcoat.synthesis`` refuse.

The payload layer holds nothing of one image alone, so that all images which take the same packages share it: the times that directories have in
an image are in the layer of its database, which comes last.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sqlite3
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from topcoat.archives.tarstream import NANO, XATTR_RECORD
from topcoat.builder.updater import stacked, wanted_of
from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import BuiltImage, Compression, Layer, database, note_stage
from topcoat.layers.archive import Archive, set_time
from topcoat.layers.leftovers import DATABASE_SIDE_FILES
from topcoat.model import Digest, Nevra, PlannedImage
from topcoat.registry.oci import Image
from topcoat.rpm import header, inventory, rpmdb, settings, settingsfiles
from topcoat.rpm.rpmdb import Database
from topcoat.solver.solver import UpdateRequest
from topcoat.synthesis import Filters, Layout, Package, Refusal, Tree, check_scripts, compose, draw, read_filters, restore
from topcoat.synthesis.canvas import Placed
from topcoat.synthesis.package import NOT_INSTALLED, read_rpm
from topcoat.synthesis.payload import read_payload
from topcoat.transactions import Outcome, Transactions
from topcoat.yum.repositories import Snapshot

METHOD = "composed"
_SHA256 = 8


@dataclass(frozen=True)
class Known:
    """What is known of an image without having it: its files by name, and its package database."""

    tree: Tree = field(repr=False)
    database: Database = field(repr=False)

    @classmethod
    def of(cls, tree: Tree, below: Database | None = None) -> Known:
        """Take the package database out of what a tree holds of contents.

        :param below: the database of the layers below, where those above were added to a tree that was known.
        :raises ContentError: it has none that can be read.
        """
        folders: dict[str, dict[str, bytes | None]] = {}
        for path in [path for path in tree.contents if path.endswith((rpmdb.SQLITE, rpmdb.WAL))]:
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, {})[name] = tree.contents.pop(path)
        if not folders and below is not None and below.path.lstrip("/") in tree.nodes:
            return cls(tree, below)
        return cls(tree, rpmdb.choose(folders))

    def sketch(self) -> bytes | None:
        """The document from which, with the package database, the tree comes again; None where none can say it.

        :raises ContentError: the database cannot be read.
        """
        return draw(self.tree, packages_of(self.database))

    @classmethod
    def from_sketch(cls, document: bytes, database: Database) -> Known:
        """What was drawn.

        :raises ContentError: the document is damaged, or of another database.
        """
        found = cls(restore(document, packages_of(database)), database)
        if database.path.lstrip("/") not in found.tree.nodes:
            raise ContentError("the list of an image's files does not name its package database", next_step="the image's layers are read instead")
        return found


class Synthesiser:
    """Makes updates out of headers, payloads and package databases. Safe for several threads; what images share is made once."""

    def __init__(self, snapshot: Snapshot, transactions: Transactions, scratch: Path, compression_format: str = Compression.GZIP.value) -> None:
        """:param scratch: folder for layers and unpacked payloads; the caller deletes it.

        :param compression_format: of the profile; an update keeps the image format of its base.
        """
        self._snapshot = snapshot
        self._transactions = transactions
        self._scratch = scratch
        self._compression_format = compression_format
        self._lock = threading.RLock()
        self._paths: dict[str, dict[Nevra, str]] = {}
        self._payloads: dict[Path, _Payload] = {}
        self._layers: dict[str, Layer] = {}
        self._turns: dict[str, threading.Lock] = {}

    def update(
        self,
        planned: PlannedImage,
        base: Image,
        known: Known,
        *,
        base_digest: Digest,
        request: UpdateRequest | None = None,
        log: Path | None = None,
    ) -> BuiltImage:
        """Compose the update of one image: one layer of files, which other images may share, and one of the package database, the last.

        Nothing in the result depends on the day, the machine or the user.

        :param base: what the update goes on; ``base_digest``: digest of its manifest.
        :param request: what the planner asked its solver, to be asked of dnf again.
        :raises Refusal: only a transaction can tell what the result would be.
        :raises ContentError: dnf would do something else than the plan says; a package is damaged.
        :raises InfrastructureError: repository, disk, timeout.
        """
        stages: list[tuple[str, float, float]] = []
        epoch = base.seconds
        compression = Compression.wanted(self._compression_format, docker=base.is_docker)
        try:
            with tempfile.TemporaryDirectory(prefix="compose-", dir=self._scratch) as folder:
                place = Path(folder)
                start = time.time()
                filters = read_filters(known.tree.contents, nodocs=self._transactions.options.nodocs)
                rows = _rows(known.database, place / "before")
                files = self._files(planned)
                _check_before(planned, rows, [self._payload(path).package for path in files], known.tree)
                start = note_stage(stages, "rules", start)
                root = _skeleton(known, place / "root")
                work = place / "work"
                work.mkdir(mode=0o700)
                outcome = self._transactions.record(
                    root, work, wanted_of(planned, request), epoch=epoch, expect=planned.changes, image=planned.name, log=log
                )
                if not outcome.changes:
                    return BuiltImage(base, (), None, (), METHOD, tuple(stages))
                _note_left_out(root / known.database.path.lstrip("/"), outcome, filters)
                start = note_stage(stages, "database", start)
                _check_settings(known.tree, root)
                database.settle(root)
                layout = _layout(known.tree, rows, _rows(rpmdb.read_root(root), place / "after"), planned, outcome, epoch)
                by_nevra = {self._payload(path).package.nevra: path for path in files}
                sources = [by_nevra[nevra] for nevra in outcome.order]
                layers = [*self._payload_layer(layout, sources, compression), self._database_layer(layout, known, root, epoch, compression)]
                start = note_stage(stages, "layer", start)
                found = inventory.from_root(root)
                note_stage(stages, "inventory", start)
        except OSError as error:
            raise InfrastructureError(
                f"cannot compose an update: {error}", image=planned.name, retriable=False, next_step="free disk space or use another work folder"
            ) from error
        image = stacked(base, base_digest, layers, max(epoch, outcome.built), outcome.changes)
        return BuiltImage(image, tuple(layers), found, outcome.changes, METHOD, tuple(stages))

    def _files(self, planned: PlannedImage) -> list[Path]:
        """The package files of a plan, fetched and verified."""
        wanted = []
        for change in planned.changes:
            if change.new is not None:
                if change.repository is None:
                    raise Refusal(f"the plan does not say where {change.new} comes from")
                wanted.append((change.repository, self._href(change.repository, change.new)))
        return self._snapshot.fetch_all(wanted)

    def _href(self, repository: str, nevra: Nevra) -> str:
        with self._lock:
            if repository not in self._paths:
                # dnf takes the first where several files have one name and version; which one that is, it alone knows.
                found: dict[Nevra, str] = {}
                for package in self._snapshot.packages(repository):
                    found[package.nevra] = "" if package.nevra in found else package.href
                self._paths[repository] = found
            href = self._paths[repository].get(nevra)
        if not href:
            raise Refusal(f"{repository} has not exactly one {nevra}")
        return href

    def _payload(self, path: Path) -> _Payload:
        with self._lock:
            if path not in self._payloads:
                self._payloads[path] = _Payload(path, self._scratch / f"payload-{len(self._payloads)}")
            return self._payloads[path]

    def _payload_layer(self, layout: Layout, sources: Sequence[Path], compression: Compression) -> list[Layer]:
        """The layer of files and whiteouts; none where the transaction changes the database alone."""
        if not layout:
            return []
        shared = {path: replace(entry, mtime=0) if entry.kind == "d" else entry for path, entry in layout.entries.items()}
        made_of = [self._payload(path).package.header_digest or str(path) for path in sources]
        text = repr((compression, sorted(shared.items()), layout.whiteouts, made_of))
        key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # the second image waits for the first one's layer
            if key not in self._layers:
                written = _write(
                    self._scratch / f"{key}.tar",
                    shared,
                    layout.whiteouts,
                    functools.partial(self._content, sources),
                    compression,
                )
                self._layers[key] = replace(written, shared=True)
            return [self._layers[key]]

    def _content(self, sources: Sequence[Path], entry: Placed) -> Path:
        assert entry.source is not None
        return self._payload(sources[entry.source[0]]).file(entry)

    def _database_layer(self, layout: Layout, known: Known, root: Path, epoch: int, compression: Compression) -> Layer:
        """The last layer: the package database, and the directories of the other one with the times that they have in this image."""
        path = known.database.path.lstrip("/")
        place = root / path
        node = known.tree.nodes[path]
        entries = {name: entry for name, entry in layout.entries.items() if entry.kind == "d"}
        folder = path.rpartition("/")[0]
        while folder:
            above = known.tree.nodes.get(folder)
            if above is None or above.kind != "d":
                raise Refusal(f"no layer names the directory /{folder}")
            if above.attributed or node.attributed:
                raise Refusal("the package database, or a directory above it, has extended attributes")
            entries.setdefault(folder, Placed("d", above.mode, above.uid, above.gid, above.mtime))
            folder = folder.rpartition("/")[0]
        entries[path] = Placed("f", node.mode, node.uid, node.gid, epoch * NANO, source=(0, path), size=place.stat().st_size)
        beside = path.rpartition("/")[0]
        # A write-ahead log of an older state would be replayed into the new database.
        hidden = [f"{beside}/{name}" for name in sorted(DATABASE_SIDE_FILES) if f"{beside}/{name}" in known.tree.nodes]
        handle, name = tempfile.mkstemp(prefix="database-", suffix=".tar", dir=self._scratch)
        os.close(handle)
        return _write(Path(name), entries, hidden, lambda _: place, compression)


class _Payload:
    """One package file; its contents are unpacked when first asked for."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._found: dict[str, tuple[Path, int]] = {}
        self._lock = threading.Lock()
        with path.open("rb") as stream:
            self.package = read_rpm(stream)

    def file(self, entry: Placed) -> Path:
        """Where the content of an entry lies.

        :raises ContentError: the payload does not hold it, or something else.
        """
        assert entry.source is not None
        with self._lock:
            if not self._folder.exists():
                self._unpack()
        names = [entry.source[1]]
        if entry.hard_link:
            inode = entry.hard_link[1]
            names += [file.path for file in self.package.files if file.inode == inode]
        for name in names:
            place, size = self._found.get(name, (Path(), -1))
            if size == entry.size:
                return place
        raise ContentError(f"the payload of {self.package.nevra} lacks /{entry.source[1]}", next_step="build the package again")

    def _unpack(self) -> None:
        digests = {file.path: file.digest for file in self.package.files} if self.package.digest_bits == _SHA256 else {}
        self._folder.mkdir(mode=0o700)
        with self._path.open("rb") as stream:
            package = read_rpm(stream)
            for number, (path, size, content) in enumerate(read_payload(stream, package)):
                place, running = self._folder / str(number), hashlib.sha256()
                with place.open("wb") as sink:
                    for piece in content:
                        running.update(piece)
                        sink.write(piece)
                self._found[path] = (place, size)
                wanted = digests.get(path, "")
                if size and wanted and running.hexdigest() != wanted and self._is_regular(path):
                    raise ContentError(f"/{path} of {package.nevra} is not what its header says", next_step="build the package again")

    def _is_regular(self, path: str) -> bool:
        return any(file.path == path and file.mode & 0o170000 == 0o100000 for file in self.package.files)


@functools.lru_cache(maxsize=1 << 11)
def _package(row: bytes) -> Package:
    # Images share most of their packages, installed once in a layer below: each header is read once.
    return Package(row)


def _rows(found: Database, folder: Path) -> list[bytes]:
    """The headers of a package database."""
    try:
        return list(header.rows(rpmdb.place(found, folder)))
    except header.Damaged as error:
        raise ContentError(f"the package database cannot be read: {error}", next_step="rebuild the image") from error


def packages_of(database: Database) -> list[Package]:
    """The packages of a database, in its order.

    :raises ContentError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="topcoat-rpmdb-") as folder:
        return [_package(row) for row in _rows(database, Path(folder))]


def _check_before(planned: PlannedImage, rows: Iterable[bytes], installs: Sequence[Package], tree: Tree) -> None:
    """What can be refused before anything is done."""
    if tree.odd:
        raise Refusal(tree.odd)
    old = {change.old for change in planned.changes if change.old}
    packages = [_package(row) for row in rows]
    check_scripts(
        installs, [package for package in packages if package.nevra in old], [package for package in packages if package.nevra not in old], tree
    )


def _skeleton(known: Known, root: Path) -> Path:
    """A root that holds the package database and nothing else but what rpm and dnf ask a root for: which directories are links, and settings.

    Directories first and links last: nothing is ever written through a link of an image.
    """
    tree = known.tree
    root.mkdir(mode=0o755)
    links = dict(tree.directory_links())
    links |= {path: tree.resolve(path) for path, node in tree.nodes.items() if node.kind == "l" and tree.resolve(path) in tree.contents}
    folders = {target for target in links.values() if target not in tree.contents}
    folders |= {path.rpartition("/")[0] for path in (*links, *links.values(), *tree.contents, known.database.path.lstrip("/"))}
    for folder in sorted(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path, content in tree.contents.items():
        (root / path).write_bytes(content)
    place = root / known.database.path.lstrip("/")
    place.write_bytes(known.database.main)
    if known.database.wal:
        place.with_name(rpmdb.WAL).write_bytes(known.database.wal)
    for path in links:
        if not os.path.lexists(root / path):
            (root / path).symlink_to(tree.nodes[path].link)
    return root


def _note_left_out(database: Path, outcome: Outcome, filters: Filters) -> None:
    """Write into the headers that came which of their files are not there: rpm does so while it installs the others, and it installed none.

    In place, one byte a file, while the database still has its log: so its pages are those of a real transaction.
    """
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")  # a private copy
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        for number, row in connection.execute("SELECT hnum, blob FROM Packages").fetchall():
            package = _package(row)
            left_out = filters.left_out(package) if package.nevra in outcome.order else ()
            if left_out:
                with connection.blobopen("Packages", "blob", number) as blob:
                    for file in left_out:
                        blob[package.states_at + file] = NOT_INSTALLED


def _check_settings(tree: Tree, root: Path) -> None:
    """dnf writes the state of module streams when it installs from one; such a file would have to be in a layer."""
    before = {path: content for path, content in tree.contents.items() if settings.wanted(path)}
    if settingsfiles.read_stack([root]) != before:
        raise Refusal("the transaction changes the state of module streams")


def _layout(tree: Tree, before: Sequence[bytes], after: Sequence[bytes], planned: PlannedImage, outcome: Outcome, epoch: int) -> Layout:
    """What the transaction's files do, told from the database before and after."""
    stayed = set(before) & set(after)
    installs = [_package(row) for row in after if row not in stayed]
    removes = [_package(row) for row in before if row not in stayed]
    for side, packages in (("new", installs), ("old", removes)):
        named = {getattr(change, side) for change in planned.changes} - {None}
        other = {package.nevra for package in packages} - named
        if other:
            raise Refusal(f"files of {min(other).name} give way to those of another package")
    taken = _ordered(installs, outcome.order), _ordered(removes, outcome.gone)
    return compose(tree, *taken, [_package(row) for row in stayed], epoch=epoch)


def _ordered(packages: Sequence[Package], order: Sequence[Nevra]) -> list[Package]:
    by_nevra = {package.nevra: package for package in packages}
    if len(by_nevra) != len(packages) or len(order) != len(packages) or set(order) != set(by_nevra):
        raise Refusal("the order of the packages is not known")
    return [by_nevra[nevra] for nevra in order]


def _write(
    destination: Path, entries: dict[str, Placed], hidden: Sequence[str], content: Callable[[Placed], Path], compression: Compression
) -> Layer:
    """Write a layer of these entries, sorted by path, and whiteouts."""
    first: dict[tuple[int, tuple[int, int]], str] = {}
    with Archive(destination, compression) as archive:
        for path in sorted([*entries, *hidden]):
            entry = entries.get(path)
            if entry is None:
                archive.hide(path)
                continue
            info, records = _described(path, entry)
            target = first.setdefault(entry.hard_link, path) if entry.hard_link else path
            if target != path:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, target, 0
                archive.add(info, records)
            elif entry.kind == "f":
                archive.add_file(info, records, os.fspath(content(entry)))
            else:
                archive.add(info, records)
    return Layer.of(archive)


def _described(path: str, entry: Placed) -> tuple[tarfile.TarInfo, dict[str, bytes]]:
    info = tarfile.TarInfo(f"{path}/" if entry.kind == "d" else path)
    info.type = {"d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "f": tarfile.REGTYPE}[entry.kind]
    info.mode, info.uid, info.gid, info.linkname, info.size = entry.mode, entry.uid, entry.gid, entry.link, entry.size
    records = {XATTR_RECORD + name: value for name, value in entry.attributes}
    set_time(info, records, entry.mtime)
    return info, records
