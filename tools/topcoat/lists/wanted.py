"""Which images of the tree a site has, where its profile names an image list.

This module must never leave out in silence what the list names and the tree has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.lists.template import load_template
from topcoat.model.profile import WantedImages
from topcoat.model.recipe import Recipe
from topcoat.recipes import Selection


def wanted(recipes: Mapping[str, Recipe], choice: WantedImages | None, *, tree: Mapping[str, Recipe], root: Path) -> dict[str, Recipe]:
    """The recipes of a site, in the order of ``recipes``: those that its list names, and what they start from.

    :param recipes: those that exist for the profile. :param tree: all there are; what the profile drops by a condition may be listed.
    :param choice: None: every recipe.
    :raises UsageError: the list cannot be read, names an image without a recipe that is not excluded, or nothing is left.
    """
    if choice is None:
        return dict(recipes)
    names = load_template(choice.source, root=root).names(dict(choice.values))
    listed = tuple(name for name in names if name in recipes or name not in tree)
    try:
        chosen = frozenset(Selection(exclude=choice.exclude, listed=listed).of(recipes))
    except UsageError as error:
        error.where = error.where or choice.source
        error.next_step = "correct the list, or 'images' of the profile: its 'exclude' leaves entries out"
        raise
    return {name: recipe for name, recipe in recipes.items() if name in chosen}
