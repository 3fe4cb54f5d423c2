"""What the architectures of a set hold in different versions.

This module must never call an image that one of them does not have a difference of versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from topcoat.changes import ImageFacts, compare
from topcoat.model import Digest


@dataclass(frozen=True)
class Skew:
    """A source package that an architecture has in other versions than the first."""

    source: str
    first: str
    arch: str
    versions: tuple[tuple[str, ...], tuple[str, ...]]
    """Of both, ``[epoch:]version-release``."""
    images: tuple[str, ...]

    def __str__(self) -> str:
        """A sentence for people."""
        old, new = (" and ".join(side) for side in self.versions)
        return f"{self.source} is {old} for {self.first}, {new} for {self.arch}, in {count(self.images)}"


def skews(sides: Mapping[str, Mapping[str, ImageFacts]]) -> list[Skew]:
    """Every difference from the first architecture.

    :param sides: architecture -> image -> what it holds.
    """
    (first, own), *others = sides.items()
    found = []
    for arch, other in others:
        both = own.keys() & other.keys()
        # both may be known by the digest of their index: they are two images all the same
        theirs = {name: replace(other[name], digest=Digest(f"{arch} {other[name].digest}")) for name in both}
        for row in compare({name: own[name] for name in both}, theirs).rows:
            found += [
                Skew(row.source, first, arch, (move.old, move.new), move.images)
                for move in row.moves
                if move.old and move.new and move.old != move.new
            ]
    return found


def count(images: Sequence[str]) -> str:
    """How many images, or which."""
    return f"{len(images)} images" if len(images) != 1 else f"image {images[0]}"
