"""Which images a command means: by regex, family and class, with or without their parents.

This module must never return an empty selection: a filter that fits nothing is an error, not a quick success.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from topcoat.documents.expressions import expression
from topcoat.errors import UsageError
from topcoat.model import ancestry
from topcoat.model.recipe import Recipe
from topcoat.recipes.reading import nearest

_NO_RECIPE = "write the recipe, take it out of the list, or exclude it (--exclude)"


@dataclass(frozen=True)
class Selection:
    """What a person or a job chose; nothing chosen means every image."""

    patterns: tuple[str, ...] = ()
    """Regular expressions, searched in the name (anchor with ``^`` and ``$``); none means all."""
    families: tuple[str, ...] = ()
    """Only images of these families."""
    classes: tuple[str, ...] = ()
    """Only images of these classes."""
    exclude: tuple[str, ...] = ()
    """Regular expressions, searched in the name, of images to leave out."""
    listed: tuple[str, ...] | None = None
    """Only these images, by their whole names; each must exist, unless it is excluded."""
    with_parents: bool = True
    """Add every ancestor of a selected image."""

    @property
    def is_everything(self) -> bool:
        """Whether nothing was chosen."""
        return self == Selection()

    def of(self, recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
        """Names of the images meant, parents first.

        :param recipes: those that exist for the profile.
        :raises UsageError: nothing is selected, a pattern or word fits no image, or an excluded image is the parent of a selected one.
        """
        names = list(recipes)
        wanted = self._by_name(names)
        for label, words, attribute in (("family", self.families, "family"), ("class", self.classes, "image_class")):
            known = {getattr(recipe, attribute) for recipe in recipes.values()}
            for word in words:
                if word not in known:
                    raise UsageError(f"no image of {label} {word!r}{nearest(word, known)}", next_step=f"known: {', '.join(sorted(known))}")
            if words:
                wanted = {name for name in wanted if getattr(recipes[name], attribute) in words}
        excluded = [expression(pattern) for pattern in self.exclude]
        out = {name for name in names if any(pattern.search(name) for pattern in excluded)}
        if self.listed is not None:
            for name in self.listed:
                if name not in recipes and not any(pattern.search(name) for pattern in excluded):
                    raise UsageError(f"the list names an image without a recipe: {name!r}{nearest(name, names)}", next_step=_NO_RECIPE)
            wanted &= set(self.listed)
        wanted -= out
        if self.with_parents:
            wanted |= _ancestors(recipes, wanted, out)
        if not wanted:
            raise UsageError("the selection is empty", next_step="widen the patterns, families, classes or exclusions")
        return tuple(sorted(wanted, key=lambda name: _chain(recipes, name)))

    def with_recipe(self, recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
        """Those of the images meant that have a recipe to write down, parents first.

        :raises UsageError: all of them are adopted; else see ``of``.
        """
        names = self.of(recipes)
        found = tuple(name for name in names if not recipes[name].adopted)
        if not found:
            what = f"{names[0]} is" if len(names) == 1 else f"all {len(names)} images are"
            raise UsageError(f"{what} adopted: there is no recipe to write down", next_step="ask whoever builds them")
        return found

    def _by_name(self, names: list[str]) -> set[str]:
        if not self.patterns:
            return set(names)
        wanted: set[str] = set()
        for pattern in self.patterns:
            wanted_names = expression(pattern)
            found = {name for name in names if wanted_names.search(name)}
            if not found:
                raise UsageError(f"no image matches {pattern!r}{nearest(pattern, names)}", next_step="'topcoat list' shows the names")
            wanted |= found
        return wanted


def _ancestors(recipes: Mapping[str, Recipe], wanted: Iterable[str], out: set[str]) -> set[str]:
    """Everything that the wanted images start from; UsageError when that was excluded."""
    found: set[str] = set()
    for name in sorted(wanted):
        for ancestor in _chain(recipes, name)[:-1]:
            if ancestor in out:
                raise UsageError(f"{ancestor!r} is excluded, but {name!r} starts from it", next_step="exclude its children too, or skip parents")
            found.add(ancestor)
    return found


def _chain(recipes: Mapping[str, Recipe], name: str) -> tuple[str, ...]:
    """The image and everything it starts from, root first; sorting by it puts parents first and keeps subtrees together."""
    return ancestry.chain(name, recipes)[::-1]
