"""How a profile changes the recipes: what does not exist for it goes, what it adds comes.

This module must never look at anything but the recipes and the profile that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from topcoat.errors import UsageError
from topcoat.model import ancestry
from topcoat.model.profile import Profile
from topcoat.model.recipe import Package, Recipe, Step
from topcoat.recipes.reading import nearest


def apply_profile(recipes: Mapping[str, Recipe], profile: Profile) -> dict[str, Recipe]:
    """The recipes as this profile builds them.

    Images whose ``when`` does not hold are dropped (with everything that starts from them), conditions are evaluated and gone, the profile's
    labels and environment and its overrides are added (class first, then family, then image; what is nearer to the image wins).

    :raises UsageError: an override names no image, family or class, or only adopted ones; or something is built and the profile has no base.
    """
    known = {name for recipe in recipes.values() for name in _selectors(recipe)}
    built = [recipe for recipe in recipes.values() if not recipe.adopted]
    for recipe in built if not profile.base.image else ():
        if recipe.parent is None and recipe.own_base is None:
            raise UsageError(
                f"the profile {profile.name} has no base, and {recipe.name} starts from it",
                where=recipe.where or None,
                next_step="add 'base: {image: host/repository:tag, digest: sha256:...}' to the profile; only a tree of adopted images needs none",
            )
    takers = {name for recipe in built for name in _selectors(recipe)}
    for selector, values in profile.overrides:
        where = str(dict(values).get("where") or "") or None
        if selector not in known:
            raise UsageError(f"override of unknown {selector!r}{nearest(selector, known)}", where=where, next_step="name an image of the tree")
        if selector not in takers:
            raise UsageError(f"the override of {selector!r} has no effect: what it names is adopted", where=where, next_step="remove the override")
    target = {"arch": profile.arch, "distro": profile.distro, "release": profile.release}
    kept: dict[str, Recipe] = {}
    for name, recipe in recipes.items():
        if all(recipes[link].when.holds(**target) for link in ancestry.chain(name, recipes)):
            kept[name] = recipe if recipe.adopted else _applied(recipe, profile, target)
    return kept


def _applied(recipe: Recipe, profile: Profile, target: Mapping[str, str]) -> Recipe:
    packages = [Package(package.name) for package in recipe.packages if package.when.holds(**target)]
    steps = [Step(step.run, network=step.network) for step in recipe.steps if step.when.holds(**target)]
    copies = tuple(copy for copy in recipe.copies if copy.when.holds(**target))
    labels = {**dict(profile.labels), **dict(recipe.labels)}
    environment = dict(recipe.environment)
    if recipe.parent is None:
        environment = {**dict(profile.environment), **environment}
    overrides = [dict(values) for wanted in _selectors(recipe) for selector, values in profile.overrides if selector == wanted]
    for override in overrides:
        packages += [Package(package.name) for package in override.get("packages", ()) if package.when.holds(**target)]  # type: ignore[attr-defined]
        steps += [Step(step.run, network=step.network) for step in override.get("steps", ()) if step.when.holds(**target)]  # type: ignore[attr-defined]
        labels.update(override.get("labels", ()))  # type: ignore[call-overload]
        environment.update(override.get("environment", ()))  # type: ignore[call-overload]
    return replace(
        recipe,
        packages=tuple(dict.fromkeys(packages)),
        steps=tuple(steps),
        copies=copies,
        labels=tuple(sorted(labels.items())),
        environment=tuple(sorted(environment.items())),
        network=bool(next((override["network"] for override in reversed(overrides) if "network" in override), recipe.network)),
    )


def _selectors(recipe: Recipe) -> tuple[str, str, str]:
    """The words of a profile that mean a recipe, the nearest to it last."""
    return (f"class:{recipe.image_class}", f"family:{recipe.family}", recipe.name)
