"""The inventory of an image: its packages, their libsolv form for the solver, and what the image tells dnf.

This module must never change the root or the layers it reads: a database is opened on a private copy only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import solv
from isal import isal_zlib

from topcoat.documents import Door, Shape
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, Nevra
from topcoat.model.image import check_digest
from topcoat.process import run
from topcoat.rpm import changelogs, header, layerdb, rpmdb, settingsfiles, solvfile
from topcoat.rpm import settings as dnf_settings
from topcoat.rpm.settings import Settings

SCHEMA = "https://topcoat.dev/schemas/inventory/2"
_LISTED = (SCHEMA, "https://topcoat.dev/schemas/inventory/1")
"""Versions whose list of packages reads alike; what the first does not say is not needed to compare sets."""
FILE_PACKAGES = "packages.json"
FILE_SOLV = "installed.solv.gz"
_SOLV_TIMEOUT_SECONDS = 120.0
_DOOR = Door(ContentError, "remove it; it is made again from the image's layers")
_LONGEST = 4096
"""Letters of one value of a package."""
_MAX_SOLV = 256 << 20
"""Bytes; a hundred times what the largest images have."""


class PackageDetails(NamedTuple):
    """What bills of materials tell of a package: its licence and vendor in the packager's own words, the sha256 of its header in hexadecimal
    (``%{SHA256HEADER}`` of rpm), and the label of the module build that it belongs to (``%{MODULARITYLABEL}``); each empty where the package does not
    say."""

    license: str
    vendor: str
    sha256: str
    module: str = ""


@dataclass(frozen=True, order=True)
class InstalledPackage:
    """One installed package. ``size`` is the installed size and ``build_time`` seconds since the epoch; both as the RPM says.

    ``signers`` are the ids of the keys whose signatures its header carries, whether or not anybody knows them, blanks between them; empty: it is
    unsigned; None: the inventory does not say.
    """

    nevra: Nevra
    source_rpm: str
    size: int
    build_time: int = 0
    signers: str | None = field(default=None, compare=False)
    about: PackageDetails | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Inventory:
    """What one image has installed.

    ``key`` is a sha256 over the packages, their build times and the settings: two images of one key get the same answer from the solver.
    ``rpmdb_path`` is the absolute path of the database file inside the image, empty where it is no image of RPMs (``nothing``); the database itself
    is in the image's own layers, and nowhere else. The large part is kept compressed and opened on first use.
    """

    packages: tuple[InstalledPackage, ...]
    rpmdb_path: str
    key: str
    solv_gz: bytes = field(repr=False)
    settings: Settings = dnf_settings.DEFAULT
    changelog_bundles: Mapping[str, Digest] = field(default_factory=dict, repr=False, compare=False)
    """Source RPM -> digest of the bundle that holds its changelog; those whose changelog is kept somewhere."""
    read_changelogs: Mapping[str, tuple[changelogs.ChangelogEntry, ...]] = field(default_factory=dict, repr=False, compare=False)
    """Source RPM -> changelog, where the package database itself was read; never part of the files."""

    @functools.cached_property
    def nevras(self) -> frozenset[Nevra]:
        """The installed packages."""
        return frozenset(package.nevra for package in self.packages)

    @functools.cached_property
    def signers(self) -> dict[str, int]:
        """Key ids with the number of packages that carry a signature of each, most first; the unsigned ones under the empty name.

        Empty where the inventory does not say.
        """
        known = [package.signers for package in self.packages if package.signers is not None]
        return dict(Counter(name for signers in known for name in signers.split() or ("",)).most_common())

    @property
    def unsigned(self) -> frozenset[Nevra]:
        """The packages without signature."""
        return frozenset(package.nevra for package in self.packages if package.signers == "")

    @functools.cached_property
    def solv(self) -> bytes:
        """The installed packages as a .solv file: names, dependencies and files."""
        engine = isal_zlib.decompressobj(31)
        try:
            plain = engine.decompress(self.solv_gz, _MAX_SOLV)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise ContentError(f"the inventory is damaged: {FILE_SOLV}: {error}", next_step=_DOOR.next_step) from error
        if not engine.eof:
            raise ContentError(f"the inventory is damaged: {FILE_SOLV} is cut off, or larger than {_MAX_SOLV} bytes", next_step=_DOOR.next_step)
        return plain

    def with_changelogs(self, below: Inventory | None) -> tuple[Inventory, bytes | None]:
        """This inventory with a place for each changelog: that of the image below, which holds the same source package, else a new bundle.

        So a changelog is kept once, however many images and binary packages hold it: images that take the same packages make the same bundle.

        :returns: the inventory, and the bundle to store, None where nothing is new.
        """
        sources = {package.source_rpm for package in self.packages}
        known = {source: digest for source, digest in (below.changelog_bundles if below else {}).items() if source in sources}
        fresh = {source: entries for source, entries in self.read_changelogs.items() if source in sources and source not in known and entries}
        if not fresh:
            return replace(self, changelog_bundles=known), None
        bundle = changelogs.pack(fresh)
        digest = Digest(f"sha256:{hashlib.sha256(bundle).hexdigest()}")
        return replace(self, changelog_bundles=known | dict.fromkeys(fresh, digest)), bundle

    def to_files(self) -> dict[str, bytes]:
        """The files that are attached to an image; the same inventory gives the same bytes."""
        document: dict[str, object] = {
            "schema": SCHEMA,
            "rpmdb_path": self.rpmdb_path,
            "key": self.key,
            "settings": self.settings.to_data(),
            "packages": [[str(package.nevra), package.source_rpm, package.size, package.build_time] for package in self.packages],
            # beside the packages, because programs of before read exactly four values of each
            "signers": [package.signers for package in self.packages],
            "about": [package.about and package.about[:3] for package in self.packages],
        }
        modules = {str(package.nevra): package.about.module for package in self.packages if package.about and package.about.module}
        if modules:
            # beside them for the same reason: few packages are of a module
            document["modules"] = modules
        if self.changelog_bundles:
            bundles: dict[Digest, list[str]] = {}
            for source, digest in sorted(self.changelog_bundles.items()):
                bundles.setdefault(digest, []).append(source)
            document["changelogs"] = bundles
        return {
            FILE_PACKAGES: json.dumps(document, separators=(",", ":")).encode() + b"\n",
            FILE_SOLV: self.solv_gz,
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Inventory:
        """Read back what ``to_files`` gave.

        :raises ContentError: a file is missing or not of this shape.
        """
        if not {FILE_PACKAGES, FILE_SOLV} <= files.keys():
            raise ContentError(f"the inventory is damaged: it has no {FILE_PACKAGES} or no {FILE_SOLV}", next_step=_DOOR.next_step)
        document, shape = _DOOR.json_object(files[FILE_PACKAGES], "the inventory"), _DOOR.shape("the inventory")
        if document.get("schema") != SCHEMA:
            raise ContentError(
                f"the inventory has the schema {str(document.get('schema'))[:80]!r}, this program reads {SCHEMA}",
                next_step="use the topcoat version that made it",
            )
        entries = shape.need(document, "packages", list)
        signers = document.get("signers") or [None] * len(entries)
        path = shape.need(document, "rpmdb_path", str)
        if path not in rpmdb.PATHS and (path or entries):
            shape.refuse("rpmdb_path", f"one of {', '.join(rpmdb.PATHS)}")
        try:
            about = document.get("about") or [None] * len(entries)
            modules = shape.table(document.get("modules"), "modules")
            packages = tuple(
                [
                    _package(*entry, signed, told and _about(told, modules.get(entry[0], "")))
                    for entry, signed, told in zip(entries, signers, about, strict=True)
                ]
            )
            settings = Settings.from_data(shape.need(document, "settings", dict))
            return cls(packages, path, check_digest(shape.need(document, "key", str)), files[FILE_SOLV], settings, _bundles(document, shape))
        except (TypeError, LookupError) as error:
            raise shape.wrong("packages", "a list of packages with their signers") from error
        except (ValueError, UsageError) as error:
            raise ContentError(f"the inventory is damaged: {error}", next_step=_DOOR.next_step) from error

    def to_bytes(self) -> bytes:
        """All files in one: a line of JSON with their names and lengths, then the files."""
        files = self.to_files()
        head = json.dumps([[name, len(content)] for name, content in files.items()]).encode() + b"\n"
        return head + b"".join(files.values())

    @classmethod
    def from_bytes(cls, content: bytes) -> Inventory:
        """Read back what ``to_bytes`` gave.

        :raises ContentError: not of this shape.
        """
        return cls.from_files(files_of(content))


def files_of(content: bytes) -> dict[str, bytes]:
    """The files that ``to_bytes`` put into one.

    :raises ContentError: not of this shape.
    """
    head, _, body = content.partition(b"\n")
    files: dict[str, bytes] = {}
    shape = _DOOR.shape("the inventory")
    for entry in shape.items(_DOOR.json(head, "the inventory"), "its table of contents", list, "lists"):
        if len(entry) != 2 or not isinstance(entry[0], str):
            shape.refuse("its table of contents", "names and lengths")
        length = shape.number(entry[1], "a length", most=len(content))
        files[entry[0]], body = body[:length], body[length:]
    return files


@dataclass(frozen=True)
class Listing:
    """What a comparison of many images needs of an inventory: (NEVRA, source RPM, build time) of each package as text, and where changelogs are."""

    packages: frozenset[tuple[str, str, int]]
    changelogs: Mapping[str, Digest] = field(default_factory=dict)


def listing(content: bytes) -> Listing:
    """The listing of the file ``packages.json``: hundreds of them are read at once, so no package becomes an object of its own.

    :raises ContentError: damaged, or of another version.
    """
    document, shape = _DOOR.json_object(content, "the inventory"), _DOOR.shape("the inventory")
    if document.get("schema") not in _LISTED:
        raise ContentError(f"the inventory has the schema {str(document.get('schema'))[:80]!r}", next_step=_DOOR.next_step)
    try:
        entries = [(nevra, source, built) for nevra, source, _size, built in shape.need(document, "packages", list)]
        if not all(isinstance(nevra, str) and isinstance(source, str) and isinstance(built, int) for nevra, source, built in entries):
            shape.refuse("packages", "texts and numbers")
        return Listing(frozenset(entries), _bundles(document, shape))
    except (ValueError, TypeError, UsageError) as error:
        raise ContentError(f"the inventory is damaged: {error}", next_step=_DOOR.next_step) from error


def _bundles(document: Mapping[str, object], shape: Shape) -> dict[str, Digest]:
    """Source RPM → digest of the bundle that holds its changelog."""
    found: dict[str, Digest] = {}
    for digest, sources in shape.table(document.get("changelogs"), "changelogs").items():
        found |= dict.fromkeys(shape.items(sources, "changelogs", str), check_digest(digest))
    return found


def _about(told: Iterable[str], module: str) -> PackageDetails:
    words, vendor, sha256 = told
    return PackageDetails(words, vendor, sha256, module)


@functools.lru_cache(maxsize=1 << 16)
def _package(nevra: str, source_rpm: str, size: int, build_time: int, signers: str | None, about: PackageDetails | None) -> InstalledPackage:
    # A hundred images share most of their packages: each is made once, and proved once.
    texts = (nevra, source_rpm, *(() if signers is None else (signers,)))
    if not all(isinstance(text, str) and text.isprintable() and len(text) <= _LONGEST for text in texts):
        raise ValueError(f"{str(nevra)[:80]!r} is not a package of texts that can be printed")
    if not all(isinstance(number, int) and 0 <= number < 1 << 63 for number in (size, build_time)):
        raise ValueError(f"size or time of {nevra!r} is no number that can be")
    if about is not None and not all(isinstance(text, str) for text in about):
        raise ValueError(f"licence, vendor, digest or module of {nevra!r} is no text")
    return InstalledPackage(Nevra.parse(nevra), source_rpm, size, build_time, signers, about)


def from_files(files: Mapping[str, bytes]) -> Inventory:
    """Same as ``Inventory.from_files``."""
    return Inventory.from_files(files)


@functools.cache
def nothing() -> Inventory:
    """The inventory of an image that holds no package database and no trace of rpm."""
    pool = solvfile.new_pool("noarch")  # libsolv's repositories live no longer than their pool
    return assemble((), solvfile.to_bytes(pool.add_repo("installed")), "")


def from_root(root: Path, *, below: Sequence[Path] = ()) -> Inventory:
    """The inventory of an unpacked or mounted root filesystem, which stays untouched.

    :param below: where ``root`` is only the top of an overlay: the directories below it, topmost first, for the settings. The database must lie in
        ``root`` itself.
    :raises ContentError: it has no rpm database, or one that is not SQLite.
    """
    return _from_database(rpmdb.read_root(root), settingsfiles.read_stack((root, *below)))


def with_settings_of(found: Inventory, stack: Sequence[Path]) -> Inventory:
    """The same packages in an image whose files are those of an overlay's directories, topmost first."""
    own = dnf_settings.read(settingsfiles.read_stack(stack), _platforms_of(found))
    return replace(found, settings=own, key=_key(found.packages, own))


def from_layers(layers: Iterable[Callable[[], BinaryIO]]) -> Inventory:
    """The inventory of an image, out of its layers, newest first: tar streams, plain or compressed with gzip, zstd, xz or bzip2.

    Layers are opened one after the other; nothing is kept but the database and the files that steer dnf. Whiteouts and opaque directories of the OCI
    image specification hold.

    :raises ContentError: the layers hold no rpm database, or one that is not SQLite; or a dnf.conf that is none.
    """
    return _from_database(*layerdb.read_layers_with_settings(layers))


def _from_database(found: rpmdb.Database, files: Mapping[str, bytes]) -> Inventory:
    """Have rpmdb2solv read a private root that holds nothing but the database."""
    with tempfile.TemporaryDirectory(prefix="topcoat-rpmdb-") as folder:
        private = Path(folder)
        database = rpmdb.place(found, private)
        target = private / "installed.solv"
        run(["rpmdb2solv", "-r", private, "-o", target], timeout=_SOLV_TIMEOUT_SECONDS)
        packages, data, platforms = _read_solv(target)
        told, histories = _headers(database)
    # The same text for both: parsing one package name takes longer than reading its header.
    known = [told.get((_text(package.nevra), package.build_time), (None, None)) for package in packages]
    named = tuple(replace(package, signers=signers, about=about) for package, (signers, about) in zip(packages, known, strict=True))
    return replace(assemble(named, data, found.path, dnf_settings.read(files, platforms)), read_changelogs=histories)


def _text(nevra: Nevra) -> str:
    return f"{nevra.name}-{nevra.full_evr}.{nevra.arch}"


def _headers(database: Path) -> tuple[dict[tuple[str, int], tuple[str, PackageDetails]], dict[str, tuple[changelogs.ChangelogEntry, ...]]]:
    """(package as name-epoch:version-release.arch, build time) → (ids of the keys that signed it, what else its header says), ``unnamed`` where a
    signature does not say; and source RPM → changelog, read once for each.
    """
    told: dict[tuple[str, int], tuple[str, PackageDetails]] = {}
    histories: dict[str, tuple[changelogs.ChangelogEntry, ...]] = {}
    try:
        for blob in header.rows(database):
            entry = header.stored(blob, checkable=False)
            names = dict.fromkeys(signed.signature.key_id or "unnamed" for signed in entry.signatures)
            told[entry.nevra, entry.build_time] = " ".join(names), PackageDetails(entry.license, entry.vendor, entry.sha256, entry.module)
            if entry.source_rpm and entry.source_rpm not in histories:
                histories[entry.source_rpm] = changelogs.of_header(blob)
    except header.Damaged as error:
        raise ContentError(f"the package database cannot be read: {error}", next_step="rebuild the image") from error
    return told, histories


def assemble(packages: tuple[InstalledPackage, ...], data: bytes, rpmdb_path: str, settings: Settings = dnf_settings.DEFAULT) -> Inventory:
    """An inventory out of its parts: sorted packages, the bytes of their .solv file, where the image keeps the database both came from, and what it
    tells dnf.
    """
    return Inventory(packages, rpmdb_path, _key(packages, settings), _compress(data), settings)


def _key(packages: Iterable[InstalledPackage], settings: Settings) -> str:
    # Not over the .solv file: it holds the time of installation, which no answer depends on.
    text = "".join(f"{package.nevra} {package.build_time}\n" for package in packages)
    return f"sha256:{hashlib.sha256((text + settings.digest).encode()).hexdigest()}"


def _compress(data: bytes) -> bytes:
    # It is on the path of every update. Level 2 gives the same bytes on every processor, as in layers.
    engine = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31)
    return engine.compress(data) + engine.flush()


def _read_solv(path: Path) -> tuple[tuple[InstalledPackage, ...], bytes, set[str]]:
    """The packages of a file that rpmdb2solv made, its bytes without what differs from run to run, and the module platforms that packages name."""
    pool = solvfile.new_pool("noarch")
    repo = pool.add_repo("installed")
    if not solvfile.add_installed(repo, path.read_bytes()):
        raise ContentError("rpmdb2solv made a file that libsolv cannot read", next_step="check that libsolv-tools and the solv package fit together")
    # Inode and time of the database (the cookie), time of installation and row number say nothing about the packages.
    data = repo.first_repodata()
    if data:
        data.unset(solv.SOLVID_META, pool.str2id("repository:rpmdbcookie"))
    volatile = [pool.str2id("solvable:installtime"), solv.RPM_RPMDBID]
    packages = []
    for solvable in repo.solvables_iter():
        for key in volatile:
            solvable.unset(key)
        if solvable.name != "gpg-pubkey":
            size, built = solvable.lookup_num(solv.SOLVABLE_INSTALLSIZE), solvable.lookup_num(solv.SOLVABLE_BUILDTIME)
            packages.append(InstalledPackage(solvfile.nevra_of(solvable), solvable.lookup_sourcepkg() or "", size, built))
    platforms = solvfile.platforms(repo.solvables_iter())
    repo.internalize()
    return tuple(sorted(packages)), solvfile.to_bytes(repo), platforms


def _platforms_of(found: Inventory) -> set[str]:
    pool = solvfile.new_pool("noarch")
    repo = pool.add_repo("installed")
    return solvfile.platforms(repo.solvables_iter()) if solvfile.add_installed(repo, found.solv) else set()
