"""What ``verify`` and ``sizes`` are asked about: full references, or names of recipes that stand for the profile's images.

This module must never contact a registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topcoat.model import ancestry
from topcoat.model.image import ImageReference
from topcoat.model.profile import Profile
from topcoat.model.recipe import Recipe
from topcoat.recipes import Selection


@dataclass(frozen=True)
class ImageToInspect:
    """One image: its name (the recipe's where it is known), where it is, and where its reference image is."""

    name: str
    reference: ImageReference
    recipe: Recipe | None
    before: ImageReference | None


def targets(words: Sequence[str], *, recipes: Mapping[str, Recipe], profile: Profile, tag: str, before: str | None = None) -> list[ImageToInspect]:
    """Turn arguments into images.

    :param words: references (they hold a slash) or regular expressions for recipe names; none means every recipe.
    :param tag: tag of the images that are named by recipe.
    :param before: tag of the reference images; None: the profile's.
    :raises UsageError: a reference outside the grammar, or nothing matches.
    """
    found: list[ImageToInspect] = []
    for word in words:
        if "/" in word:
            reference = ImageReference.parse(word)
            last = reference.repository.rpartition("/")[2]
            name = last.removeprefix(profile.prefix).removesuffix(profile.suffix)
            earlier = reference.with_tag(before) if before else None
            found.append(ImageToInspect(name if name in recipes else last, reference, recipes.get(name), earlier))
    patterns = [word for word in words if "/" not in word]
    for name in Selection(tuple(patterns), with_parents=False).of(recipes) if patterns or not words else ():
        reference = ImageReference(profile.registry, profile.repository_of(name), tag)
        host = profile.reference_registry or profile.registry
        earlier = ImageReference(host, profile.reference_repository_of(name), before or profile.reference_tag)
        found.append(ImageToInspect(name, reference, recipes[name], earlier))
    return found


def ancestors(recipe: Recipe, recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """The recipes that one starts from, nearest first."""
    return [recipes[name] for name in ancestry.above(recipe.name, recipes)]
