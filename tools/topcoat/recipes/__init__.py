"""Load and check recipe trees, native and tcib, and the profiles that they are built for.

This room must never run anything that a recipe says, never write, and never accept half a tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.model.recipe import Recipe
from topcoat.recipes.applying import apply_profile
from topcoat.recipes.profiles import load_profile
from topcoat.recipes.selection import Selection
from topcoat.recipes.tree import load_tree

__all__ = ["Selection", "apply_profile", "detect_format", "load_profile", "load_recipes", "load_tcib", "load_tree"]


def load_tcib(root: Path, *, variables: Mapping[str, str], extra_config: Path | None = None) -> dict[str, Recipe]:
    """Load a tree of tcib directories; imported late because it needs a template engine that native trees never do."""
    from topcoat.recipes.tcib import load_tcib as load

    return load(root, variables=variables, extra_config=extra_config)


def detect_format(root: Path) -> str:
    """``native`` or ``tcib``, by what lies in the directory; what is neither counts as native, whose errors say what is missing.

    :raises UsageError: it is no directory.
    """
    if not root.is_dir():
        raise UsageError("is not a directory", where=str(root), next_step="give the recipe tree with --recipes")
    base = root / "base.yaml"
    if base.is_file() and b"\ntcib_" in b"\n" + base.read_bytes()[: 1 << 16]:
        return "tcib"
    native = base.exists() or any((root / name).exists() for name in ("users.yaml", "openstack", "infra"))
    return "native" if native or not any(root.rglob("*.y*ml")) else "tcib"


def load_recipes(root: Path, *, recipe_format: str = "auto", variables: Mapping[str, str], extra_config: Path | None = None) -> dict[str, Recipe]:
    """Load a tree in either syntax.

    :param recipe_format: ``native``, ``tcib`` or ``auto`` (a tree with base.yaml, openstack/ or infra/ at its top is native).
    :param variables: for tcib trees, the values whose names start with ``tcib_``.
    :param extra_config: for tcib trees, a file of variables for every image.
    :raises UsageError: the first problem, with file and line.
    """
    if recipe_format == "auto":
        recipe_format = detect_format(root)
    if recipe_format == "tcib":
        return load_tcib(root, variables=variables, extra_config=extra_config)
    if extra_config is not None:
        raise UsageError("--extra-config is for tcib trees, this one is not", where=str(root), next_step="use an override of the profile")
    return load_tree(root)
