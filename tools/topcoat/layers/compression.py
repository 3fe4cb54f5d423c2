"""How layers are compressed, and under which media type each kind travels.

This module must never choose by what a layer holds: the choice is the profile's, and the image format's.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import zstandard
from isal import isal_zlib

from topcoat.model.profile import COMPRESSION_FORMATS
from topcoat.registry.oci import OCI_LAYER_GZIP, OCI_LAYER_ZSTD

GZIP_LEVEL = 2
"""Of ISA-L: a seventh of the time of zlib's level 4 for 4 % more bytes, measured on update layers. Part of every digest, so it never varies.
Levels up to 2 give the same bytes on every x86-64 processor, level 3 does not (tried with SSE4.2, AVX2 and AVX-512)."""
ZSTD_LEVEL = 3
"""The library's own default. One release of libzstd gives the same bytes everywhere; another one may give others."""


class Engine(Protocol):
    """What compresses a stream."""

    def compress(self, data: bytes) -> bytes:
        """What there is to write by now."""

    def flush(self) -> bytes:
        """The rest; what is compressed afterwards starts anew, where the format allows that."""


class Compression(Enum):
    """One of the formats; its value is the word of profiles, and of podman's and skopeo's ``--compression-format``."""

    GZIP = "gzip"
    ZSTD = "zstd"
    ZSTD_CHUNKED = "zstd:chunked"

    @classmethod
    def wanted(cls, compression_format: str, *, docker: bool) -> Compression:
        """The compression of a new layer: what the profile wants, but gzip in Docker's image format, which has no name for any other.

        :param compression_format: of the profile.
        """
        return cls.GZIP if docker else cls(compression_format)

    @property
    def is_chunked(self) -> bool:
        """Whether files can be taken out of the layer one by one."""
        return self is Compression.ZSTD_CHUNKED

    @property
    def media_type(self) -> str:
        """Of a layer in an OCI image; to those who do not know it, a chunked layer is one of zstd."""
        return OCI_LAYER_GZIP if self is Compression.GZIP else OCI_LAYER_ZSTD

    def engine(self) -> Engine:
        """A new stream."""
        # wbits 31: a gzip member whose header holds neither name nor time (RFC 1952, 2.3.1).
        return isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, 31) if self is Compression.GZIP else _Frames()


assert tuple(member.value for member in Compression) == COMPRESSION_FORMATS  # profiles are checked without this room


class _Frames:
    """zstd frames one after another (RFC 8878, 3): a decoder reads them as one stream."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._frame: zstandard.ZstdCompressionObj | None = None

    def compress(self, data: bytes) -> bytes:
        if self._frame is None:
            self._frame = self._compressor.compressobj()
        return self._frame.compress(data)

    def flush(self) -> bytes:
        frame, self._frame = self._frame, None
        return frame.flush() if frame is not None else b""
