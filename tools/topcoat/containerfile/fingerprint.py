"""What an image is made of, as one hash: the same fingerprint means that building again is useless.

This module must never let the place of the checkout, the registry, a tag or a parent's digest into a fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.containerfile.render import SOURCE_DATE_EPOCH, render
from topcoat.containerfile.rendered import Rendered
from topcoat.model import ancestry
from topcoat.model.profile import Profile
from topcoat.model.recipe import Recipe

SCHEME = "1"
"""Goes into every hash: raise it when the same recipe must count as changed because we write other Containerfiles."""


@dataclass(frozen=True)
class Fingerprint:
    """``total`` is ``sha256:`` and 64 hex digits; ``parts`` say what it is made of, so that a difference can be explained.

    The parts are ``containerfile``, ``files`` and ``arguments`` (16 hex digits each) and ``parent`` (the parent's total, or the base's digest);
    an adopted image has ``adopted`` alone.
    """

    total: str
    parts: Mapping[str, str] = field(hash=False)

    def compact(self) -> str:
        """``parts`` as compact JSON, for the image label."""
        return json.dumps(dict(self.parts), sort_keys=True, separators=(",", ":"))


def fingerprint(recipe: Recipe, *, profile: Profile, parent: Fingerprint | None) -> Fingerprint:
    """Fingerprint of a recipe to which a profile was applied.

    :param parent: fingerprint of the parent image; None for a root, whose parent is the digest of the profile's base image, or the name of its own.
    """
    if recipe.adopted:
        # There is nothing to build: only another image from its maker, where that is pinned, is a reason to build what stands on it.
        parts = {"adopted": recipe.origin.partition("@")[2] or recipe.name}
        return Fingerprint(f"sha256:{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}", parts)
    rendered = render(recipe, parent_reference="parent", profile=profile, labels={})
    # Only where it differs from what images were before there was a choice: nothing else is built again.
    own_format = profile.image_format if profile.image_format != "auto" else "docker" if recipe.healthcheck else ""
    arguments = json.dumps([SCHEME, profile.arch, profile.distro, profile.release, SOURCE_DATE_EPOCH, *([own_format] if own_format else [])])
    base = recipe.own_base or profile.base.digest or f"unpinned:{profile.base.image.partition('/')[2] or profile.base.image}"
    parts = {
        "containerfile": _hash(rendered.containerfile.encode()),
        "files": _files(rendered, recipe),
        "arguments": _hash(arguments.encode()),
        "parent": parent.total if parent is not None else base,
    }
    total = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Fingerprint(f"sha256:{total}", parts)


def fingerprints(recipes: Mapping[str, Recipe], profile: Profile) -> dict[str, Fingerprint]:
    """The fingerprint of every recipe of a tree."""
    found: dict[str, Fingerprint] = {}
    for name in ancestry.depths(recipes):
        parent = recipes[name].parent
        found[name] = fingerprint(recipes[name], profile=profile, parent=found[parent] if parent is not None else None)
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _files(rendered: Rendered, recipe: Recipe) -> str:
    """Hash over path, mode and content of every file of the context."""
    digest = hashlib.sha256()
    for inside, source, mode in sorted(rendered.files, key=lambda file: file[0]):
        content = str(Path(source).readlink()).encode() if mode is None else Path(source).read_bytes()
        head = f"{inside}\0{'link' if mode is None else oct(mode)}\0{len(content)}\0"
        digest.update(head.encode())
        digest.update(content)
    return digest.hexdigest()[:16]
