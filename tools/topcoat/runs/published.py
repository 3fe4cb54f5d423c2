"""What became of one image, while the run goes on.

This module must never contact anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from topcoat.model import Digest, LayerSize, Nevra, PackageChange
from topcoat.runs.references import StoredImage


@dataclass(frozen=True)
class ImageOutcome:
    """A published image: where it is, what it holds, how it came about."""

    stored: StoredImage
    packages: frozenset[Nevra]
    base_digest: Digest | None
    method: str
    """``containerfile``, ``direct``, ``transaction``, ``composed``, ``tag``, or ``found`` (the registry held it, byte for byte)."""
    changes: tuple[PackageChange, ...] = ()
    inventory: Digest | None = None
    bytes_pushed: int = 0
    bytes_mounted: int = 0
    layers: tuple[LayerSize, ...] = ()
    stages: tuple[tuple[str, float, float], ...] = field(default=())
    signers: Mapping[str, int] = field(default_factory=dict)
    """Key id → how many packages carry a signature of it; the empty id: unsigned."""
    unsigned: frozenset[Nevra] = frozenset()
    """The packages without signature."""
    fallback: str = ""
    """Why an update that might have been composed was made by a transaction."""
