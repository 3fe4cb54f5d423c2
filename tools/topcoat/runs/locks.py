"""Whether a run takes the packages that the locks name: what an image holds beyond its base image is locked for its family, or for one below it.

This module must never pass an image whose family has no lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from topcoat.errors import ContentError, UsageError
from topcoat.model import Nevra, Plan, Recipe
from topcoat.model.ancestry import chain
from topcoat.yum import manifest

_NAMED = 5
"""Packages that an error names."""
_NEXT = "have the locks refreshed and reviewed ('topcoat lock'), or build without --locked"


class Locks:
    """The locks of a folder, a file a family, for images of one architecture. Never changes, so any thread may ask."""

    def __init__(self, folder: Path, recipes: Mapping[str, Recipe], names: Iterable[str], arch: str) -> None:
        """:raises UsageError: the folder is none, or lacks the lock of a family. :raises ContentError: a lock cannot be read."""
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder of locks", next_step="'topcoat lock' writes them")
        self._recipes = recipes
        self._builds: dict[str, dict[tuple[str, str], set[str]]] = {}
        for family in sorted({recipes[member].family for name in names for member in chain(name, recipes)}):
            path = folder / f"{family}.yaml"
            if not path.is_file():
                raise UsageError(f"{folder} has no lock of the family {family}", next_step="'topcoat lock' writes it")
            builds = self._builds[family] = {}
            for package in manifest.read(path).packages.get(arch, ()):
                builds.setdefault((package.nevra.name, package.nevra.arch), set()).add(package.nevra.full_evr)

    def drift(self, name: str, packages: Iterable[Nevra]) -> list[str]:
        """Of the packages that an image takes those that are not locked, as sentences.

        :param packages: what it holds and its base image does not.
        """
        families = {self._recipes[member].family for member in chain(name, self._recipes)}
        found = []
        for nevra in sorted(packages):
            locked = {evr for family in families for evr in self._builds[family].get((nevra.name, nevra.arch), ())}
            if nevra.full_evr not in locked:
                found.append(f"{nevra} ({'locked: ' + ', '.join(sorted(evr.removeprefix('0:') for evr in locked)) if locked else 'not locked'})")
        return found

    def require(self, name: str, packages: Iterable[Nevra]) -> None:
        """:raises ContentError: an image takes something else than what is locked."""
        found = self.drift(name, packages)
        if found:
            raise ContentError(f"{len(found)} package(s) are not as locked: {_some(found)}", image=name, next_step=_NEXT)

    def require_plan(self, plan: Plan) -> None:
        """The same for all updates of a plan at once, before any work: what the changes under test bring is not a matter of locks.

        :raises ContentError: an update would bring something else.
        """
        gated = set(plan.gated)
        found: dict[str, list[str]] = {}
        for image in plan.images:
            new = {change.new for change in image.changes if change.new}
            for sentence in self.drift(image.name, new - gated):
                found.setdefault(sentence, []).append(image.name)
        if found:
            lines = [f"{sentence} in {', '.join(images[:3])}{' and others' if len(images) > 3 else ''}" for sentence, images in sorted(found.items())]
            raise ContentError(f"{len(lines)} package(s) are not as locked: {_some(lines)}", next_step=_NEXT)


def _some(found: list[str]) -> str:
    return "; ".join(found[:_NAMED]) + (f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
