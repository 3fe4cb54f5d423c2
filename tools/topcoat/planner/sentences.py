"""The sentences of the plan, for people.

This module must never decide anything: the reason code beside a sentence does.
"""

from __future__ import annotations

from collections.abc import Iterable

from topcoat.model import Nevra, PackageChange, PlannedImage, Reason

_NAMES = {"containerfile": "its Containerfile", "arguments": "its build arguments"}


def parent_is_built(parent: PlannedImage) -> str:
    """Why a child of an image that is built anew is built as well."""
    if parent.reason is Reason.NEW_IMAGE:
        return f"its parent {parent.name} is new"
    return f"its parent {parent.name} is built ({parent.reason.code})"


def recipe_changed(differing: Iterable[str]) -> str:
    """Which parts of the recipe differ from the reference's."""
    parts = [text for key, text in _NAMES.items() if key in set(differing)]
    return f"{' and '.join(parts)} {'differ' if len(parts) > 1 else 'differs'} from the reference image's"


def changed_packages(changes: tuple[PackageChange, ...], gated: frozenset[Nevra]) -> str:
    """The most telling change of an update and how many there are beside it, as in
    ``openstack-nova-compute 1:28.0.0-1 -> 1:28.0.0-2 from gating, and 3 more``.
    """
    first = min(changes, key=lambda change: (change.new not in gated, change.old is None, change.new is None, change.name, change.key))
    text = f"{first.name} (built again) {first.new.evr}" if first.new and first.old == first.new else str(first)
    if first.repository:
        text += f" from {first.repository}"
    return f"{text}, and {len(changes) - 1} more" if len(changes) > 1 else text


def held_back(held: tuple[str, ...]) -> str:
    """What the image keeps as it is although the repositories have something newer."""
    more = f", and {len(held) - 1} more" if len(held) > 1 else ""
    return f"held back: {held[0]}{more}"
