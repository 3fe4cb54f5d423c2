"""What is known of an image's files without having it: from the document that a build of ours left beside it, else from its layers as a stream.

This module must never keep what was not proven by a digest that the image's manifest or configuration names.

The document (``topcoat.synthesis.sketch``) and the layer of the package database are two small blobs. A layer that is read as a stream is read once
and kept by its digest.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO, Generic, TypeVar

from topcoat.builder import Known
from topcoat.errors import ContentError
from topcoat.layers import Layer
from topcoat.model import Digest
from topcoat.registry import Registries, digest_of
from topcoat.registry.oci import Descriptor
from topcoat.registry.streams import open_blob
from topcoat.rpm import layerdb
from topcoat.runs.cache import DigestCache
from topcoat.runs.claims import Sketch
from topcoat.runs.references import StoredImage
from topcoat.synthesis import Listing, Tree, add_layer, read_listing

_KIND = "files"
_SKETCH = "sketch"
_LISTINGS, _TREES = 12, 6
"""How many of each are held at a time: images of one set stand on a few layers."""
_Value = TypeVar("_Value")


class _Latest(Generic[_Value]):
    """The values that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[object, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> _Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: object, value: _Value) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)


class KnownFiles:
    """Trees of images with their package databases. Safe for several threads; what images share is read once."""

    def __init__(self, registries: Registries, cache: DigestCache) -> None:
        self._registries = registries
        self._cache = cache
        self._listings: _Latest[Listing] = _Latest(_LISTINGS)
        self._trees: _Latest[Tree] = _Latest(_TREES)
        self._sketches: _Latest[Known] = _Latest(_TREES)
        self._turns: dict[Digest, threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, stored: StoredImage) -> Known:
        """The files of an image.

        :raises ContentError: a layer cannot be read, or there is no package database.
        :raises InfrastructureError: the registry.
        """
        layers = stored.image.layers
        sketch = stored.claim.sketch
        below = self._sketched(stored, sketch) if sketch else None
        tree = below.tree.copy() if below else self._below(stored, layers[:-1]).copy()
        for layer in layers[sketch.layers :] if below and sketch else layers[-1:]:
            add_layer(tree, self._listing(stored, layer))
        return Known.of(tree, below.database if below else None)

    def sketch(self, parent: StoredImage, new: Sequence[Layer]) -> bytes | None:
        """The document of an image that was just built on its parent: whoever updates it needs none of its layers.

        :param new: the layers of the build. :returns: None where no document can say what is in them.
        """
        try:
            below = self.of(parent)
            tree = below.tree.copy()
            for layer in new:
                with layer.path.open("rb") as stream:
                    add_layer(tree, read_listing(stream))
            built = Known.of(tree, below.database)
            document = built.sketch()
        except ContentError:  # such as a layer of somebody else's that only unpacking can read
            return None
        if document is not None:
            self._sketches.put(digest_of(document), built)  # children stand on it
            self._cache.write(digest_of(document), _SKETCH, document)
        return document

    def _sketched(self, stored: StoredImage, sketch: Sketch) -> Known | None:
        """The lowest layers of an image, from the document about them; None where it is gone, or cannot be read."""
        with self._turn(sketch.digest):
            found = self._sketches.get(sketch.digest)
            if found is not None:
                return found
            client = self._registries.client(stored.host)
            try:
                document = self._cache.read(sketch.digest, _SKETCH) or client.blob(stored.repository, sketch.digest)
                with ExitStack() as stack:
                    lowest = reversed(stored.image.layers[: sketch.layers])
                    opened = [functools.partial(self._opened, stored, layer, stack) for layer in lowest]
                    found = Known.from_sketch(document, layerdb.read_layers(opened))
            except ContentError:  # the layers are the truth
                return None
            self._cache.write(sketch.digest, _SKETCH, document)
            self._sketches.put(sketch.digest, found)
            return found

    def _opened(self, stored: StoredImage, layer: Descriptor, stack: ExitStack) -> BinaryIO:
        return stack.enter_context(open_blob(self._registries.client(stored.host), stored.repository, layer))

    def _below(self, stored: StoredImage, layers: tuple[Descriptor, ...]) -> Tree:
        """The tree of all layers but the last: other images stand on it, too."""
        if not layers:
            return Tree()
        key = tuple(layer.digest for layer in layers)
        found = self._trees.get(key)
        if found is None:
            found = self._below(stored, layers[:-1]).copy()
            add_layer(found, self._listing(stored, layers[-1]))
            self._trees.put(key, found)
        return found

    def _listing(self, stored: StoredImage, layer: Descriptor) -> Listing:
        with self._turn(layer.digest):
            found = self._listings.get(layer.digest)
            if found is None:
                found = self._cache.load(layer.digest, _KIND, Listing.from_bytes) or self._read(stored, layer)
                self._listings.put(layer.digest, found)
            return found

    def _turn(self, digest: Digest) -> threading.Lock:
        """Whoever comes second waits for what the first one reads."""
        with self._lock:
            return self._turns.setdefault(digest, threading.Lock())

    def _read(self, stored: StoredImage, layer: Descriptor) -> Listing:
        with open_blob(self._registries.client(stored.host), stored.repository, layer) as stream:
            found = read_listing(stream)
        self._cache.write(layer.digest, _KIND, found.to_bytes())
        return found
