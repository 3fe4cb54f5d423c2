"""The tar reader reads what the standard library's reads, and refuses what is damaged."""

import io
import tarfile
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from topcoat.archives.tarstream import Reader, TarError

NAMES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=300).filter(
    lambda name: name.strip("/") and not name.endswith("/") and max(len(part.encode()) for part in name.split("/")) <= 255
)
ENTRIES = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]),
        NAMES,
        st.binary(max_size=2000),
        st.integers(0, 0o7777),
        st.integers(0, 2**32 - 2),
        st.integers(0, 2**33),
    ),
    min_size=1,
    max_size=6,
)


def pieces(data: bytes, size: int):
    left = [data[at : at + size] for at in range(0, len(data), size)]
    return lambda: left.pop(0) if left else b""


def read(data: bytes, size: int = 1 << 16) -> list[tuple]:
    reader = Reader(pieces(data, size))
    return [(entry, b"".join(bytes(piece) for piece in reader.content())) for entry in reader]


def simple(name: str = "f", content: bytes = b"x", **pax: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        info.pax_headers = pax
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Differential(unittest.TestCase):
    @settings(max_examples=150, deadline=None)
    @given(ENTRIES, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.sampled_from([1, 500, 512, 10_000]))
    def test_same_as_the_standard_library(self, entries, form, size) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form, encoding="utf-8") as archive:
            for name, kind, link, content, mode, uid, mtime in entries:
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.uid, info.mtime = kind, mode, uid, mtime
                info.linkname = link if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
                info.size = len(content) if kind == tarfile.REGTYPE else 0
                info.devmajor, info.devminor = 1, 5
                archive.addfile(info, io.BytesIO(content))
        found = read(stream.getvalue(), size)
        with tarfile.open(fileobj=io.BytesIO(stream.getvalue()), encoding="utf-8", errors="surrogateescape") as archive:
            members = list(archive)
            self.assertEqual(len(found), len(members))
            for (entry, content), member in zip(found, members, strict=True):
                self.assertEqual((entry.name.rstrip("/"), entry.kind, entry.mode), (member.name, member.type, member.mode))
                self.assertEqual((entry.uid, entry.link, entry.mtime_ns), (member.uid, member.linkname, int(member.mtime) * 10**9))
                if member.isreg():
                    self.assertEqual(content, archive.extractfile(member).read())
                if member.isdev() and not member.isfifo():
                    self.assertEqual(entry.device, (1, 5))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=3000))
    def test_noise_is_an_error_and_never_more(self, noise) -> None:
        try:
            read(noise)
        except TarError:
            pass

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 2047), st.integers(0, 255))
    def test_one_changed_byte_is_an_error_or_another_content(self, at, value) -> None:
        data = bytearray(simple("f" * 150, b"content"))
        data[at] = value
        try:
            read(bytes(data))
        except TarError:
            pass


class Special(unittest.TestCase):
    def test_attributes_are_bytes_and_times_have_nanoseconds(self) -> None:
        raw = bytes(range(256)).decode("utf-8", "surrogateescape")
        ((entry, _),) = read(simple(**{"SCHILY.xattr.user.a": raw, "mtime": "12.000000007"}))
        self.assertEqual(entry.attributes, {"user.a": bytes(range(256))})
        self.assertEqual(entry.mtime_ns, 12_000_000_007)

    def test_global_headers_are_read_past(self) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"mtime": "99"}) as archive:
            for name in ("a", "b"):
                archive.addfile(tarfile.TarInfo(name))
        self.assertEqual([entry.mtime_ns for entry, _ in read(stream.getvalue())], [0, 0])

    def test_content_that_nobody_reads_is_skipped(self) -> None:
        data = simple("a", b"x" * 1500)[:2048] + simple("b", b"y")
        reader = Reader(pieces(data, 700))
        self.assertEqual([entry.name for entry in reader], ["a", "b"])

    def test_cut_anywhere_is_an_error(self) -> None:
        data = simple("f", b"x" * 600)[:2048]
        for length in range(1, 1536, 37):
            with self.subTest(length), self.assertRaises(TarError):
                read(data[:length])

    def test_an_archive_of_nothing_is_an_error_but_an_empty_one_is_not(self) -> None:
        with self.assertRaises(TarError):
            read(b"")
        self.assertEqual(read(bytes(1024)), [])

    def test_huge_lengths_are_refused_before_they_are_read(self) -> None:
        for pax in ({"size": "-1"}, {"size": "x"}, {"uid": "-5"}, {"mtime": "later"}, {"GNU.sparse.major": "1"}):
            with self.subTest(pax), self.assertRaises(TarError):
                read(simple(**pax))


if __name__ == "__main__":
    unittest.main()
