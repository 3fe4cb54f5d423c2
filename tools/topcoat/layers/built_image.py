"""What a build or an update hands to the publisher.

This module must never do anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from topcoat.layers.writer import Layer
from topcoat.model import PackageChange
from topcoat.registry.oci import Image
from topcoat.rpm.inventory import Inventory


@dataclass(frozen=True)
class BuiltImage:
    """An image that is ready to be published: its layers are in the registry of its base, but for the new one."""

    image: Image
    layer: Layer | None
    """The one new layer; None when nothing changed (then ``image`` is what it was made from)."""
    inventory: Inventory | None = field(repr=False)
    """Packages of the result; None when nothing changed."""
    changes: tuple[PackageChange, ...] = ()
    """What really changed in the package database, sorted."""
    method: str = ""
    """``transaction``, ``containerfile`` or ``direct`` (the receipt says so)."""
    stages: tuple[tuple[str, float, float], ...] = ()
    """(stage, start, end), seconds since the epoch: where the time went."""
