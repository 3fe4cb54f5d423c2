"""Every mistake of a recipe tree at once: recipes, profiles, image lists and criteria, and what only shows when they are seen together.

This module must never raise for a mistake in the tree; it collects.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.lists.entries import ListTemplate
from topcoat.lists.template import examine_template
from topcoat.lists.wanted import wanted
from topcoat.model.recipe import Recipe
from topcoat.recipes import apply_profile, detect_format
from topcoat.recipes.lint import lint_recipes
from topcoat.recipes.profiles import examine_profile
from topcoat.recipes.reading import Problems, nearest
from topcoat.recipes.tree import examine_tree
from topcoat.trunk import load_criteria


def lint(
    root: Path,
    *,
    recipe_format: str = "auto",
    variables: Mapping[str, str],
    today: datetime.date | None = None,
    extra_config: Path | None = None,
    profile: Path | None = None,
) -> Problems:
    """Check a whole tree.

    :param profile: one that lies elsewhere and is checked as those of the tree are.
    :param today: aliases that ended before this day are a problem; None: today (UTC).
    :returns: every problem found, in the order of files and lines; empty for a clean tree.
    """
    problems = Problems()
    if root.is_dir() and (recipe_format == "tcib" or (recipe_format == "auto" and detect_format(root) == "tcib")):
        from topcoat.recipes.tcib import examine_tcib  # late: only these trees need a template engine

        theirs, found_there = examine_tcib(root, variables=variables, extra_config=extra_config)
        _lint_profiles([profile] if profile else [], {} if found_there.found else theirs, root, found_there)
        _lint_criteria(root, found_there)
        return found_there
    recipes, found = examine_tree(root)
    problems.found += found.found
    if not found.found:
        lint_recipes(recipes, root, problems)
    if root.is_dir():
        own = _yaml_files(root / "profiles", problems)
        _lint_profiles([*own, *([profile] if profile and profile.resolve() not in [path.resolve() for path in own] else [])], recipes, root, problems)
        # A recipe that could not be read is missing from every list: said once, at its own line, it is enough.
        _lint_lists(root, {} if found.found else recipes, problems, today or datetime.datetime.now(datetime.UTC).date())
    _lint_criteria(root, problems)
    return problems


def _lint_criteria(root: Path, problems: Problems) -> None:
    for path in sorted((root / "criteria").glob("*.yaml")):
        try:
            load_criteria(path)
        except UsageError as error:
            problems.take(error)


def _yaml_files(folder: Path, problems: Problems) -> list[Path]:
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix == ".yaml" and path.is_file():
            found.append(path)
        elif not path.name.startswith("."):
            problems.add(str(path), "is not a YAML file", "name it <name>.yaml or move it away")
    return found


def _lint_profiles(paths: Iterable[Path], recipes: Mapping[str, Recipe], root: Path, problems: Problems) -> None:
    for path in paths:
        try:
            profile, found = examine_profile(path, {}, fill_missing=True)
            problems.found += found.found
            if recipes and not found.found:
                wanted(apply_profile(recipes, profile), profile.images, tree=recipes, root=root)
        except UsageError as error:
            problems.take(error)


def _lint_lists(root: Path, recipes: Mapping[str, Recipe], problems: Problems, today: datetime.date) -> None:
    for path in _yaml_files(root / "lists", problems):
        try:
            template, found = examine_template(path)
        except UsageError as error:
            problems.take(error)
            continue
        problems.found += found.found
        if recipes and not found.found:
            _closed_world(template, recipes, problems)
            _lint_aliases(template, recipes, problems, today)


def _closed_world(template: ListTemplate, recipes: Mapping[str, Recipe], problems: Problems) -> None:
    """Each entry has a recipe or is external; each recipe that is not internal is listed, unless the list is a selection."""
    listed = {entry.image for entry in template.entries if entry.image is not None}
    for entry in template.entries:
        if entry.image is None:
            continue
        if entry.image not in recipes:
            problems.add(
                entry.where, f"no recipe for image {entry.image!r}{nearest(entry.image, recipes)}", "write the recipe, or list it under 'external'"
            )
        elif recipes[entry.image].internal and not template.subset:
            problems.add(entry.where, f"image {entry.image!r} is internal", "remove 'internal: true' from its recipe, or this entry")
    for name, recipe in recipes.items():
        if name not in listed and not recipe.internal and not template.subset:
            problems.add(recipe.where, f"image {name!r} is not in the list {template.where}", "add an entry there, or mark it 'internal: true'")


def _lint_aliases(template: ListTemplate, recipes: Mapping[str, Recipe], problems: Problems, today: datetime.date) -> None:
    seen: dict[str, str] = {}
    for alias in template.aliases:
        if alias.image not in recipes:
            problems.add(alias.where, f"alias of unknown image {alias.image!r}{nearest(alias.image, recipes)}", "name an image of the tree")
        if alias.name in recipes:
            problems.add(alias.where, f"the alias {alias.name!r} is the name of an image", "remove the alias")
        if alias.name in seen:
            problems.add(alias.where, f"the alias {alias.name!r} is given twice (first at {seen[alias.name]})", "remove one")
        if alias.until < today:
            problems.add(alias.where, f"the alias {alias.name!r} ended on {alias.until.isoformat()}", "remove it")
        seen.setdefault(alias.name, alias.where)
