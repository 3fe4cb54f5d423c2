"""The plain bytes of a blob that comes in pieces, compressed with gzip, zstd (zstd:chunked too), xz, bzip2 or not, told by its first bytes.

This module must never hold more than a few megabytes, however well the blob was compressed, and never believe a name or a media type.
"""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, cast

import zstandard
from isal import isal_zlib

from topcoat.archives import magic
from topcoat.errors import ContentError

PIECE = 4 << 20
"""Most plain bytes at once."""
_WINDOW = 1 << 31  # as podman's reader: what `zstd --ultra --long=31` writes
_DAMAGED = "rebuild and push the image; its blob is damaged"


class CutOffError(Exception):
    """The compressed bytes end in the middle; whether the wire or the blob is at fault, the caller knows."""


class Plain:
    """Pieces of the plain content, one after the other."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._raw = _Chunks(chunks)
        self._read: Callable[[], bytes] | None = None

    def next(self) -> bytes:
        """The next plain bytes; empty at the end.

        :raises CutOffError: it ends in the middle. :raises ContentError: it is not what it seems.
        """
        if self._read is None:
            self._read = self._opened(self._raw.head(magic.LONGEST))
        return self._read()

    def _opened(self, head: bytes) -> Callable[[], bytes]:
        match magic.compression(head):
            case "gzip":
                return _Gzip(self._raw).next
            case "zstd":
                return _Zstd(self._raw).next
            case "xz":
                reader = lzma.LZMAFile(io.BufferedReader(self._raw))  # noqa: SIM115 - what it reads is not ours to close
                return lambda: _named("xz", reader.read)
            case "bzip2":
                bzip = bz2.BZ2File(io.BufferedReader(self._raw))
                return lambda: _named("bzip2", bzip.read)
        return lambda: self._raw.read(PIECE)


class _Zstd:
    """zstd, whose reader takes the end of the input for the end of the content, wherever it is: so the frames are followed beside it."""

    def __init__(self, raw: _Chunks) -> None:
        self._raw = raw
        self._frames = _Frames()
        self._reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            cast("BinaryIO", self), read_across_frames=True, read_size=1 << 18
        )

    def read(self, size: int) -> bytes:
        """Compressed bytes, for the reader."""
        data = self._raw.read(size)
        self._frames.feed(data)
        return data

    def next(self) -> bytes:
        plain = _named("zstd", self._reader.read)
        if not plain and not self._frames.whole:
            raise CutOffError
        return plain


class _Frames:
    """Where in the frames of a zstd stream we are (RFC 8878, 3.1): headers are read, contents stepped over."""

    def __init__(self) -> None:
        self._expect, self._need = "magic", 4
        self._held = b""
        self._skip = 0
        self._checksum = 0

    @property
    def whole(self) -> bool:
        """Whether the last frame that began has ended."""
        return self._expect == "magic" and not self._held and not self._skip

    def feed(self, data: bytes) -> None:
        """The next bytes of the stream."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
            else:
                step = min(self._need - len(self._held), len(data) - at)
                self._held += data[at : at + step]
                if len(self._held) == self._need:
                    self._advance()
            at += step

    def _advance(self) -> None:
        held, self._held = self._held, b""
        number = int.from_bytes(held, "little")
        if self._expect == "magic" and held == magic.ZSTD:
            self._expect, self._need = "descriptor", 1
        elif self._expect == "magic":  # of a skippable frame; anything else the reader refuses
            self._expect = "length"
        elif self._expect == "length":
            self._expect, self._skip = "magic", number
        elif self._expect == "descriptor":
            single = number >> 5 & 1
            self._checksum = 4 * (number >> 2 & 1)
            self._skip = 1 - single + (0, 1, 2, 4)[number & 3] + (single, 2, 4, 8)[number >> 6]
            self._expect, self._need = "block", 3
        else:
            self._skip = 1 if number >> 1 & 3 == 1 else number >> 3  # a block of one repeated byte holds that byte
            if number & 1:
                self._skip += self._checksum
                self._expect, self._need = "magic", 4


def _named(kind: str, read: Callable[[int], bytes]) -> bytes:
    try:
        return read(PIECE)
    except EOFError as error:
        raise CutOffError from error
    except (OSError, lzma.LZMAError, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of whoever gives the chunks
        raise ContentError(f"a layer is not valid {kind}: {error}", next_step=_DAMAGED) from error


class _Chunks(io.RawIOBase):
    """An iterator of chunks as a raw stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._waiting = b""

    def readable(self) -> bool:
        """True."""
        return True

    def head(self, size: int) -> bytes:
        """The first bytes, which stay where they are."""
        while len(self._waiting) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._waiting += chunk
        return self._waiting[:size]

    def chunk(self) -> bytes:
        """The next bytes, as they come; empty at the end."""
        while not self._waiting:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._waiting = chunk
        found, self._waiting = self._waiting, b""
        return found

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Fill a buffer with the next bytes."""
        data = self.chunk()
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        self._waiting = data[size:]
        return size


class _Gzip:
    """gzip by ISA-L: a third of the time of zlib."""

    def __init__(self, raw: _Chunks) -> None:
        self._raw = raw
        self._engine = isal_zlib.decompressobj(31)
        self._waiting = b""
        self._padding = False

    def next(self) -> bytes:
        while True:
            chunk = self._waiting or self._raw.chunk()
            self._waiting = b""
            if not chunk:
                if not self._engine.eof and not self._padding:
                    raise CutOffError
                return b""
            plain = self._inflate(chunk)
            if plain:
                return plain

    def _inflate(self, chunk: bytes) -> bytes:
        if self._padding:
            return b""
        try:
            if self._engine.eof:  # RFC 1952, 2.2: a file may hold several members; zeros after the last one are padding
                if not chunk.strip(b"\0"):
                    self._padding = True
                    return b""
                self._engine = isal_zlib.decompressobj(31)
            plain = self._engine.decompress(chunk, PIECE)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise ContentError(f"a layer is not valid gzip: {error}", next_step=_DAMAGED) from error
        self._waiting = self._engine.unconsumed_tail or self._engine.unused_data
        return plain
