"""What a build or an update hands to the publisher.

This module must never do anything but look at the clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from topcoat.layers.writer import Layer
from topcoat.model import PackageChange
from topcoat.registry.oci import Image
from topcoat.rpm.inventory import Inventory


@dataclass(frozen=True)
class BuiltImage:
    """An image that is ready to be published: its layers are in the registry of its base, but for the new ones."""

    image: Image
    layers: tuple[Layer, ...]
    """The new layers, lowest first, the package database last; none when nothing changed (then ``image`` is what it was made from)."""
    inventory: Inventory | None = field(repr=False)
    """Packages of the result; None when nothing changed."""
    changes: tuple[PackageChange, ...] = ()
    """What really changed in the package database, sorted."""
    method: str = ""
    """``transaction``, ``composed``, ``containerfile`` or ``direct`` (the receipt says so)."""
    stages: tuple[tuple[str, float, float], ...] = ()
    """(stage, start, end), seconds since the epoch: where the time went."""
    sketch: bytes | None = field(default=None, repr=False)
    """Of a build: the document from which, with the package database, its tree comes again (``topcoat.synthesis.sketch``)."""
    fallback: str = ""
    """Why an update that might have been composed was made by a transaction."""


def note_stage(stages: list[tuple[str, float, float]], name: str, start: float) -> float:
    """Add a stage that began at ``start`` and ends now; the moment, which is the start of the next one (seconds since the epoch)."""
    end = time.time()
    stages.append((name, start, end))
    return end
