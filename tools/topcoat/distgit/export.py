"""The content of a dist-git: for each image its Containerfile, its files, ``container.yaml``, and the build order of all.

This module must never write anything that depends on the machine, the day or the order of a directory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from topcoat.containerfile import Fingerprint, base_reference, fingerprints, render, write_context
from topcoat.errors import ContentError, UsageError
from topcoat.model import Profile, Recipe, ancestry

ORDER_FILE = "build-order.json"


@dataclass(frozen=True)
class ExportOptions:
    """What the exported files say."""

    tag: str
    """Tag of the parents in FROM."""
    component: str = "{image}-container"
    """Value of the label com.redhat.component; ``{image}`` is the image's name."""
    required_labels: bool = True
    """The labels that build systems ask for: name, version, com.redhat.component. Without them the image equals a direct build bit for bit."""
    labels: tuple[tuple[str, str], ...] = ()


def image_labels(recipe: Recipe, profile: Profile, options: ExportOptions) -> dict[str, str]:
    """Labels of an exported image beside its own; ``release`` is left to the build system, which counts it."""
    labels = dict(options.labels)
    if options.required_labels:
        labels = {
            "com.redhat.component": options.component.replace("{image}", recipe.name),
            "name": profile.repository_of(recipe.name),
            "version": profile.release,
            **labels,
        }
    return labels


def container_yaml(profile: Profile) -> str:
    """``container.yaml`` as OSBS-like systems read it: the platforms to build for, and the build method that knows heredocs and ARG."""
    return "---\n" + yaml.safe_dump({"image_build_method": "imagebuilder", "platforms": {"only": [profile.arch]}}, sort_keys=True)


def build_order(
    recipes: Mapping[str, Recipe], names: Sequence[str], prints: Mapping[str, Fingerprint], profile: Profile, options: ExportOptions
) -> str:
    """The build order as JSON: ``levels`` (what may be built side by side), and each image's parent and fingerprint."""
    level = ancestry.depths({name: recipes[name] for name in names})
    levels: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for name in sorted(level):
        levels[level[name]].append(name)
    images = {
        name: {
            "parent": recipes[name].parent,
            "family": recipes[name].family,
            "class": recipes[name].image_class,
            "repository": profile.repository_of(name),
            "fingerprint": prints[name].total,
        }
        for name in sorted(level)
    }
    document = {"schema": 1, "profile": profile.name, "base": base_reference(profile), "tag": options.tag, "levels": levels, "images": images}
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def write_image(recipe: Recipe, profile: Profile, options: ExportOptions, folder: Path) -> None:
    """Write one image's folder; it must not exist, so that nothing old stays in it.

    :raises ContentError: a copied directory has a mode that git does not keep.
    """
    for copy in recipe.copies:
        if copy.source.is_dir() and copy.mode not in (None, 0o644, 0o755):
            raise ContentError(
                f"git does not keep the mode {copy.mode:04o} of the files in {copy.source.name}",
                image=recipe.name,
                next_step="copy them one by one, or set their mode in a step",
            )
    if folder.exists():
        raise UsageError(f"{folder} exists", next_step="this is a defect of the caller")
    parent = f"{profile.registry}/{profile.repository_of(recipe.parent)}:{options.tag}" if recipe.parent else base_reference(profile, recipe)
    rendered = render(recipe, parent_reference=parent, profile=profile, labels=image_labels(recipe, profile, options))
    write_context(rendered, folder)
    (folder / "container.yaml").write_text(container_yaml(profile), encoding="utf-8")


def order_of(recipes: Mapping[str, Recipe], names: Sequence[str], profile: Profile, options: ExportOptions) -> str:
    """The build order of a selection."""
    return build_order(recipes, names, fingerprints(recipes, profile), profile, options)
