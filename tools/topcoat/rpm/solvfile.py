"""Reads repositories and inventories into libsolv, through .solv caches that a kill cannot spoil.

This module must never decide anything about packages.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import solv

from topcoat.errors import ContentError, InfrastructureError, TopcoatError, machine_error
from topcoat.model import Nevra
from topcoat.rpm import compression

MAX_PLAIN = 1 << 30
"""Bytes of a metadata file's plain text that are read at most: twice what the largest distributions have."""
_MAKE_AGAIN = "have the repository's metadata made again (createrepo_c)"
CACHE_VERSION = 1
"""Goes into cache file names: raise it when what is cached changes."""


def new_pool(arch: str) -> solv.Pool:
    """An empty pool with RPM's semantics for one architecture (``x86_64``)."""
    pool = solv.Pool()
    pool.setdisttype(solv.Pool.DISTTYPE_RPM)
    pool.setarch(arch)
    # As libsolv does by itself where it is built for Fedora and its kin: packages of one name but another colour (i686 beside x86_64) can both stay.
    pool.set_flag(solv.Pool.POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS, 1)
    return pool


def reserve_considered(pool: solv.Pool, count: int) -> None:
    """Make the pool's map of considered packages large enough for ``count`` more than it holds now.

    ``Pool.set_considered_list`` makes the map on its first call and never grows it (libsolv 0.7, bindings/solv.i): setting a bit for a package that
    came later writes past its end.
    """
    room = pool.add_repo("room")
    for _ in range(count):
        room.add_solvable()
    pool.set_considered_list([])
    room.free(True)


def add_primary(repo: solv.Repo, primary: Path, cache: Path, *, label: str, open_size: int | None = None) -> None:
    """Fill a libsolv repository from primary.xml (any compression), through a cache file that lies beside it.

    :param label: what an error calls the repository.
    :param open_size: bytes of the plain text, as repomd.xml names them; more of it is not read.
    :raises ContentError: primary.xml is not readable as such.
    """
    if _add_solv(repo, cache):
        return
    problem = _add_rpmmd(repo, primary, None, 0, open_size)
    if problem:
        raise ContentError(f"{label}: {primary.name} is corrupt: {problem}", next_step=_MAKE_AGAIN)
    _write_solv(repo, cache)


class Filelists:
    """Loads the complete file list of a repository when, and only when, libsolv meets a requirement on a file that primary.xml does not list."""

    def __init__(self, pool: solv.Pool) -> None:
        self._files: dict[int, tuple[Path, Path, str, int | None]] = {}
        self._failure: TopcoatError | None = None
        pool.set_loadcallback(self._load)

    def announce(self, repo: solv.Repo, filelists: Path, cache: Path, *, label: str, open_size: int | None = None) -> None:
        """Tell libsolv that a repository has a file list, without reading it."""
        self._files[repo.id] = (filelists, cache, label, open_size)
        repodata = repo.add_repodata(0)
        repodata.extend_to_repo()
        handle = repodata.new_handle()
        repodata.set_poolstr(handle, solv.REPOSITORY_REPOMD_TYPE, "filelists")
        repodata.add_idarray(handle, solv.REPOSITORY_KEYS, solv.SOLVABLE_FILELIST)
        repodata.add_idarray(handle, solv.REPOSITORY_KEYS, solv.REPOKEY_TYPE_DIRSTRARRAY)
        repodata.add_flexarray(solv.SOLVID_META, solv.REPOSITORY_EXTERNAL, handle)
        repodata.internalize()
        repo.create_stubs()

    def check(self) -> None:
        """Raise what went wrong while libsolv loaded: an exception cannot travel through its callback."""
        if self._failure:
            raise self._failure

    def _load(self, repodata: solv.XRepodata) -> bool:
        repo = repodata.repo
        filelists, cache, label, open_size = self._files[repo.id]
        flags = solv.Repo.REPO_USE_LOADING | solv.Repo.REPO_EXTEND_SOLVABLES | solv.Repo.REPO_LOCALPOOL
        if _add_solv(repo, cache, flags):
            return True
        try:
            problem = _add_rpmmd(repo, filelists, "FL", flags, open_size)
        except InfrastructureError as error:
            self._failure = error
            return False
        if problem:
            self._failure = ContentError(f"{label}: {filelists.name} is corrupt: {problem}", next_step=_MAKE_AGAIN)
            return False
        _write_solv(repodata, cache)
        return True


def _add_rpmmd(repo: solv.Repo, path: Path, language: str | None, flags: int, open_size: int | None) -> str | None:
    """Read a metadata file; returns what is wrong with it, None when nothing.

    libsolv's own decompressors depend on how it was built (the wheel knows gzip only), so the plain text goes through an anonymous file.
    """
    try:
        with path.open("rb") as stream, _anonymous() as sink:
            plain_text = compression.opened(stream)
            limit = MAX_PLAIN if open_size is None else min(open_size, MAX_PLAIN)
            left = limit
            while chunk := plain_text.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    return f"it holds more than {limit} bytes" + (" (repomd.xml names no more)" if limit == open_size else "")
                sink.write(chunk)
            sink.seek(0)
            plain = _open_descriptor("metadata.xml", sink.fileno(), "r")
            try:
                good = repo.add_rpmmd(plain, language, flags)
            finally:
                plain.close()
    except (OSError, *compression.ERRORS) as error:
        machine = machine_error(error)
        if machine:
            raise machine from error
        return str(error)
    return None if good else repo.pool.errstr


def _open_descriptor(name: str, descriptor: int, mode: str) -> Any:
    """A stream of libsolv on a copy of a descriptor. Without a free one it gives None, and crashes the process that uses that as a stream."""
    stream = solv.xfopen_fd(name, descriptor, mode)
    if stream is None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return stream


def _anonymous() -> BinaryIO:
    return os.fdopen(os.memfd_create("topcoat"), "w+b")


def _add_solv(repo: solv.Repo, cache: Path, flags: int = 0) -> bool:
    if not cache.exists():
        return False
    stream = solv.xfopen(str(cache))
    if stream is None:
        return False
    try:
        return bool(repo.add_solv(stream, flags))
    finally:
        stream.close()


def _write_solv(data: solv.Repo | solv.XRepodata, cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_name(f".{cache.name}.{os.getpid()}.{threading.get_ident()}")
    stream = solv.xfopen(str(partial), "w")
    if stream is None:
        return
    written = data.write(stream)
    stream.close()
    if written:
        partial.replace(cache)
    else:
        partial.unlink(missing_ok=True)


def add_installed(repo: solv.Repo, data: bytes) -> bool:
    """Fill a libsolv repository from the bytes of a .solv file; False when they are none."""
    # The bytes come from a registry or a cache and need no name on disk.
    with _anonymous() as sink:
        sink.write(data)
        sink.seek(0)
        stream = _open_descriptor("inventory.solv", sink.fileno(), "r")
        try:
            return bool(repo.add_solv(stream, 0))
        finally:
            stream.close()


def to_bytes(repo: solv.Repo) -> bytes:
    """A libsolv repository as the bytes of a .solv file; what ``add_installed`` reads."""
    with _anonymous() as sink:
        stream = _open_descriptor("repository.solv", sink.fileno(), "w")
        try:
            repo.write(stream)
        finally:
            stream.close()
        sink.seek(0)
        return sink.read()


def nevra_of(solvable: solv.XSolvable) -> Nevra:
    """Name, epoch, version, release, architecture of a libsolv package."""
    epoch, colon, rest = solvable.evr.partition(":")
    if not colon:
        epoch, rest = "0", epoch
    version, _, release = rest.rpartition("-")
    if not (epoch.isascii() and epoch.isdigit()):
        raise ContentError(f"the package {solvable.name!r} has the version {solvable.evr!r}, whose epoch is no number", next_step=_MAKE_AGAIN)
    return Nevra(solvable.name, int(epoch), version or release, release if version else "", solvable.arch)


def platforms(solvables: Iterable[solv.XSolvable]) -> set[str]:
    """What the newest packages that provide ``system-release`` call the distribution in ``base-module(platform:el9)``."""
    newest: dict[str, solv.XSolvable] = {}
    for solvable in solvables:
        if solvable.matchesdep(solv.SOLVABLE_PROVIDES, solvable.pool.str2id("system-release"), -1):
            known = newest.get(solvable.name)
            if known is None or solvable.evrcmp(known) > 0:
                newest[solvable.name] = solvable
    provided = {str(name).partition(" ")[0] for solvable in newest.values() for name in solvable.lookup_deparray(solv.SOLVABLE_PROVIDES)}
    return {name.removeprefix("base-module(").removesuffix(")") for name in provided if name.startswith("base-module(")}
