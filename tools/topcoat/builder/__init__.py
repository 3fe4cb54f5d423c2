"""From a recipe to an image: the Containerfile through buildah, or directly by package transactions from the host.

This room must never publish and never decide what to build.
"""

from topcoat.builder.buildah import Buildah
from topcoat.builder.builder import Builder
from topcoat.builder.direct import DirectBuilder, refusal

__all__ = ["Buildah", "Builder", "DirectBuilder", "refusal"]
