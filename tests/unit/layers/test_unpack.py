"""Unpacking: what an archive says is kept, and none can write outside its directory."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import tempfile
import tracemalloc
import unittest
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers.unpack import unpack

ROOT = os.geteuid() == 0


def member(
    name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o644, size: int = 0, mtime: int = 1000, **pax: str
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode, entry.size, entry.mtime = kind, link, mode, size, mtime
    entry.uid, entry.gid = os.geteuid(), os.getegid()
    entry.pax_headers = dict(pax)
    return entry


def archive(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as target:
        for entry in entries:
            info, content = entry if isinstance(entry, tuple) else (entry, b"")
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Unpack(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.outside = Path(holder.name)
        self.directory = self.outside / "layer"
        self.directory.mkdir()

    def unpack(self, data: bytes, piece: int = 1 << 16) -> str:
        return unpack((data[at : at + piece] for at in range(0, len(data), piece)), self.directory)

    def test_the_diff_id_whatever_the_pieces(self) -> None:
        plain = archive(member("d", tarfile.DIRTYPE, mode=0o750), (member("d/f"), b"hello"))
        packed = gzip.compress(plain)
        for piece in (1, 7, 1 << 20):
            with self.subTest(piece):
                self.setUp()
                self.assertEqual(self.unpack(packed, piece), f"sha256:{hashlib.sha256(plain).hexdigest()}")
                self.assertEqual((self.directory / "d/f").read_text(), "hello")

    def test_plain_archives_and_several_gzip_members(self) -> None:
        plain = archive((member("f"), b"x" * 5000))
        for data in (plain, gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + bytes(1000)):
            with self.subTest(len(data)):
                self.setUp()
                self.assertEqual(self.unpack(data, 100), f"sha256:{hashlib.sha256(plain).hexdigest()}")
                self.assertEqual((self.directory / "f").stat().st_size, 5000)

    def test_a_bomb_is_unpacked_in_pieces(self) -> None:
        packed = gzip.compress(archive((member("f"), bytes(64 << 20))))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.unpack(packed)
        self.assertLess(tracemalloc.get_traced_memory()[1], 32 << 20)

    def test_times_with_nanoseconds_also_of_filled_directories(self) -> None:
        self.unpack(archive(member("d", tarfile.DIRTYPE, mode=0o755, mtime=12), member("d/f", mtime=34.5)))
        self.assertEqual((self.directory / "d").stat().st_mtime_ns, 12_000_000_000)
        self.assertEqual((self.directory / "d/f").stat().st_mtime_ns, 34_500_000_000)

    def test_modes_and_hard_links(self) -> None:
        self.unpack(archive((member("a", mode=0o755), b"x"), member("b", tarfile.LNKTYPE, link="./a", mode=0o4711, mtime=7)))
        status = (self.directory / "a").stat()
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_mtime), (0o4711, 7), "the last header counts, as for container tools")
        self.assertTrue((self.directory / "a").samefile(self.directory / "b"))

    def test_the_last_entry_of_a_name_counts(self) -> None:
        self.unpack(
            archive((member("a"), b"1"), (member("a"), b"2"), member("d/x", tarfile.SYMTYPE, link="/etc"), member("d/x", tarfile.DIRTYPE, mode=0o755))
        )
        self.assertEqual((self.directory / "a").read_text(), "2")
        self.assertTrue((self.directory / "d/x").is_dir() and not (self.directory / "d/x").is_symlink())

    def test_nothing_leaves_the_directory(self) -> None:
        (self.outside / "victim").mkdir()
        away = str(self.outside / "victim")
        for name, entries in {
            "parent": [(member("../escaped"), b"x")],
            "inner parent": [(member("a/../../escaped"), b"x")],
            "absolute link then file": [member("l", tarfile.SYMTYPE, link=away), (member("l/f"), b"x")],
            "link in the middle": [member("d", tarfile.DIRTYPE), member("d/l", tarfile.SYMTYPE, link=away), member("d/l/sub", tarfile.DIRTYPE)],
            "link to parent": [member("l", tarfile.SYMTYPE, link=".."), (member("l/escaped"), b"x")],
            "through a file": [(member("f"), b"x"), (member("f/g"), b"y")],
            "whiteout through a link": [member("l", tarfile.SYMTYPE, link=away), member("l/.wh.x")],
            "opaque through a link": [member("l", tarfile.SYMTYPE, link=away), member("l/.wh..wh..opq")],
            "hard link out": [member("h", tarfile.LNKTYPE, link="../victim")],
            "hard link through a link": [member("l", tarfile.SYMTYPE, link=away), member("h", tarfile.LNKTYPE, link="l/x")],
            "hard link to nothing": [member("h", tarfile.LNKTYPE, link="etc/passwd")],
            "root replaced": [member("./", tarfile.SYMTYPE, link=away)],
            "unknown type": [member("x", b"Q")],
        }.items():
            with self.subTest(name):
                self.setUp()
                (self.outside / "victim").mkdir()
                with self.assertRaises(ContentError):
                    self.unpack(archive(*entries))
                self.assertEqual(list((self.outside / "victim").iterdir()), [])
                self.assertFalse((self.outside / "escaped").exists())

    def test_absolute_names_are_below_the_root(self) -> None:
        self.unpack(archive((member("/etc/x"), b"1")))
        self.assertEqual((self.directory / "etc/x").read_text(), "1")

    def test_symbolic_links_are_kept_as_text(self) -> None:
        self.unpack(archive(member("l", tarfile.SYMTYPE, link="/etc/passwd")))
        self.assertEqual(os.readlink(self.directory / "l"), "/etc/passwd")

    def test_damaged_blobs(self) -> None:
        packed = gzip.compress(archive((member("f"), os.urandom(100_000))))
        with self.assertRaises(InfrastructureError):
            self.unpack(packed[: len(packed) // 2])
        self.setUp()
        with self.assertRaises(ContentError):
            self.unpack(b"\x1f\x8b" + b"\xff" * 100)
        self.setUp()
        with self.assertRaises(ContentError):
            self.unpack(b"this is no archive at all, not even a bit of one" * 100)

    @unittest.skipUnless(ROOT, "needs root: overlay attributes and devices")
    def test_whiteouts_become_overlayfs_own(self) -> None:
        self.unpack(
            archive(
                member("d", tarfile.DIRTYPE, mode=0o755), member("d/.wh..wh..opq"), member("d/.wh.gone"), member(".wh.top"), member(".wh..wh.plnk")
            )
        )
        for name in ("d/gone", "top"):
            status = (self.directory / name).lstat()
            self.assertTrue(stat.S_ISCHR(status.st_mode) and status.st_rdev == 0)
        self.assertEqual(os.getxattr(self.directory / "d", "trusted.overlay.opaque"), b"y")
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ["d", "top"])

    @unittest.skipUnless(ROOT, "needs root: overlay attributes and devices")
    def test_a_name_that_is_whited_out_and_made_again(self) -> None:
        self.unpack(
            archive(
                member(".wh.d"),
                member("d", tarfile.DIRTYPE, mode=0o755),
                member("e", tarfile.DIRTYPE, mode=0o755),
                member(".wh.e"),
                (member("f"), b"x"),
                member(".wh.f"),
            )
        )
        self.assertEqual(os.getxattr(self.directory / "d", "trusted.overlay.opaque"), b"y")
        self.assertEqual(os.getxattr(self.directory / "e", "trusted.overlay.opaque"), b"y")
        self.assertEqual((self.directory / "f").read_text(), "x")

    @unittest.skipUnless(ROOT, "needs root: extended attributes and devices")
    def test_capabilities_are_kept_and_overlay_attributes_refused(self) -> None:
        value = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff"[:20]
        record = value.decode("utf-8", "surrogateescape")
        entries = [
            (member("cap", mode=0o755, **{"SCHILY.xattr.security.capability": record, "SCHILY.xattr.trusted.overlay.redirect": "/etc"}), b"x"),
            member("d", tarfile.DIRTYPE, **{"SCHILY.xattr.trusted.overlay.opaque": "y"}),
        ]
        self.unpack(archive(*entries))
        self.assertEqual(os.listxattr(self.directory / "cap"), ["security.capability"])
        self.assertEqual(os.getxattr(self.directory / "cap", "security.capability"), value)
        self.assertEqual(os.listxattr(self.directory / "d"), [])

    @unittest.skipUnless(ROOT, "needs root: devices")
    def test_devices_but_not_a_hidden_whiteout(self) -> None:
        null = member("null", tarfile.CHRTYPE, mode=0o666)
        null.devmajor, null.devminor = 1, 3
        self.unpack(archive(null, member("pipe", tarfile.FIFOTYPE)))
        self.assertEqual((self.directory / "null").stat().st_rdev, os.makedev(1, 3))
        self.setUp()
        with self.assertRaises(ContentError):
            self.unpack(archive(member("zero", tarfile.CHRTYPE)))


if __name__ == "__main__":
    unittest.main()
