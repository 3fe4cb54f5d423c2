"""How much what nobody has reviewed may take on this machine: a transaction of packages with its scriptlets, the steps of a build, a spec file.

This module must never hold anything but numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Bounds:
    """The limits of one transaction or build; whoever runs into one ends with an error of the content."""

    seconds: float = 600.0
    processes: int = 4096
    memory: int = 8 << 30
    """Bytes that all its processes have together."""
    disk: int = 8 << 30
    """Bytes that it may write, and the size of its largest file."""
    files: int = 2_000_000
    """Files and directories that it may make."""
    output: int = 64 << 20
    """Bytes of what it prints that are kept; the rest is left out."""

    def as_dict(self) -> dict[str, float]:
        """For the program that holds it to them."""
        return asdict(self)
