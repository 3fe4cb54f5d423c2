"""What a shell completes beside options: names of images, families and profiles of the tree that the command line names.

This module must never print, and never fail: a tree that cannot be read completes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from topcoat.model import Recipe


def images(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of images."""
    return _starting(incomplete, _recipes(context))


def families(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of families."""
    return _starting(incomplete, {recipe.family for recipe in _recipes(context).values()})


def profiles(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the tree's profiles."""
    return _starting(incomplete, (path.stem for path in (_root(context) / "profiles").glob("*.yaml")))


def sets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of promoted sets that every site has: the profile's floating tag, and the set before it."""
    from topcoat.errors import TopcoatError
    from topcoat.recipes import load_profile

    options = context.find_root().params
    try:
        profile = load_profile(str(options.get("profile") or "demo"), root=_root(context), variables={}, fallback={"registry": "r", "namespace": "n"})
        tag = profile.reference_tag
    except (TopcoatError, OSError):
        tag = "current-passed-ci"
    return _starting(incomplete, (tag, f"{tag}.previous"))


def _recipes(context: click.Context) -> dict[str, Recipe]:
    from topcoat.errors import TopcoatError
    from topcoat.recipes import load_recipes

    try:
        return load_recipes(_root(context), variables={})
    except (TopcoatError, OSError):
        return {}


def _root(context: click.Context) -> Path:
    return Path(context.find_root().params.get("recipes") or "container-images")


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
