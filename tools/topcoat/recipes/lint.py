"""Mistakes of a valid tree that a build would not notice: redundant packages, images that start nothing, files that nobody copies.

This module must never raise; it adds to the problems it is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from topcoat.model import ancestry
from topcoat.model.recipe import Condition, Recipe
from topcoat.recipes.reading import Problems

_INSTALLS = re.compile(r"\b(?:dnf|yum|microdnf|rpm)\b.*\b(?:install|-i|-U|-Uvh|-ivh|update|upgrade)\b")


def lint_recipes(recipes: Mapping[str, Recipe], root: Path, problems: Problems) -> None:
    """Check a loaded tree.

    - a package that an ancestor installs under the same or no condition is redundant;
    - an image that people deploy (a leaf that is not internal) has an entrypoint, of its own or inherited; what stands on an adopted image may have
      one that nobody here reads;
    - packages are installed by ``packages``, never by a ``run`` step, which would leave caches and logs in the layer;
    - every file under ``files/`` is copied by a recipe.

    A recipe that asks for the network is noted: its build reaches whatever the machine reaches.
    """
    parents = {recipe.parent for recipe in recipes.values()}
    installs = {name: {(package.name, package.when) for package in recipe.packages} for name, recipe in recipes.items()}
    for name, recipe in recipes.items():
        above = [recipes[one] for one in ancestry.above(name, recipes)]
        for package in recipe.packages:
            for ancestor in above:
                if not installs[ancestor.name].isdisjoint(((package.name, package.when), (package.name, Condition()))):
                    problems.add(recipe.where, f"package {package.name!r} is already installed by {ancestor.name!r}", "remove it here", image=name)
        made_here = not any(one.adopted for one in (recipe, *above))
        if made_here and name not in parents and not recipe.internal and not any(one.entrypoint for one in (recipe, *above)):
            problems.add(recipe.where, "has no entrypoint", "add 'entrypoint: [/usr/bin/<service>]', or mark it 'internal: true'", image=name)
        if recipe.wants_network:
            problems.notes.append(f"{recipe.where}: {name} asks for the machine's network while it is built")
        for step in recipe.steps:
            if _INSTALLS.search(step.run):
                problems.add(
                    recipe.where, f"a run step installs packages: {step.run.splitlines()[0][:60]!r}", "list them under 'packages'", image=name
                )
    copied = [copy.source for recipe in recipes.values() for copy in recipe.copies]
    files = root / "files"
    for path in sorted(files.rglob("*")) if files.is_dir() else ():
        absolute = path.absolute()
        if path.is_file() and not any(absolute == source or absolute.is_relative_to(source) for source in copied):
            problems.add(str(path), "is copied by no recipe", "remove it, or add it to a 'copy'")
