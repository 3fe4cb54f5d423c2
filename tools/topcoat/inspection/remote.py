"""Reads images of a registry for inspection: each manifest and each distinct layer once.

This module must never keep a layer; what is kept of it is the list of its files.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from typing import TypeVar

from topcoat.errors import ContentError
from topcoat.inspection.files import FileTree, LayerListing, merge, read_layer
from topcoat.model.image import Digest, ImageReference
from topcoat.process.each import each
from topcoat.registry import Descriptor, Image, NotFoundError, Registries
from topcoat.registry.streams import open_blob
from topcoat.rpm import installed, layerdb, rpmdb

_Result = TypeVar("_Result")


class RemoteImages:
    """Images by reference, with what was read of them."""

    def __init__(self, registries: Registries, platform: str, *, workers: int = 4) -> None:
        """:param platform: ``os/architecture`` that images are wanted for."""
        self._platform = platform
        self._registries = registries
        self._workers = workers
        self._listings: dict[Digest, LayerListing] = {}

    def image(self, reference: ImageReference) -> Image:
        """Configuration and layers.

        :raises ContentError: the registry does not hold it, or holds it for other platforms only.
        """
        found = self.optional(reference)
        if found is None:
            raise ContentError(f"{reference} does not exist", next_step="check name and tag, or publish it first")
        return found

    def optional(self, reference: ImageReference) -> Image | None:
        """The same, None when the registry does not hold it."""
        try:
            return self._registries.client(reference.host).image(reference.repository, reference.target, platform=self._platform)[1]
        except NotFoundError:
            return None

    def each(self, references: Iterable[ImageReference], work: Callable[[ImageReference], _Result]) -> list[_Result]:
        """Do something for every reference, a few at a time, results in order."""
        return each(references, work, workers=self._workers)

    def tree(self, reference: ImageReference, image: Image) -> FileTree:
        """The files of an image."""
        return merge([self._listing(reference, layer) for layer in image.layers])

    def owned(self, reference: ImageReference, image: Image, names: Collection[str]) -> frozenset[str]:
        """The files (absolute paths) of one of some names that packages brought, as the package database in the layers says.

        An image without package database has no packages. :raises ContentError: it has one that cannot be read.
        """
        tree = self.tree(reference, image)
        if not any(tree.get(path) for path in rpmdb.PATHS):
            return frozenset()
        client = self._registries.client(reference.host)
        with ExitStack() as stack:
            layers = [lambda layer=layer: stack.enter_context(open_blob(client, reference.repository, layer)) for layer in reversed(image.layers)]
            return installed.owned(layerdb.read_layers(layers), names)

    def _listing(self, reference: ImageReference, layer: Descriptor) -> LayerListing:
        if layer.digest not in self._listings:
            with open_blob(self._registries.client(reference.host), reference.repository, layer) as stream:
                self._listings[layer.digest] = read_layer(stream)
        return self._listings[layer.digest]
