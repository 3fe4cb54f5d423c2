"""A blob of a registry as a file that is read once, for whoever wants a stream (tar, gzip).

This module must never keep a blob.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from topcoat.registry.client import RegistryClient
from topcoat.registry.oci import Descriptor


class _Chunks(io.RawIOBase):
    """An iterator of byte chunks as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        while not self._rest:
            self._rest = next(self._chunks, b"")
            if not self._rest:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


@contextmanager
def open_blob(client: RegistryClient, repository: str, layer: Descriptor) -> Iterator[BinaryIO]:
    """A layer's compressed bytes as a file; the digest is proved at the end of reading."""
    with client.stream_blob(repository, layer.digest, layer.size) as chunks:
        yield io.BufferedReader(_Chunks(iter(chunks)))
