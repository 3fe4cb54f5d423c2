"""Transactions on image roots, by a few long-lived workers that share one frozen view of the repositories.

This module must never let a worker read a repository that is not frozen, and never hand on an upper directory of a failed transaction.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from topcoat.errors import ContentError
from topcoat.layers import Workspace
from topcoat.model import Nevra, PackageChange
from topcoat.process import Processes
from topcoat.process.bounds import Bounds
from topcoat.rpm.difference import pair
from topcoat.transactions.system_python import SystemPython, Worker
from topcoat.yum.repositories import Snapshot

TIMEOUT_SECONDS = Bounds().seconds
_GRACE_SECONDS = 5.0
_LATE_SECONDS = 30.0
"""Beyond its own limit of time, until a worker that does not answer is ended itself."""


@dataclass(frozen=True)
class Wanted:
    """What dnf is asked for."""

    upgrade: tuple[str, ...] = ()
    """Names to bring to the best version that the repositories allow."""
    install: tuple[tuple[Nevra, str | None], ...] = ()
    """(package, repository id or None) to have at exactly this version, also when that is a downgrade."""
    reinstall: tuple[tuple[Nevra, str | None], ...] = ()
    """Packages that are installed at this version already, but as another build."""
    names: tuple[str, ...] = ()
    """Names to install (builds)."""


@dataclass(frozen=True)
class Options:
    """What a site may decide about transactions."""

    arch: str = "x86_64"
    release: str = ""
    nodocs: bool = True
    weak_dependencies: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a transaction did."""

    changes: tuple[PackageChange, ...]
    """The package database after, against before."""
    built: int
    """Latest build among the new packages, seconds since 1970; 0 when there are none."""
    dates: frozenset[int]
    """Dates of the new packages' files, seconds since 1970."""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds by step."""
    order: tuple[Nevra, ...] = ()
    """The packages that came, as rpm took them."""
    gone: tuple[Nevra, ...] = ()
    """Those that went, as rpm took them, after all that came."""


@dataclass(frozen=True)
class Facts:
    """What the package database of an image says."""

    built: int
    """Latest build of a package, seconds since 1970."""
    dates: frozenset[int]
    """Dates of all files that packages own."""
    owned: tuple[str, ...]
    """Absolute paths, as the packages name them, of the files that were asked for; ghosts, which no package brings, are not among them."""


class Transactions:
    """A pool of workers, one request each at a time. Close it, or use it as a context manager."""

    def __init__(
        self,
        snapshot: Snapshot,
        cache: Path,
        *,
        options: Options | None = None,
        workers: int = 2,
        python: SystemPython | None = None,
        processes: Processes | None = None,
        timeout: float = TIMEOUT_SECONDS,
        bounds: Bounds | None = None,
    ) -> None:
        """:param cache: folder for dnf's own form of the frozen metadata; may be kept between runs.

        :param timeout: seconds for one transaction.
        :param bounds: what else it may take.
        """
        self._snapshot = snapshot
        self._options = options or Options()
        self._timeout = timeout
        found = (python or SystemPython()).find()
        self._workers = [
            (number, Worker(found, processes=processes, bounds=replace(bounds or Bounds(), seconds=timeout))) for number in range(workers)
        ]
        self._free: queue.LifoQueue[tuple[int, Worker]] = queue.LifoQueue()
        for worker in reversed(self._workers):
            self._free.put(worker)
        self._cache = cache

    @property
    def options(self) -> Options:
        """What they were made with."""
        return self._options

    def run(
        self,
        space: Workspace,
        wanted: Wanted,
        *,
        epoch: int,
        expect: Sequence[PackageChange] | None = None,
        image: str | None = None,
        log: Path | None = None,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> Outcome:
        """Carry out one transaction on an overlay in ``space``; afterwards ``space.upper`` holds what it changed, and nothing is mounted.

        :param epoch: time that the package database takes for "now".
        :param expect: what may change, no more and no less; None allows anything (builds).
        :param before: files to write before the transaction, ``after``: afterwards (``worker/files.py`` says how).
        :raises ContentError: unsatisfiable, a scriptlet failed, or the transaction is not the expected one (then nothing was run).
        :raises InfrastructureError: a package cannot be fetched, time is up, the machine failed.
        """
        own = {
            "op": "transact",
            "lower": [os.fspath(path) for path in space.lower],
            "work": os.fspath(space.directory),
            "before": before,
            "after": after,
        }
        return self._outcome(lambda number: self._request(wanted, epoch, expect, log, number) | own, expect, image, log)

    def record(
        self,
        root: Path,
        work: Path,
        wanted: Wanted,
        *,
        epoch: int,
        expect: Sequence[PackageChange],
        image: str | None = None,
        log: Path | None = None,
    ) -> Outcome:
        """Carry out one transaction on the package database of a root alone; no package's file is written, nothing of it runs. Needs no rights.

        :param root: holds the database, and what the image says of how packages are laid out in it.
        :param work: an empty folder for the time of the call.
        :raises ContentError: unsatisfiable, or the transaction is not the expected one (then nothing was changed).
        :raises InfrastructureError: a package cannot be fetched, time is up, the machine failed.
        """
        own = {"op": "record", "root": os.fspath(root), "work": os.fspath(work)}
        return self._outcome(lambda number: self._request(wanted, epoch, expect, log, number) | own, expect, image, log)

    def _outcome(
        self, request: Callable[[int], dict[str, object]], expect: Sequence[PackageChange] | None, image: str | None, log: Path | None
    ) -> Outcome:
        answer = self._ask(request, image)
        changes = _difference(answer["before"], answer["after"])
        if expect is not None:
            _check(changes, expect, image, log)
            changes = tuple(sorted(expect, key=lambda change: (change.name, change.key)))  # the same, with the repositories they are from
        order, gone = (tuple(Nevra.parse(text) for text in answer.get(name, ())) for name in ("order", "gone"))
        return Outcome(changes, int(answer["built"]), frozenset(answer["dates"]), dict(answer["times"]), order, gone)

    def facts(self, root: Path, work: Path, names: Iterable[str] = (), *, image: str | None = None) -> Facts:
        """What the package database below ``root`` says.

        :param work: an empty folder for the time of the call.
        :param names: file names, without folders, whose owned paths are asked for.
        """
        request: dict[str, object] = {"op": "facts", "root": os.fspath(root), "work": os.fspath(work), "names": sorted(names)}
        answer = self._ask(lambda _: request, image)
        return Facts(int(answer["built"]), frozenset(answer["dates"]), tuple(answer["owned"]))

    def _fetch(self, packages: list[tuple[str, str]]) -> None:
        """Have packages of the frozen view on disk, verified and with the signatures that their repositories ask for: workers have no network."""
        self._snapshot.fetch_all(packages)

    def _ask(self, request: Callable[[int], dict[str, object]], image: str | None) -> dict[str, Any]:
        number, worker = self._free.get()
        try:
            return worker.ask(request(number), timeout=self._timeout + _LATE_SECONDS, image=image, fetch=self._fetch)
        finally:
            self._free.put((number, worker))

    def close(self) -> None:
        """End the workers."""
        for _, worker in self._workers:
            worker.stop(grace=_GRACE_SECONDS)

    def __enter__(self) -> Transactions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, wanted: Wanted, epoch: int, expect: Sequence[PackageChange] | None, log: Path | None, number: int) -> dict[str, object]:
        options = self._options
        return {
            "cache": os.fspath(self._cache / f"worker-{number}"),
            "repositories": [
                {
                    "id": frozen.id,
                    "url": frozen.directory.resolve().as_uri(),
                    "priority": frozen.repository.priority,
                    "include": list(frozen.repository.includepkgs),
                    "exclude": list(frozen.repository.excludepkgs),
                    "module_hotfixes": frozen.repository.module_hotfixes,
                    "gated": frozen.repository.gated,
                }
                for frozen in self._snapshot.repositories
            ],
            "upgrade": list(wanted.upgrade),
            "install": _exactly(wanted.install),
            "reinstall": _exactly(wanted.reinstall),
            "names": list(wanted.names),
            "expect": None if expect is None else _expected(expect),
            "epoch": epoch,
            "log": os.fspath(log.resolve()) if log else None,
            "options": {
                "arch": options.arch,
                "release": options.release,
                "nodocs": options.nodocs,
                "weak_dependencies": options.weak_dependencies,
            },
        }


def _exactly(packages: Iterable[tuple[Nevra, str | None]]) -> list[dict[str, str | None]]:
    return [{"nevra": str(nevra), "repository": repository} for nevra, repository in packages]


def _expected(changes: Sequence[PackageChange]) -> dict[str, list[str]]:
    return {
        "install": sorted(_text(change.new) for change in changes if change.new),
        "remove": sorted(_text(change.old) for change in changes if change.old),
    }


def _text(nevra: Nevra) -> str:
    return f"{nevra.name}-{nevra.full_evr}.{nevra.arch}"


def _difference(before: list[list[Any]], after: list[list[Any]]) -> tuple[PackageChange, ...]:
    """What changed in the package database; a package that was replaced by another build of the same version counts on both sides."""
    old = {(text, built) for text, built in before}
    new = {(text, built) for text, built in after}
    return pair((Nevra.parse(text) for text, _ in old - new), (Nevra.parse(text) for text, _ in new - old))


def _is_displaced(change: PackageChange, expect: Sequence[PackageChange]) -> bool:
    """Whether a package went because a build of its name for another architecture came. rpm tells builds apart by the colour of their files (ELF
    class, ``skipColor`` in lib/depends.c) and dnf by their architecture, so that dnf itself loses such a package without a word.
    """
    old = change.old
    return old is not None and change.new is None and any(new.name == old.name and new.arch != old.arch for entry in expect if (new := entry.new))


def _check(changes: Sequence[PackageChange], expect: Sequence[PackageChange], image: str | None, log: Path | None) -> None:
    """The plan is a promise: what the package database shows afterwards must be what the plan named."""
    planned, done = ({change.key: change for change in side} for side in (expect, changes))
    displaced = [change for key, change in sorted(done.items()) if key not in planned and _is_displaced(change, expect)]
    if displaced and len(displaced) == len(done.keys() ^ planned.keys()):
        raise ContentError(
            f"rpm took another architecture's build for the newer one of {', '.join(_text(change.old) for change in displaced if change.old)}: "
            "neither holds a file of one architecture",
            image=image,
            log=os.fspath(log) if log else None,
            next_step="have both architectures built in one version, or take one out of the image",
        )
    problems = [f"changed but not planned: {done[key]}" for key in sorted(done.keys() - planned.keys())]
    problems += [f"planned but not changed: {planned[key]}" for key in sorted(planned.keys() - done.keys())]
    if problems:
        raise ContentError(
            f"the plan is a promise, and the transaction broke it: {'; '.join(problems)}",
            image=image,
            log=os.fspath(log) if log else None,
            next_step="do not publish this image; report it with the log and the plan",
        )
