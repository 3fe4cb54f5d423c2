"""The four ways of making an image: built from a recipe through buildah or directly, updated by a package transaction or composed without the image.

This room must never publish, and never decide what to make: a plan did, and it is a promise.
"""

from topcoat.builder.buildah import Buildah
from topcoat.builder.builder import Builder
from topcoat.builder.direct import DirectBuilder, refusal
from topcoat.builder.synthesiser import Known, Synthesiser
from topcoat.builder.updater import Updater

__all__ = ["Buildah", "Builder", "DirectBuilder", "Known", "Synthesiser", "Updater", "refusal"]
