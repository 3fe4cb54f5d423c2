"""Which of many thousand available packages can matter to one image, so that libsolv has to index only those.

This module must never leave out a package that the solver could take: when in doubt it is relevant.

A package that is not installed can come in only because it is asked for, has the name of an installed package, obsoletes one, or is required by a
package that is installed or comes in. Weak dependencies are off. So the closure over these steps is enough, whatever the solver decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import solv

from topcoat.rpm import solvfile
from topcoat.solver.available import Offer
from topcoat.yum import repositories
from topcoat.yum.repositories import Snapshot

_OPERATORS = frozenset({"and", "or", "if", "else", "with", "without", "unless", "<", "<=", "=", ">=", ">"})


class Relevance:
    """Closures over the requirements of an offer. Versions are not compared: any provider of a required name counts.

    It keeps a second pool, filled in the same order as the offer's, so that ids are the same in both; that pool never holds an installed package
    and is indexed once.
    """

    def __init__(self, offer: Offer, snapshot: Snapshot, arch: str) -> None:
        self._offer = offer
        self._pool = solvfile.new_pool(arch)
        self._filelists = solvfile.Filelists(self._pool)
        for frozen in snapshot.repositories:
            repositories.load(frozen, self._pool, self._filelists)
        self._paths = self._pool.add_repo("paths").add_solvable()
        self._asked_paths: set[str] = set()
        self._pool.set_considered_list([*offer.ids, self._paths.id])
        self._index()
        self._providers: dict[str, frozenset[int]] = {}
        self._successors: dict[int, frozenset[int]] = {}
        self._of_installed: dict[tuple[str, int], frozenset[int]] = {}

    def _index(self) -> None:
        self._pool.addfileprovides()
        self._filelists.check()
        self._pool.createwhatprovides()

    def of(self, installed: Iterable[solv.XSolvable]) -> set[int]:
        """Ids of all packages that can matter to an image with these packages, whatever is asked for by their names."""
        own = []
        fresh = []
        for solvable in installed:
            # The build time tells two builds of one version apart, which may require different things.
            key = (str(solvable), solvable.lookup_num(solv.SOLVABLE_BUILDTIME))
            own.append((key, solvable.name))
            if key not in self._of_installed:
                fresh.append((key, solvable))
        self._learn(fresh)
        found: set[int] = set()
        for key, name in own:
            found.update(self._of_installed[key], self._offer.by_name.get(name, ()), (number for number, _ in self._offer.obsoleters.get(name, ())))
        return self.closure(found)

    def closure(self, numbers: Iterable[int]) -> set[int]:
        """These packages and all that can come in through their requirements."""
        found = set(numbers)
        pending = list(found)
        while pending:
            number = pending.pop()
            more = self._successors.get(number)
            if more is None:
                required = self._pool.id2solvable(number).lookup_deparray(solv.SOLVABLE_REQUIRES)
                more = self._successors[number] = self._providing(str(dependency) for dependency in required)
            if not more <= found:
                pending += more - found
                found |= more
        return found

    def _learn(self, packages: list[tuple[tuple[str, int], solv.XSolvable]]) -> None:
        required = [(key, [str(dependency) for dependency in solvable.lookup_deparray(solv.SOLVABLE_REQUIRES)]) for key, solvable in packages]
        # A path that no available package requires is not in the index yet.
        paths = {name for _, texts in required for text in texts for name in names_in(text) if name.startswith("/")} - self._asked_paths
        if paths:
            for path in sorted(paths):
                self._paths.add_requires(self._pool.str2id(path))
            self._asked_paths |= paths
            self._index()
            for path in paths:
                self._providers.pop(path, None)
        for key, texts in required:
            self._of_installed[key] = self._providing(texts)

    def _providing(self, dependencies: Iterable[str]) -> frozenset[int]:
        found: set[int] = set()
        for text in dependencies:
            for name in names_in(text):
                providers = self._providers.get(name)
                if providers is None:
                    number = self._pool.str2id(name, False)
                    solvables = self._pool.whatprovides(number) if number else ()
                    providers = self._providers[name] = frozenset(solvable.id for solvable in solvables) - {self._paths.id}
                found |= providers
        return frozenset(found)


def names_in(dependency: str) -> list[str]:
    """The names of a dependency, without versions; of a rich one (``(a if b)``) all that occur in it, versions among them at worst."""
    if not dependency.startswith("("):
        return [dependency.partition(" ")[0]]
    names = []
    for word in dependency.split():
        name = word.lstrip("(")
        while name.endswith(")") and name.count(")") > name.count("("):
            name = name[:-1]
        if name and name not in _OPERATORS:
            names.append(name)
    return names
