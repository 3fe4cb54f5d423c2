"""How a package got into an image: which recipe of the chain asked for it, or which chain of requirements leads to it from one that was asked for.

This module must never guess: a chain is made of requirements that the installed packages really declare.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import solv

from topcoat.model import Recipe, ancestry
from topcoat.rpm import solvfile
from topcoat.rpm.inventory import Inventory


@dataclass(frozen=True)
class Origin:
    """``package`` is in the image because ``recipe`` installs ``chain[0]``, which requires ``chain[1]``, and so on to the package itself.

    ``recipe`` is None where the chain starts at a package that no recipe names: the base image brought it.
    """

    package: str
    recipe: str | None
    chain: tuple[str, ...]
    root: str = "the base image"
    """What holds ``chain[0]`` where no recipe names it."""

    def sentence(self) -> str:
        """For people."""
        asked = self.chain[0]
        start = f"recipe {self.recipe} installs {asked}" if self.recipe else f"{self.root} holds {asked}"
        return start + "".join(f", which requires {name}" for name in self.chain[1:])


def requested(recipes: Mapping[str, Recipe], image: str) -> dict[str, str]:
    """Package name → the recipe that asks for it, over an image and its ancestors; the one nearest to the root wins."""
    found: dict[str, str] = {}
    for name in reversed(ancestry.chain(image, recipes)):
        for package in recipes[name].packages:
            found.setdefault(package.name, name)
    return found


class Requirements:
    """Who requires whom among the installed packages of one image."""

    def __init__(self, inventory: Inventory, arch: str) -> None:
        pool = solvfile.new_pool(arch)
        repo = pool.add_repo("installed")
        solvfile.add_installed(repo, inventory.solv)
        pool.installed = repo
        pool.createwhatprovides()
        self.names = {solvable.name for solvable in repo.solvables_iter()}
        self._needs: dict[str, set[str]] = {}
        for solvable in repo.solvables_iter():
            kinds = (solv.SOLVABLE_REQUIRES, solv.SOLVABLE_RECOMMENDS)
            providers = {provider.name for kind in kinds for dep in solvable.lookup_deparray(kind) for provider in pool.whatprovides(dep)}
            self._needs.setdefault(solvable.name, set()).update(providers - {solvable.name})

    def needs(self, name: str) -> Sequence[str]:
        """Names that a package requires or recommends and that are installed, sorted."""
        return sorted(self._needs.get(name, ()))

    def chain(self, starts: Sequence[str], target: str) -> tuple[str, ...] | None:
        """The shortest chain of requirements from one of the starts to the target (ties by name), None when there is none."""
        queue: deque[tuple[str, ...]] = deque((name,) for name in starts if name in self.names)
        seen = {path[0] for path in queue}
        while queue:
            path = queue.popleft()
            if path[-1] == target:
                return path
            for name in self.needs(path[-1]):
                if name not in seen:
                    seen.add(name)
                    queue.append((*path, name))
        return None


def origin(package: str, recipes: Mapping[str, Recipe], image: str, requirements: Requirements) -> Origin:
    """Why a package that is installed in an image is there."""
    asked = requested(recipes, image)
    if package in asked:
        return Origin(package, asked[package], (package,))
    chain = requirements.chain(sorted(asked), package)
    if chain:
        return Origin(package, asked[chain[0]], chain)
    root = ancestry.chain(image, recipes)[-1]
    return Origin(package, None, (package,), f"the adopted image {root}" if recipes[root].adopted else "the base image")
