"""Archives that lie: one line each, before anything of it reaches the kernel; and compressed bytes that end or break."""

from __future__ import annotations

import io
import tarfile
import tempfile
import unittest
from pathlib import Path

import zstandard

from topcoat.archives.plain import CutOffError, Plain
from topcoat.archives.tarstream import Reader, TarError
from topcoat.errors import ContentError, TopcoatError
from topcoat.layers.unpack import unpack


def member(name: str = "f", *, kind: bytes = tarfile.REGTYPE, pax: dict[str, str] | None = None, **values: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.type = kind
        for key, value in values.items():
            setattr(info, key, value)
        info.pax_headers = pax or {}
        archive.addfile(info)
    return stream.getvalue()


def with_uid(text: bytes) -> bytes:
    """A member whose field for the user holds this text."""
    data = bytearray(member())
    data[108:116] = text.ljust(8, b"\0")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


HOSTILE = {
    "a number with a line in it": with_uid(b"1_7"),
    "a number with a prefix": with_uid(b"0o17"),
    "a number with a plus": with_uid(b"+17"),
    "a length with a line in it": member(pax={"comment": "xxxxx"}).replace(b"17 comment=xxxxx", b"1_7 comment=xxxx"),
    "a user beyond all": member(pax={"uid": str(1 << 40)}),
    "a group beyond all": member(pax={"gid": str((1 << 32) - 1)}),
    "a time beyond all": member(pax={"mtime": "1" + "0" * 18}),
    "a time that is none": member(pax={"mtime": "NaN"}),
    "a time with an exponent": member(pax={"mtime": "1e999999999"}),
    "a path of 1,500 parts": member("/".join("d" for _ in range(1500))),
    "a name of a million bytes": member("n" * 1_000_000),
    "a part too long": member("n" * 256),
    "a device beyond all": member(kind=tarfile.CHRTYPE, devmajor=1 << 12, devminor=0),
    "a NUL in a link": member(kind=tarfile.SYMTYPE, pax={"linkpath": "a\0b"}),
    "a NUL in a name": member(pax={"path": "a\0b"}),
    "a size that is none": member(pax={"size": "9" * 30}),
    "a sparse file without size": member(pax={"GNU.sparse.major": "1"}),
    "a sparse file that leaves itself": member(pax={"GNU.sparse.size": "10", "GNU.sparse.map": "5,20"}),
    "a sparse file of overlapping parts": member(pax={"GNU.sparse.size": "100", "GNU.sparse.map": "50,0,10,0"}),
    "a sparse file of 2^63": member(pax={"GNU.sparse.size": str(1 << 63), "GNU.sparse.map": "0,0"}),
    "an attribute whose name is too long": member(pax={"SCHILY.xattr.user." + "a" * 300: "x"}),
}


class Hostile(unittest.TestCase):
    def test_each_is_one_line(self) -> None:
        for name, data in HOSTILE.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                with self.assertRaises(ContentError) as caught:
                    unpack([data], Path(folder))
                self.assertNotIn("\n", str(caught.exception))
                self.assertLess(len(caught.exception.what), 400)
                self.assertTrue(caught.exception.next_step)
                self.assertEqual([], list(Path(folder).iterdir()))

    def test_a_map_that_does_not_end(self) -> None:
        data = member(pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"}, size=0)
        with self.assertRaises(TarError):
            list(Reader(iter([data, b""]).__next__))


class Compressed(unittest.TestCase):
    def read(self, blob: bytes) -> bytes:
        plain = Plain([blob[at : at + 100] for at in range(0, len(blob), 100)])
        return b"".join(iter(plain.next, b""))

    def test_broken_bytes_are_named(self) -> None:
        blob = bytearray(zstandard.compress(bytes(range(256)) * 500))
        blob[len(blob) // 2] ^= 0xFF
        with self.assertRaises(TopcoatError) as caught:
            self.read(bytes(blob) + b"x" * 50)
        self.assertIn("zstd", caught.exception.what)

    def test_a_bomb_comes_in_pieces(self) -> None:
        plain = Plain([zstandard.compress(bytes(64 << 20))])
        self.assertLessEqual(max(len(piece) for piece in iter(plain.next, b"")), 4 << 20)

    def test_an_end_in_the_middle(self) -> None:
        blob = zstandard.compress(bytes(range(256)) * 4000)
        with self.assertRaises(CutOffError):
            self.read(blob[: len(blob) // 2])
