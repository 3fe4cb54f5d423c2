"""What is known of an image's files without having it: read from its layers as a stream, each layer once, and kept by the layer's digest.

This module must never keep what was not proven by a digest that the image's manifest names.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from topcoat.model import Digest
from topcoat.registry import Registries
from topcoat.registry.oci import Descriptor
from topcoat.registry.streams import open_blob
from topcoat.runs.cache import DigestCache
from topcoat.runs.references import StoredImage
from topcoat.synthesis import Listing, Tree, add_layer, read_listing
from topcoat.updater import Known

_KIND = "files"
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
        self._turns: dict[Digest, threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, stored: StoredImage) -> Known:
        """The files of an image.

        :raises ContentError: a layer cannot be read, or there is no package database.
        :raises InfrastructureError: the registry.
        """
        layers = stored.image.layers
        tree = self._below(stored, layers[:-1]).copy()
        for layer in layers[-1:]:
            add_layer(tree, self._listing(stored, layer))
        return Known.of(tree)

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
        with self._lock:
            turn = self._turns.setdefault(layer.digest, threading.Lock())
        with turn:
            found = self._listings.get(layer.digest)
            if found is None:
                found = self._cache.load(layer.digest, _KIND, Listing.from_bytes) or self._read(stored, layer)
                self._listings.put(layer.digest, found)
            return found

    def _read(self, stored: StoredImage, layer: Descriptor) -> Listing:
        with open_blob(self._registries.client(stored.host), stored.repository, layer) as stream:
            found = read_listing(stream)
        self._cache.write(layer.digest, _KIND, found.to_bytes())
        return found
