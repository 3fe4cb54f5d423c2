"""Opens what is compressed with gzip, zstd, xz or bzip2, told by its first bytes: names and media types are not to be trusted here.

This module must never read more than it is asked for.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import BinaryIO

import zstandard

from topcoat.archives import magic

ERRORS = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)
"""What reading a damaged stream raises, beside OSError of bzip2."""


class _Rewound(io.RawIOBase):
    """A stream whose first bytes were read already, put back in front."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Fill the buffer, the head first."""
        if self._head:
            data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def opened(stream: BinaryIO) -> BinaryIO:
    """A reader of the plain content; the caller closes the stream itself."""
    head = stream.read(magic.LONGEST)
    reader = io.BufferedReader(_Rewound(head, stream), 1 << 20)
    match magic.compression(head):
        case "gzip":
            return gzip.GzipFile(fileobj=reader)  # type: ignore[return-value]
        case "zstd":
            return zstandard.ZstdDecompressor().stream_reader(reader, read_across_frames=True)
        case "xz":
            return lzma.LZMAFile(reader)  # type: ignore[return-value]
        case "bzip2":
            return bz2.BZ2File(reader)  # type: ignore[return-value]
    return reader
