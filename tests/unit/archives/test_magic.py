"""How a stream is compressed is told by its first bytes, once for layers and for repositories."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import unittest

import zstandard

from topcoat.archives import magic
from topcoat.archives.plain import Plain
from topcoat.rpm import compression

TEXT = b"a package\n" * 500
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
STREAMS = {
    "gzip": gzip.compress(TEXT),
    "zstd": zstandard.ZstdCompressor().compress(TEXT),
    "xz": lzma.compress(TEXT),
    "bzip2": bz2.compress(TEXT),
    "": TEXT,
}


class Magic(unittest.TestCase):
    def test_each_compression_is_told_and_read_by_both_readers(self) -> None:
        for kind, data in (*STREAMS.items(), ("zstd", SKIPPABLE + STREAMS["zstd"])):
            with self.subTest(kind=kind, head=data[:4]):
                self.assertEqual(magic.compression(data[: magic.LONGEST]), kind)
                self.assertEqual(compression.opened(io.BytesIO(data)).read(), TEXT)
                plain = Plain(iter([data[:3], data[3:]]))
                self.assertEqual(b"".join(iter(plain.next, b"")), TEXT)

    def test_the_shortest_streams_are_plain(self) -> None:
        for data in (b"", b"\x1f", b"B", b"\x2a\x4d\x18"):
            self.assertEqual(magic.compression(data), "")
