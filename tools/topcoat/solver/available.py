"""What the repositories of a run offer: the packages that may be used, by name, by what they obsolete, and gated builds.

This module must never look at an image: it is made once and asked for many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import solv

from topcoat.model import Nevra, Repository
from topcoat.rpm import solvfile
from topcoat.rpm.evr import Order
from topcoat.solver.selection import Selected
from topcoat.yum import repositories
from topcoat.yum.repositories import Snapshot

_SOURCE_ARCHES = ("src", "nosrc")


class Stock:
    """The packages of a frozen view in a libsolv pool, before any filter."""

    def __init__(self, snapshot: Snapshot, pool: solv.Pool, filelists: solvfile.Filelists) -> None:
        self.pool = pool
        self.order = Order()
        self.repositories = [frozen.repository for frozen in snapshot.repositories]
        self.owners: dict[int, Repository] = {}
        self._nevra: dict[int, Nevra] = {}
        source = {pool.str2id(arch) for arch in _SOURCE_ARCHES}
        self.usable: list[solv.XSolvable] = []
        for frozen in snapshot.repositories:
            repo = repositories.load(frozen, pool, filelists)
            repo.priority = -frozen.repository.priority
            known: dict[int, bool] = {}
            for solvable in repo.solvables_iter():
                arch = solvable.archid
                if arch not in known:
                    known[arch] = arch not in source and pool.isknownarch(arch)
                if known[arch]:
                    self.usable.append(solvable)
                    self.owners[solvable.id] = frozen.repository

    def nevra(self, number: int) -> Nevra:
        """The package of an id."""
        found = self._nevra.get(number)
        if found is None:
            found = self._nevra[number] = solvfile.nevra_of(self.pool.id2solvable(number))
        return found

    def repository(self, number: int) -> Repository:
        """The repository of an id; KeyError for an installed package."""
        return self.owners[number]


class Offer:
    """What of the stock may be used for images with certain settings: after include and exclude lists, gating and module streams.

    Packages are named by their libsolv ids. ``ids`` are all that may be used, ``held`` the reasons why others may not because of the image itself.
    """

    def __init__(self, stock: Stock, selected: Selected) -> None:
        self.stock = stock
        self.pool = stock.pool
        self.order = stock.order
        self._owner = stock.owners
        self.held = selected.held
        self.ids = [solvable.id for solvable in selected.kept]
        self.by_name: dict[str, list[int]] = defaultdict(list)
        for solvable in selected.kept:
            self.by_name[solvable.name].append(solvable.id)
        self.gated = self._gated_builds()
        self.obsoleters = self._obsoleters(set(self.ids))

    def nevra(self, number: int) -> Nevra:
        """The package of an id."""
        return self.stock.nevra(number)

    def repository(self, number: int) -> Repository:
        """The repository of an id; KeyError for an installed package."""
        return self._owner[number]

    def owner(self, number: int) -> Repository | None:
        """The repository of an id, None for an installed package."""
        return self._owner.get(number)

    def hidden(self, name: str) -> list[tuple[Nevra, Repository]]:
        """Packages of this name that are in a repository but may not be used; for errors only, it looks at every package."""
        usable = set(self.ids)
        numbers = (number for number in self._owner if number not in usable and self.pool.id2solvable(number).name == name)
        return sorted(((self.nevra(number), self._owner[number]) for number in numbers), key=lambda entry: (entry[0], entry[1].id))

    def held_back(self, installed: Iterable[Nevra]) -> list[tuple[Nevra, str]]:
        """What would be newer than an installed package and may not be used because of the image itself: the newest of each name and reason."""
        found: dict[tuple[str, str, str], list[Nevra]] = defaultdict(list)
        by_name: dict[str, list[Nevra]] = defaultdict(list)
        for nevra in installed:
            by_name[nevra.name].append(nevra)
        for number, reason in self.held.items():
            nevra = self.nevra(number)
            own = [other for other in by_name.get(nevra.name, ()) if _arch_fits(nevra.arch, other.arch)]
            if own and (self._owner[number].gated or all(self.order.compare(nevra.full_evr, other.full_evr) > 0 for other in own)):
                found[nevra.name, nevra.arch, reason].append(nevra)
        return sorted((self.order.newest(nevras), reason) for (_, _, reason), nevras in found.items())

    def build_time(self, number: int) -> int:
        """Seconds since the epoch, 0 where the metadata does not say."""
        return int(self.pool.id2solvable(number).lookup_num(solv.SOLVABLE_BUILDTIME))

    def newer(self, installed: Nevra) -> list[int]:
        """Builds of the same name that are newer, for the same architecture or where one of both is noarch."""
        return [
            number
            for number in self.by_name.get(installed.name, ())
            if _arch_fits(self.nevra(number).arch, installed.arch) and self.order.compare(self.nevra(number).full_evr, installed.full_evr) > 0
        ]

    def obsoleting(self, targets: Iterable[Nevra]) -> list[int]:
        """Packages that obsolete one of these packages, other than by being a build of the same name."""
        found = []
        for target in targets:
            for number, dependency in self.obsoleters.get(target.name, ()):
                if self.nevra(number).name != target.name and meets(self.order, target, dependency):
                    found.append(number)
        return found

    def _gated_builds(self) -> dict[str, dict[str, int]]:
        """Name → architecture → the newest gated build."""
        found: dict[str, dict[str, int]] = {}
        for name, numbers in self.by_name.items():
            builds: dict[str, list[int]] = defaultdict(list)
            for number in numbers:
                if self._owner[number].gated:
                    builds[self.nevra(number).arch].append(number)
            for arch, candidates in builds.items():
                newest = self.order.newest(self.nevra(candidate) for candidate in candidates)
                found.setdefault(name, {})[arch] = next(candidate for candidate in candidates if self.nevra(candidate) == newest)
        return found

    def _obsoleters(self, usable: set[int]) -> dict[str, list[tuple[int, str]]]:
        """Obsoleted name → (package, the obsoletes dependency as text)."""
        found: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for number in usable:
            for dependency in self.pool.id2solvable(number).lookup_deparray(solv.SOLVABLE_OBSOLETES):
                text = str(dependency)
                found[text.partition(" ")[0]].append((number, text))
        for entries in found.values():
            entries.sort()
        return found


def meets(order: Order, package: Nevra, dependency: str) -> bool:
    """Whether a package is one that ``name [operator [epoch:]version[-release]]`` names; what the dependency leaves out is not compared."""
    words = dependency.split()
    if len(words) != 3:
        return len(words) == 1
    evr = package.full_evr if "-" in words[2] else f"{package.epoch}:{package.version}"
    comparison = order.compare(evr, words[2])
    return (comparison < 0 and "<" in words[1]) or (comparison > 0 and ">" in words[1]) or (comparison == 0 and "=" in words[1])


def _arch_fits(new: str, installed: str) -> bool:
    return new == installed or "noarch" in (new, installed)
