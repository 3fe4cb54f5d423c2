"""Which images a command means: by regex, family and class, with or without their parents.

This module must never return an empty selection: a filter that fits nothing is an error, not a quick success.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from topcoat.errors import UsageError
from topcoat.model.recipe import Recipe
from topcoat.recipes.reading import nearest


def select(
    recipes: Mapping[str, Recipe],
    patterns: Sequence[str] = (),
    *,
    families: Sequence[str] = (),
    classes: Sequence[str] = (),
    exclude: Sequence[str] = (),
    with_parents: bool = True,
) -> tuple[str, ...]:
    """Names of the images meant, parents first.

    :param patterns: regular expressions, searched in the name (anchor with ``^`` and ``$``); none means all.
    :param families: only images of these families. :param classes: only images of these classes.
    :param exclude: regular expressions, searched in the name, of images to leave out.
    :param with_parents: add every ancestor of a selected image.
    :raises UsageError: nothing is selected, a pattern or word fits no image, or an excluded image is the parent of a selected one.
    """
    names = list(recipes)
    wanted: set[str] = set()
    for pattern in patterns:
        expression = _compile(pattern)
        found = {name for name in names if expression.search(name)}
        if not found:
            raise UsageError(f"no image matches {pattern!r}{nearest(pattern, names)}", next_step="'topcoat list' shows the names")
        wanted |= found
    if not patterns:
        wanted = set(names)
    for words, attribute in ((families, "family"), (classes, "image_class")):
        known = {getattr(recipe, attribute) for recipe in recipes.values()}
        for word in words:
            if word not in known:
                label = "class" if attribute == "image_class" else attribute
                raise UsageError(f"no image of {label} {word!r}{nearest(word, known)}", next_step=f"known: {', '.join(sorted(known))}")
        if words:
            wanted = {name for name in wanted if getattr(recipes[name], attribute) in words}
    out = {name for pattern in exclude for name in names if _compile(pattern).search(name)}
    wanted -= out
    if with_parents:
        for name in sorted(wanted):
            for ancestor in _chain(recipes, name)[:-1]:
                if ancestor in out:
                    raise UsageError(f"{ancestor!r} is excluded, but {name!r} starts from it", next_step="exclude its children too, or skip parents")
                wanted.add(ancestor)
    if not wanted:
        raise UsageError("the selection is empty", next_step="widen the patterns, families, classes or exclusions")
    return tuple(sorted(wanted, key=lambda name: _chain(recipes, name)))


def _chain(recipes: Mapping[str, Recipe], name: str) -> tuple[str, ...]:
    """The image and everything it starts from, root first; sorting by it puts parents first and keeps subtrees together."""
    chain = [name]
    parent = recipes[name].parent
    while parent is not None and parent in recipes:
        chain.append(parent)
        parent = recipes[parent].parent
    return tuple(reversed(chain))


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"not a regular expression: {pattern!r} ({error})", next_step="quote special characters with a backslash") from error
