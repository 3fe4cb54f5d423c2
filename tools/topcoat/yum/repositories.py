"""One frozen, verified view of the yum repositories of a run.

This module must never read a repository twice in one run, and never hand on a byte whose checksum was not compared.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import solv

from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.model import Nevra, Repository
from topcoat.process.each import each
from topcoat.process.files import write_whole
from topcoat.rpm import signatures, solvfile
from topcoat.rpm.evr import Order
from topcoat.rpm.signatures import KeyFile, Keyring
from topcoat.yum import repomd
from topcoat.yum.transport import (
    CertificateError,
    Checksum,
    ClosedError,
    FetchError,
    ForbiddenError,
    MissingError,
    Transport,
    UnsignedError,
    UnsupportedError,
    WrongError,
    join,
    local_path,
    matches,
)

__all__ = ["FrozenRepository", "RepositoryPackage", "Snapshot", "freeze"]

REPOMD = "repodata/repomd.xml"
_REPOMD_LIMIT = 16 << 20
# What a file may be found to be when its repository was published anew in between.
_PARALLEL_FREEZES = 4
_SOURCES = ("src", "nosrc")
"""Architectures of source packages."""
_MAY_BE_NEW = (MissingError, WrongError, UnsignedError)
_KEY_LIMIT = 1 << 20
KEYS_SUFFIX = "#keys"
"""A view names the keys of a repository under its id and this."""
# What dnf asks for when it loads a repository: older ones want the index of deltas whatever they are told. Change logs and SQLite twins stay where
# they are until somebody asks.
_EAGER = ("primary", "filelists", "group", "group_gz", "group_xz", "updateinfo", "modules", "prestodelta")


@dataclass(frozen=True)
class RepositoryPackage:
    """One binary package of a repository. ``href`` is relative to the repository; ``checksum`` is ``algorithm:hex``; size in bytes."""

    nevra: Nevra
    source_rpm: str
    href: str
    checksum: str
    size: int
    base: str = ""
    """``xml:base`` of its location: the package lies below this URL instead of the repository's own."""


@dataclass(frozen=True)
class FrozenRepository:
    """One repository as it was when the view was taken. ``directory`` holds ``repodata/`` and each fetched package at its href."""

    repository: Repository
    directory: Path
    checksum: str
    """sha256 of repomd.xml, hexadecimal."""
    records: dict[str, repomd.Record]
    keyring: Keyring

    @property
    def policy(self) -> str:
        """What is asked of signatures, with the keys' content: sha256, hexadecimal."""
        policy = self.repository.signatures
        return hashlib.sha256(f"{policy.signed} {policy.metadata} {self.keyring.identity}".encode()).hexdigest()

    @property
    def id(self) -> str:
        """The repository's id."""
        return self.repository.id

    def metadata(self, kind: str) -> Path | None:
        """Path of a metadata file (``primary``, ``filelists``, ``modules`` ...), None when the repository has none or it was not fetched."""
        record = self.records.get(kind)
        path = self.directory / record.href if record else None
        return path if path and path.exists() else None


class Snapshot:
    """The frozen repositories of a run. Safe for several threads; ``close`` ends its connections."""

    def __init__(self, repositories: Sequence[FrozenRepository], transport: Transport) -> None:
        self.repositories = tuple(repositories)
        self._transport = transport
        self._by_id = {frozen.id: frozen for frozen in self.repositories}
        self._packages: dict[str, tuple[RepositoryPackage, ...]] = {}
        self._by_href: dict[str, dict[str, RepositoryPackage]] = {}
        self._lock = threading.Lock()
        self._fetching: dict[tuple[str, str], threading.Lock] = {}
        self._fetched: set[tuple[str, str]] = set()
        self._accepted: set[tuple[str, str]] = set()

    @property
    def view(self) -> tuple[tuple[str, str], ...]:
        """(id, sha256 of repomd.xml), in the order of the repo set; after them (id#keys, sha256 of the key files) of those that have keys."""
        states = [(frozen.id, frozen.checksum) for frozen in self.repositories]
        keys = [(frozen.id + KEYS_SUFFIX, frozen.keyring.identity) for frozen in self.repositories if frozen.repository.signatures.keys]
        return (*states, *keys)

    @property
    def policies(self) -> tuple[tuple[str, str], ...]:
        """(id, sha256 over signature policy and keys): a result that was made under other ones is not the same result."""
        return tuple((frozen.id, frozen.policy) for frozen in self.repositories)

    def repository(self, repo_id: str) -> FrozenRepository:
        """The frozen repository of an id.

        :raises UsageError: the repo set has none of this id.
        """
        try:
            return self._by_id[repo_id]
        except KeyError:
            known = ", ".join(self._by_id) or "none"
            raise UsageError(f"unknown repository {repo_id!r}", next_step=f"the repo set has: {known}; correct the id or the profile") from None

    def packages(self, repo_id: str) -> tuple[RepositoryPackage, ...]:
        """Every binary package of a repository, before any include or exclude list, sorted; read once."""
        frozen = self.repository(repo_id)
        with self._lock:
            if repo_id not in self._packages:
                self._packages[repo_id] = _list_packages(frozen)
                self._by_href[repo_id] = {package.href: package for package in self._packages[repo_id]}
            return self._packages[repo_id]

    @cached_property
    def checksums(self) -> dict[str, str]:
        """NEVRA → checksums of its files in the view (two repositories may hold one NEVRA with other content: then both count)."""
        found: dict[str, str] = {}
        for frozen in self.repositories:
            for package in self.packages(frozen.id):
                name = str(package.nevra)
                found[name] = f"{found[name]} {package.checksum}" if name in found else package.checksum
        return found

    def gated(self) -> tuple[Nevra, ...]:
        """The packages that images must hold: of every gated repository the newest build of each name and architecture, sorted."""
        order = Order()
        builds: dict[tuple[str, str], list[Nevra]] = {}
        for frozen in self.repositories:
            if frozen.repository.gated:
                for package in self.packages(frozen.id):
                    builds.setdefault((package.nevra.name, package.nevra.arch), []).append(package.nevra)
        return tuple(sorted(order.newest(nevras) for nevras in builds.values()))

    def fetch(self, repo_id: str, href: str) -> Path:
        """A verified local copy of a package, or of a metadata file that repomd.xml names; fetched and checked once, whoever asks.

        :returns: its path below the frozen repository's directory.
        :raises UsageError: unknown repository.
        :raises ContentError: the repository has no such file, a local repository holds another package than its metadata promises, or the package's
            signatures are not as the repository's policy wants them.
        :raises InfrastructureError: it cannot be reached, is gone, or has the wrong checksum.
        """
        return self.fetch_all([(repo_id, href)])[0]

    def fetch_all(self, wanted: Sequence[tuple[str, str]]) -> list[Path]:
        """The same for several (repository id, href); signatures of one repository's packages are checked together."""
        paths = [self._fetch(repo_id, href) for repo_id, href in wanted]
        unchecked: dict[str, list[tuple[str, Path]]] = {}
        for (repo_id, href), path in zip(wanted, paths, strict=True):
            if (repo_id, href) not in self._accepted and not self._is_metadata(repo_id, href):
                unchecked.setdefault(repo_id, []).append((href, path))
        for repo_id, packages in unchecked.items():
            frozen = self.repository(repo_id)
            signatures.require(frozen.repository.signatures, frozen.keyring, f"repository {repo_id}", packages)
            self._accepted.update((repo_id, href) for href, _ in packages)
        return paths

    def _is_metadata(self, repo_id: str, href: str) -> bool:
        return href == REPOMD or any(record.href == href for record in self.repository(repo_id).records.values())

    def _fetch(self, repo_id: str, href: str) -> Path:
        frozen = self.repository(repo_id)
        if href == REPOMD:
            return frozen.directory / href
        url, checksum, size = self._promise(frozen, href)
        target = frozen.directory / href
        with self._lock:
            lock = self._fetching.setdefault((repo_id, href), threading.Lock())
        with lock:
            if (repo_id, href) in self._fetched and target.exists():
                return target
            if not matches(target, checksum, size):
                try:
                    self._transport.download(url, target, checksum=checksum, size=size, ca_file=frozen.repository.ca_file)
                except FetchError as error:
                    raise _package_error(repo_id, error) from error
                except OSError as error:
                    raise _disk_error(repo_id, target, error) from error
            self._fetched.add((repo_id, href))
        return target

    def _promise(self, frozen: FrozenRepository, href: str) -> tuple[str, Checksum, int | None]:
        for record in frozen.records.values():
            if record.href == href:
                return join(frozen.repository.baseurl, href), record.checksum, record.size
        self.packages(frozen.id)
        package = self._by_href[frozen.id].get(href)
        if package is None:
            raise ContentError(f"repository {frozen.id} has no file {href!r}", next_step="ask for a file that its metadata names")
        algorithm, _, value = package.checksum.partition(":")
        here = local_path(frozen.repository.baseurl)
        # a repository that was copied to this machine has packages at hand that its metadata looks for elsewhere
        base = frozen.repository.baseurl if here is not None and (here / href).is_file() else package.base or frozen.repository.baseurl
        return join(base, href), Checksum(algorithm, value), package.size or None

    def close(self) -> None:
        """End the connections and remove the keyrings; everything fetched stays."""
        self._transport.close()
        for frozen in self.repositories:
            frozen.keyring.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def freeze(
    repositories: Sequence[Repository],
    work: Path,
    *,
    transport: Transport | None = None,
    allow_empty: Sequence[str] = (),
    view: Mapping[str, str] | None = None,
) -> Snapshot:
    """Take one view of a repo set: each repomd.xml is read once, every metadata file is compared with it.

    :param work: cache folder; files of an earlier run are used again where their checksums still hold. A kill at any point leaves it usable.
    :param allow_empty: ids of repositories that may hold no package at all.
    :param view: repository id → sha256 of its repomd.xml (and id#keys → sha256 of its key files), from a freeze before: exactly these states are
        used, from the cache folder where it holds them, so that all jobs of a buildset see one view. A repository that it does not name is read as
        it is now.
    :raises UsageError: two repositories of one id, or a URL of an unknown kind.
    :raises ContentError: a repository does not exist, is empty or corrupt, or is no longer in the state that ``view`` names; a key cannot be used.
    :raises InfrastructureError: a repository is unreachable, or changed twice while it was read.
    """
    ids = [repository.id for repository in repositories]
    twice = sorted({repo_id for repo_id in ids if ids.count(repo_id) > 1})
    if twice:
        raise UsageError(f"repository id {twice[0]!r} is used twice in the repo set", next_step="give each repository its own id")
    transport = transport or Transport()
    work.mkdir(parents=True, exist_ok=True)
    frozen = each(repositories, lambda repository: _freeze_one(repository, work, transport, view or {}), workers=_PARALLEL_FREEZES)
    for one in frozen:
        if one.id not in allow_empty and _is_empty(one):
            raise ContentError(
                f"repository {one.id} is empty: {one.repository.baseurl} holds no package that can be installed",
                next_step="check the baseurl in the profile, and that the job that fills the repository succeeded",
            )
    return Snapshot(frozen, transport)


def _freeze_one(repository: Repository, work: Path, transport: Transport, view: Mapping[str, str]) -> FrozenRepository:
    wanted = view.get(repository.id)
    keyring = _keyring(repository, transport)
    if view.get(repository.id + KEYS_SUFFIX, keyring.identity) != keyring.identity:
        raise _moved_on(repository)
    text = _kept_repomd(repository, work, wanted) or _read_repomd(repository, transport)
    if wanted is not None and hashlib.sha256(text).hexdigest() != wanted:
        raise _moved_on(repository)
    for attempt in (1, 2):
        try:
            return _fetch_metadata(repository, text, work, transport, keyring)
        except FetchError as error:
            if not isinstance(error, _MAY_BE_NEW):
                raise _metadata_error(repository, error, changed=False) from error
            # A repository that is published anew while we read it names files that are gone or different: look whether that is what happened.
            again = _read_repomd(repository, transport)
            if wanted is not None and again != text:
                raise _moved_on(repository) from error
            if again == text or attempt == 2:
                raise _metadata_error(repository, error, changed=again != text) from error
            text = again
    raise AssertionError("the second attempt returns or raises")


def _moved_on(repository: Repository) -> ContentError:
    return ContentError(
        f"repository {repository.id} ({repository.baseurl}) is no longer in the state that was frozen for this run",
        next_step="freeze again, and start the jobs that used the old view again",
    )


def _kept_repomd(repository: Repository, work: Path, wanted: str | None) -> bytes | None:
    """The repomd.xml of a state that an earlier freeze kept."""
    if wanted is None:
        return None
    try:
        text = (_directory(repository, work, wanted) / REPOMD).read_bytes()
    except FileNotFoundError:
        return None
    return text if hashlib.sha256(text).hexdigest() == wanted else None


def folder_name(repo_id: str, checksum: str) -> str:
    """Name of the folder of one state of a repository.

    :param checksum: sha256 of its repomd.xml, hexadecimal.
    """
    return f"{quote(repo_id, safe='')}-{checksum[:16]}"


def _directory(repository: Repository, work: Path, checksum: str) -> Path:
    return work / folder_name(repository.id, checksum)


def _read_repomd(repository: Repository, transport: Transport) -> bytes:
    try:
        return transport.read(join(repository.baseurl, REPOMD), limit=_REPOMD_LIMIT, ca_file=repository.ca_file)
    except FetchError as error:
        raise _metadata_error(repository, error, changed=False) from error


def _keyring(repository: Repository, transport: Transport) -> Keyring:
    owner = f"repository {repository.id}"
    files: list[KeyFile] = []
    policy = repository.signatures
    for url in policy.keys if policy.signed != "never" or policy.metadata == "required" else ():
        try:
            content = transport.read(url, limit=_KEY_LIMIT, ca_file=repository.ca_file)
        except FetchError as error:
            if isinstance(error, ClosedError):
                raise _access_error(f"{owner}: its key", error) from error
            raise ContentError(f"{owner}: its key cannot be had: {error}", next_step="correct 'keys' of the repository in the profile") from error
        files.append(signatures.read_key_file(url, content, owner=owner))
    return Keyring(files, owner=owner)


def _fetch_metadata(repository: Repository, text: bytes, work: Path, transport: Transport, keyring: Keyring) -> FrozenRepository:
    checksum = hashlib.sha256(text).hexdigest()
    directory = _directory(repository, work, checksum)
    if repository.signatures.metadata == "required":
        _check_signed(repository, text, directory / f"{REPOMD}.asc", transport, keyring)
    try:
        records = repomd.parse(text)
    except ValueError as error:
        raise ContentError(
            f"repository {repository.id} is corrupt: {join(repository.baseurl, REPOMD)}: {error}",
            next_step="have the repository's metadata made again (createrepo_c), or correct the baseurl",
        ) from error
    try:
        for kind in _EAGER:
            record = records.get(kind)
            if record and not matches(directory / record.href, record.checksum, record.size):
                transport.download(
                    join(repository.baseurl, record.href),
                    directory / record.href,
                    checksum=record.checksum,
                    size=record.size,
                    ca_file=repository.ca_file,
                )
        final = directory / REPOMD
        if not final.exists() or final.read_bytes() != text:
            transport_checksum = Checksum("sha256", checksum)
            write_whole(final, text)
            if not matches(final, transport_checksum):
                raise InfrastructureError(f"repository {repository.id}: {final} does not hold what was written", next_step="check the disk")
    except OSError as error:
        raise _disk_error(repository.id, directory, error) from error
    return FrozenRepository(repository, directory, checksum, records, keyring)


def _check_signed(repository: Repository, text: bytes, kept: Path, transport: Transport, keyring: Keyring) -> None:
    """Whether one of the keys signed repomd.xml; through it, that holds for all metadata and for the checksum of every package.

    :raises UnsignedError: the caller looks whether the repository was just published anew.
    """
    if kept.exists() and not keyring.detached_problem(text, kept.read_bytes()):
        return
    url = join(repository.baseurl, f"{REPOMD}.asc")
    try:
        signature = transport.read(url, limit=_KEY_LIMIT, ca_file=repository.ca_file)
    except MissingError as error:
        raise UnsignedError(url, "there is no signature") from error
    problem = keyring.detached_problem(text, signature)
    if problem:
        raise UnsignedError(url, problem)
    write_whole(kept, signature)


def solv_cache(frozen: FrozenRepository) -> Path:
    """Where the libsolv form of a frozen repository's primary metadata is cached."""
    return frozen.directory.with_name(f"{frozen.directory.name}.v{solvfile.CACHE_VERSION}.solv")


def load(frozen: FrozenRepository, pool: solv.Pool, filelists: solvfile.Filelists | None = None) -> solv.Repo:
    """Add a frozen repository to a libsolv pool; the caller keeps the pool alive.

    :param filelists: the pool's loader of file lists; None: only the files that primary.xml lists are known.
    :raises ContentError: its metadata is corrupt.
    """
    label = f"repository {frozen.id} ({frozen.repository.baseurl})"
    repo = pool.add_repo(frozen.id)
    cache = solv_cache(frozen)
    primary = frozen.records["primary"]
    solvfile.add_primary(repo, frozen.directory / primary.href, cache, label=label, open_size=primary.open_size)
    files = frozen.metadata("filelists")
    if filelists is not None and files is not None:
        filelists.announce(repo, files, cache.with_suffix(".solvx"), label=label, open_size=frozen.records["filelists"].open_size)
    return repo


def _is_empty(frozen: FrozenRepository) -> bool:
    """Whether it holds nothing that can be installed; sources cannot."""
    pool = solvfile.new_pool("noarch")
    return all(solvable.arch in _SOURCES for solvable in load(frozen, pool).solvables_iter())


def _list_packages(frozen: FrozenRepository) -> tuple[RepositoryPackage, ...]:
    packages = []
    pool = solvfile.new_pool("noarch")
    for solvable in load(frozen, pool).solvables_iter():
        if solvable.arch in _SOURCES:
            continue
        href, _ = solvable.lookup_location()
        checksum = solvable.lookup_checksum(solv.SOLVABLE_CHECKSUM)
        try:
            repomd.safe_href(href or "")
        except ValueError as error:
            raise ContentError(f"repository {frozen.id}: {solvable}: {error}", next_step="have the repository's metadata made again") from error
        packages.append(
            RepositoryPackage(
                solvfile.nevra_of(solvable),
                solvable.lookup_sourcepkg() or "",
                href,
                f"{checksum.typestr()}:{checksum.hex()}" if checksum else "",
                solvable.lookup_num(solv.SOLVABLE_DOWNLOADSIZE),
                solvable.lookup_str(solv.SOLVABLE_MEDIABASE) or "",
            )
        )
    return tuple(sorted(packages, key=lambda package: (package.nevra, package.href)))


def _metadata_error(repository: Repository, error: FetchError, *, changed: bool) -> TopcoatError:
    about = f"repository {repository.id}"
    if changed:
        return InfrastructureError(
            f"{about} changed twice while it was read: {error}", next_step="run again when its publishing has ended", retriable=False
        )
    if isinstance(error, UnsignedError):
        return ContentError(
            f"{about}: its metadata is not signed by one of its keys: {error}",
            next_step="have its owner sign it, correct 'keys' in the profile, or leave signed_metadata out",
        )
    if isinstance(error, UnsupportedError):
        return UsageError(f"{about}: {error}", next_step="correct the repository in the profile")
    if isinstance(error, ClosedError):
        return _access_error(about, error)
    if isinstance(error, MissingError):
        return ContentError(f"{about} does not exist: {error}", next_step="check the baseurl in the profile; a trunk hash may have been pruned")
    return InfrastructureError(
        f"{about} is inconsistent: {error}", next_step="its repomd.xml and its files do not fit together; run again, else have it published anew"
    )


def _access_error(about: str, error: FetchError) -> InfrastructureError:
    """A server that does not give what it may well have. The attempts are used up, each with its pause: nobody above tries again in this run."""
    if isinstance(error, ForbiddenError):
        return InfrastructureError(
            f"{about} may not be read: {error}",
            retriable=False,
            next_step="check what the server asks for (a login, an address, a subscription) and the baseurl: some answer so for what does not exist",
        )
    if isinstance(error, CertificateError):
        if "expired" in error.cause or "not yet valid" in error.cause:
            step = "have the server's certificate renewed, or set this machine's clock"
        elif "mismatch" in error.cause or "not valid for" in error.cause:
            step = "write the name that the server's certificate is for into the baseurl, or have the certificate made for this one"
        else:
            step = "name the certificate authority of this repository in the profile ('ca_file')"
        return InfrastructureError(f"{about} cannot be trusted: {error}", retriable=False, next_step=step)
    return InfrastructureError(
        f"{about} is unreachable: {error}",
        retriable=False,
        retry_after=error.retry_after,
        next_step="check the network and the server, then run again",
    )


def _package_error(repo_id: str, error: FetchError) -> TopcoatError:
    about = f"repository {repo_id}"
    if isinstance(error, WrongError) and local_path(error.url) is not None:
        return ContentError(f"{about} holds another package than its metadata says: {error}", next_step="run createrepo_c on it again")
    if isinstance(error, WrongError):
        return InfrastructureError(f"{about} sent a wrong package: {error}", next_step="run again; if it stays, have the repository published anew")
    if isinstance(error, MissingError):
        return InfrastructureError(
            f"{about} changed after it was frozen, the package is gone: {error}", retriable=False, next_step="run again with a new view"
        )
    if isinstance(error, UnsupportedError):
        return ContentError(f"{about}: {error}", next_step="have the repository's metadata made again")
    return _access_error(about, error)


def _disk_error(repo_id: str, path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"repository {repo_id}: cannot write {path}: {error}", retriable=False, next_step="make room, or name another cache folder"
    )
