"""Writing a layer: the same bytes again, only what is news, nothing that belongs to a day."""

import gzip
import itertools
import os
import sqlite3
import stat
import tarfile
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.layers.leftovers import is_junk
from topcoat.layers.lower import LowerView
from topcoat.layers.writer import Layer, litter, write_layers

EPOCH = 1_000_000_000
ROOT = os.geteuid() == 0


class Case(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.upper, self.lower = self.folder / "upper", self.folder / "lower"
        for path in (self.upper, self.lower):
            path.mkdir(mode=0o755)

    def put(self, place: Path, path: str, content: str = "x", *, mtime: int = 5, mode: int = 0o644) -> Path:
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)
        os.utime(target, (mtime, mtime))
        return target

    def layers(self, *, lower: bool = True, **options) -> tuple[Layer, ...]:
        numbers = itertools.count()
        return write_layers(self.upper, [self.lower] if lower else [], lambda: self.folder / f"layer-{next(numbers)}.tar.gz", epoch=EPOCH, **options)

    def write(self, **options) -> Layer:
        (layer,) = self.layers(**options)
        return layer

    def split(self, **options) -> list[list[str]]:
        found = []
        for layer in self.layers(**options):
            with tarfile.open(layer.path) as archive:
                found.append(archive.getnames())
            self.assertEqual(len(found[-1]), layer.entries)
        return found

    def names(self, **options) -> list[str]:
        return [name for names in self.split(**options) for name in names]

    def member(self, name: str) -> tarfile.TarInfo:
        with tarfile.open(self.write().path) as archive:
            return archive.getmember(name)


class Database(Case):
    """The package database is a layer of its own, the last one."""

    def put_database(self, place: Path, folder: str = "var/lib/rpm", table: str = "Packages") -> None:
        connection = sqlite3.connect(self.put(place, f"{folder}/rpmdb.sqlite", ""))
        connection.execute(f"CREATE TABLE {table} (hnum INTEGER, blob BLOB)")
        connection.close()
        os.utime(place / folder / "rpmdb.sqlite", (5, 5))

    def test_files_and_database_are_two_layers_that_share_their_parents_only(self) -> None:
        self.put(self.upper, "usr/bin/program")
        self.put(self.upper, "var/lib/data")
        self.put(self.upper, "var/lib/rpm-state/left")
        self.put_database(self.upper)
        files = ["usr", "usr/bin", "usr/bin/program", "var", "var/lib", "var/lib/data", "var/lib/rpm-state", "var/lib/rpm-state/left"]
        self.assertEqual(self.split(), [files, ["var", "var/lib", "var/lib/rpm", "var/lib/rpm/rpmdb.sqlite"]])

    def test_the_other_place_of_a_database(self) -> None:
        self.put(self.upper, "usr/lib/sysimage/other")
        self.put_database(self.upper, "usr/lib/sysimage/rpm")
        files, database = self.split()
        self.assertIn("usr/lib/sysimage/other", files)
        self.assertEqual(database, ["usr", "usr/lib", "usr/lib/sysimage", "usr/lib/sysimage/rpm", "usr/lib/sysimage/rpm/rpmdb.sqlite"])

    def test_a_database_that_did_not_change_is_in_no_layer(self) -> None:
        self.put_database(self.lower)
        self.put_database(self.upper)
        self.put(self.upper, "etc/a")
        self.assertEqual(self.split(), [["etc", "etc/a"]])

    def test_a_change_of_the_database_alone_is_one_layer(self) -> None:
        self.put_database(self.lower)
        self.put_database(self.upper, table="Other")
        self.assertEqual(self.split(), [["var", "var/lib", "var/lib/rpm", "var/lib/rpm/rpmdb.sqlite"]])

    def test_images_that_got_the_same_share_the_layer_of_files(self) -> None:
        digests = []
        for table in ("Packages", "Other"):
            self.put_database(self.upper, table=table)
            self.put(self.upper, "usr/bin/program")
            digests.append([layer.digest for layer in self.layers()])
            (self.upper / "var/lib/rpm/rpmdb.sqlite").unlink()
        self.assertEqual(digests[0][0], digests[1][0])
        self.assertNotEqual(digests[0][1], digests[1][1])


class News(Case):
    def test_nothing_changed_is_no_layer(self) -> None:
        self.put(self.lower, "etc/a")
        self.put(self.upper, "etc/a")
        self.assertEqual(self.names(), [])

    def test_a_rewritten_file_with_the_same_content_is_no_news(self) -> None:
        self.put(self.lower, "etc/a", mtime=5)
        self.put(self.upper, "etc/a", mtime=EPOCH + 100)
        self.assertEqual(self.names(), [])

    def test_a_package_file_with_another_time_is(self) -> None:
        self.put(self.lower, "usr/a", mtime=5)
        self.put(self.upper, "usr/a", mtime=6)
        self.assertEqual(self.names(), ["usr", "usr/a"])
        self.assertEqual(self.member("usr/a").mtime, 6)

    def test_a_name_that_says_that_another_file_is_gone_is_refused(self) -> None:
        """Whoever unpacks the layer would lose that other file."""
        self.put(self.upper, "opt/foo")
        self.put(self.upper, "opt/.wh.foo")
        with self.assertRaises(ContentError) as caught:
            self.layers()
        self.assertIn("/opt/.wh.foo", caught.exception.what)

    def test_content_mode_and_new_files_are(self) -> None:
        self.put(self.lower, "a", "1")
        self.put(self.upper, "a", "2")
        self.put(self.lower, "b")
        self.put(self.upper, "b", mode=0o600)
        self.put(self.upper, "c")
        self.assertEqual(self.names(), ["a", "b", "c"])

    def test_parents_are_there_and_idle_directories_are_not(self) -> None:
        for place in (self.lower, self.upper):
            (place / "idle/deep").mkdir(parents=True)
            (place / "var/lib").mkdir(parents=True)
        self.put(self.upper, "var/lib/f")
        (self.upper / "fresh").mkdir()
        self.assertEqual(self.names(), ["fresh", "var", "var/lib", "var/lib/f"])

    def test_sorted_by_component_so_that_parents_come_first(self) -> None:
        for name in ("a/z", "a.b", "a-b", "a/b/c"):
            self.put(self.upper, name)
        self.assertEqual(self.names(), ["a", "a/b", "a/b/c", "a/z", "a-b", "a.b"])

    def test_hard_links_within_the_layer(self) -> None:
        first = self.put(self.upper, "b", "same")
        os.link(first, self.upper / "a")
        self.assertEqual(self.names(), ["a", "b"])
        self.assertTrue(self.member("b").islnk())
        self.assertEqual(self.member("b").linkname, "a")

    def test_a_file_that_is_no_link_any_more_is_news(self) -> None:
        os.link(self.put(self.lower, "a"), self.lower / "b")
        self.put(self.upper, "a")
        self.put(self.upper, "b")
        self.assertEqual(self.names(), ["a", "b"])

    def test_every_name_of_a_file_carries_the_header_of_the_file(self) -> None:
        first = self.put(self.upper, "a", "same", mode=0o4755, mtime=77)
        os.setxattr(first, "user.note", b"n")
        os.link(first, self.upper / "b")
        one, two = self.member("a"), self.member("b")
        facts = [(entry.mode, entry.uid, entry.gid, entry.mtime, entry.pax_headers["SCHILY.xattr.user.note"]) for entry in (one, two)]
        self.assertEqual(facts, [(0o4755, os.getuid(), os.getgid(), 77, "n")] * 2)
        self.assertEqual((one.size, two.size), (4, 0))

    def test_links_files_that_changed_kind(self) -> None:
        os.symlink("one", self.lower / "l")
        os.symlink("two", self.upper / "l")
        os.symlink("same", self.lower / "s")
        os.symlink("same", self.upper / "s")
        self.put(self.lower, "k")
        (self.upper / "k").mkdir()
        self.assertEqual(self.names(), ["k", "l"])
        self.assertEqual(self.member("l").linkname, "two")


class Times(Case):
    def test_later_than_the_epoch_is_the_epoch(self) -> None:
        self.put(self.upper, "f", mtime=EPOCH + 10_000)
        self.assertEqual(self.member("f").mtime, EPOCH)

    def test_a_packages_date_is_kept_and_this_runs_is_not(self) -> None:
        future, now = EPOCH + 9_000_000, EPOCH + 77
        self.put(self.upper, "brought", mtime=future)
        self.put(self.upper, "made", mtime=now)
        self.put(self.upper, "old", mtime=EPOCH - 5)
        os.utime(self.put(self.upper, "by-chance"), ns=(0, future * 10**9 + 1))
        with tarfile.open(self.write(dates={future}).path) as archive:
            times = {member.name: int(member.mtime) for member in archive}
        self.assertEqual(times, {"brought": future, "made": EPOCH, "old": EPOCH - 5, "by-chance": EPOCH})
        # a base image that says it is from the future: what is younger than the run's start is the run's all the same
        with tarfile.open(self.write(dates={future}, since=EPOCH - 500).path) as archive:
            self.assertEqual(archive.getmember("old").mtime, EPOCH)

    def test_a_file_that_was_copied_up_keeps_its_time(self) -> None:
        self.put(self.lower, "f", mtime=EPOCH + 500)
        self.put(self.upper, "f", mtime=EPOCH + 500, mode=0o600)
        self.assertEqual(self.member("f").mtime, EPOCH + 500)

    def test_a_directory_keeps_the_time_it_has_below(self) -> None:
        (self.lower / "d").mkdir()
        os.utime(self.lower / "d", (77, 77))
        self.put(self.upper, "d/f")
        self.assertEqual(self.member("d").mtime, 77)

    def test_two_writings_of_the_same_content_are_the_same_bytes(self) -> None:
        self.put(self.upper, "d/f", "content", mtime=5)
        self.put(self.upper, "made", mtime=EPOCH + 5)
        first = self.write()
        other = Case("setUp")
        other.setUp()
        self.addCleanup(other.doCleanups)
        other.put(other.upper, "made", mtime=EPOCH + 500)
        other.put(other.upper, "d/f", "content", mtime=5)
        second = other.write()
        self.assertEqual((first.descriptor, first.diff_id), (second.descriptor, second.diff_id))
        self.assertEqual(first.path.read_bytes(), second.path.read_bytes())

    def test_the_gzip_header_holds_neither_time_nor_name(self) -> None:
        self.put(self.upper, "f")
        head = self.write().path.read_bytes()[:10]
        self.assertEqual(head[3:8], bytes(5))


class Owned(Case):
    def test_folders_of_what_stays_are_there_and_their_litter_is_not(self) -> None:
        self.put(self.upper, "tmp/a/owned")
        self.put(self.upper, "tmp/a/litter")
        self.put(self.upper, "run/x/socket")
        (self.upper / "tmp/b").mkdir()
        found = litter(self.upper)
        self.assertEqual(found, {"tmp/a", "tmp/a/owned", "tmp/a/litter", "tmp/b", "run/x/socket"})
        dropped = found - {"tmp/a/owned"}
        self.assertEqual(self.names(drop=lambda path, mode, size: path in dropped), ["run", "run/x", "tmp", "tmp/a", "tmp/a/owned"])

    def test_an_owned_path_through_links_of_the_image(self) -> None:
        (self.lower / "run").mkdir()
        (self.lower / "var").mkdir()
        os.symlink("../run", self.lower / "var/run")
        os.symlink("/var/run/x/../y", self.upper / "alias")
        view = LowerView([self.upper, self.lower])
        self.assertEqual(view.real("/var/run/f"), "run/f")
        self.assertEqual(view.real("/alias/f"), "run/y/f")
        os.symlink("loop", self.upper / "loop")
        self.assertEqual(view.real("/loop/f"), "loop/f")


class Junk(Case):
    def test_what_stays_out(self) -> None:
        for name in (
            "var/log/dnf.log",
            "var/log/dnf.rpm.log",
            "var/log/hawkey.log",
            "var/log/hawkey.log-20260101",
            "var/cache/dnf/current-1234/repodata/x",
            "var/cache/ldconfig/aux-cache",
            "var/lib/dnf/history.sqlite-wal",
            "var/lib/dnf/repos/x/countme",
            "var/lib/rpm/.rpm.lock",
            "var/lib/rpm/rpmdb.sqlite-shm",
            "usr/lib/sysimage/rpm/__db.001",
            "tmp/x",
            "var/tmp/rpm-tmp.abc",
            "run/lock/x",
            "run/secrets",
            "dev/null",
            "etc/machine-id",
            "etc/.pwd.lock",
        ):
            with self.subTest(name):
                self.assertTrue(is_junk(name, stat.S_IFREG | 0o644, 5))

    def test_what_stays_in(self) -> None:
        for name, mode, size in (
            ("var/lib/rpm/rpmdb.sqlite", stat.S_IFREG, 5),
            ("var/log/nova", stat.S_IFDIR, 5),
            ("run/mariadb", stat.S_IFDIR, 5),
            ("etc/hosts", stat.S_IFREG, 20),
            ("var/cache/dnf", stat.S_IFDIR, 5),
            ("tmp", stat.S_IFDIR, 5),
            ("usr/lib/tmp/x", stat.S_IFREG, 5),
            ("etc/machine-id.conf", stat.S_IFREG, 5),
            ("usr/share/run/x", stat.S_IFREG, 5),
        ):
            with self.subTest(name):
                self.assertFalse(is_junk(name, mode | 0o644, size))

    def test_mount_points_of_a_build_only_while_empty(self) -> None:
        self.assertTrue(is_junk("etc/resolv.conf", stat.S_IFREG | 0o644, 0))
        self.assertFalse(is_junk("etc/resolv.conf", stat.S_IFREG | 0o644, 9))

    def test_nothing_of_a_dropped_directory_remains(self) -> None:
        self.put(self.upper, "var/cache/dnf/a/b/c")
        self.put(self.upper, "tmp/a/b")
        self.assertEqual([name for name in self.names() if "/a" in name], [])


class LongNames(Case):
    def test_long_and_foreign_names_survive(self) -> None:
        names = ["d" * 90 + "/" + "f" * 90, "ümläut", os.fsdecode(b"raw-\xff")]
        for name in names:
            self.put(self.upper, name)
        os.symlink("t" * 150, self.upper / "link")
        with tarfile.open(self.write().path, errors="surrogateescape") as archive:
            found = {member.name: member for member in archive}
        self.assertLessEqual(set(names), set(found))
        self.assertEqual(found["link"].linkname, "t" * 150)

    def test_content_of_every_length(self) -> None:
        for length in (0, 1, 511, 512, 513, 300_000):
            self.put(self.upper, f"f{length}", "x" * length)
        with tarfile.open(self.write().path) as archive:
            for member in archive:
                self.assertEqual(len(archive.extractfile(member).read()), int(member.name[1:]))

    def test_sub_second_times_and_the_plain_stream(self) -> None:
        target = self.put(self.upper, "f")
        os.utime(target, ns=(5_000_000_007, 5_000_000_007))
        layer = self.write()
        self.assertIn(b"mtime=5.000000007\n", gzip.decompress(layer.path.read_bytes()))


@unittest.skipUnless(ROOT, "needs root: whiteouts and overlay attributes")
class Overlay(Case):
    def whiteout(self, path: str) -> None:
        (self.upper / path).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(self.upper / path, stat.S_IFCHR, os.makedev(0, 0))

    def test_whiteouts_only_of_what_is_there(self) -> None:
        self.put(self.lower, "d/gone")
        self.whiteout("d/gone")
        self.whiteout("d/never-was")
        self.assertEqual(self.names(), ["d", "d/.wh.gone"])

    def test_opaque_directory_keeps_even_what_looks_unchanged(self) -> None:
        self.put(self.lower, "d/same")
        self.put(self.lower, "d/hidden")
        self.put(self.upper, "d/same")
        os.setxattr(self.upper / "d", "trusted.overlay.opaque", b"y")
        self.assertEqual(self.names(), ["d", "d/.wh..wh..opq", "d/same"])

    def test_opaque_without_anything_below_is_a_plain_directory(self) -> None:
        self.put(self.upper, "d/f")
        os.setxattr(self.upper / "d", "trusted.overlay.opaque", b"y")
        self.assertEqual(self.names(), ["d", "d/f"])

    def test_old_write_ahead_logs_below_are_hidden_by_a_new_database(self) -> None:
        for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal", "rpmdb.sqlite-shm"):
            self.put(self.lower, f"var/lib/rpm/{name}", "old")
        database = self.put(self.upper, "var/lib/rpm/rpmdb.sqlite", "")
        connection = sqlite3.connect(database)
        connection.execute("CREATE TABLE Packages (hnum INTEGER, blob BLOB)")
        connection.close()
        self.put(self.upper, "var/lib/rpm/rpmdb.sqlite-shm", "junk")
        hidden = ["var/lib/rpm/.wh.rpmdb.sqlite-shm", "var/lib/rpm/.wh.rpmdb.sqlite-wal"]
        self.assertEqual([name for name in self.names() if ".wh." in name], hidden)

    def test_a_folder_made_anew_above_the_database_hides_what_was_below_once(self) -> None:
        self.put(self.lower, "var/lib/old")
        self.put(self.upper, "var/lib/new")
        self.put(self.upper, "var/lib/rpm/note")
        os.setxattr(self.upper / "var/lib", "trusted.overlay.opaque", b"y")
        files, database = self.split()
        self.assertEqual(files, ["var", "var/lib", "var/lib/.wh..wh..opq", "var/lib/new"])
        self.assertEqual(database, ["var", "var/lib", "var/lib/rpm", "var/lib/rpm/note"], "as a parent it would hide the new file, too")

    def test_capability_and_owner(self) -> None:
        value = bytes.fromhex("0100000200040000000000000000000000000000")
        target = self.put(self.upper, "f", mode=0o755)
        os.chown(target, 4_000_000_00, 3)
        os.setxattr(target, "security.capability", value)
        entry = self.member("f")
        self.assertEqual((entry.uid, entry.gid), (4_000_000_00, 3))
        self.assertEqual(entry.pax_headers["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape"), value)

    def test_a_capability_alone_is_news(self) -> None:
        for place in (self.lower, self.upper):
            self.put(place, "f", mode=0o755)
        os.setxattr(self.upper / "f", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
        self.assertEqual(self.names(), ["f"])

    def test_overlay_attributes_never_leave(self) -> None:
        self.put(self.upper, "d/f")
        os.setxattr(self.upper / "d", "trusted.overlay.origin", b"host")
        self.assertEqual(self.member("d").pax_headers, {})


if __name__ == "__main__":
    unittest.main()
