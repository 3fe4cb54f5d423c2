"""Inventories out of real rpm databases: from a root, from layers, back from their stored form."""

from __future__ import annotations

import gzip
import io
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

import zstandard

from tests.functional.solver.support import Bench, missing_tool
from topcoat.errors import ContentError
from topcoat.rpm import inventory, layerdb
from topcoat.rpm.inventory import Inventory
from topcoat.rpm.rpmdb import WithoutRpmError
from topcoat_demo import signing
from topcoat_demo.rpms import File, RpmSpec

PACKAGES = [
    RpmSpec("alpha", "1.0", epoch=3, source="alpha-src", files=(File("/usr/share/alpha", "x" * 500),)),
    RpmSpec("beta", "1.0~rc1", arch="x86_64", requires=("alpha",)),
    RpmSpec("gamma", "2.0^git1", "0.1.el9", module="gamma:2:1:abcd"),
]


SQLITE = "var/lib/rpm/rpmdb.sqlite"


class InventoryTestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        reason = missing_tool()
        if reason:
            raise AssertionError(reason)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-inventory-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.bench = Bench(self.folder)

    def rpm_qa(self, root: Path, folder: str = "/var/lib/rpm") -> list[str]:
        """What rpm itself says, read from a copy so that the root stays as it is."""
        copy = self.bench.path("copy")
        shutil.copytree(root, copy, symlinks=True)
        command = ["rpm", "--root", str(copy), "--dbpath", folder, "-qa", "--qf", "%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\n"]
        return sorted(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())

    def assert_same(self, found: Inventory, root: Path) -> None:
        self.assertEqual([f"{n.name}-{n.full_evr}.{n.arch}" for n in sorted(found.nevras)], self.rpm_qa(root))

    def with_log(self, before: list[RpmSpec], after: list[RpmSpec]) -> tuple[bytes, bytes]:
        """A database of one state whose write-ahead log brings it to another: what a killed transaction leaves."""
        first, second = (self.bench.root(specs) / SQLITE for specs in (before, after))
        connection = sqlite3.connect(first, isolation_level=None)
        try:
            connection.execute("pragma wal_autocheckpoint=0")
            connection.execute("attach ? as other", (str(second),))
            connection.execute("begin")
            for (table,) in connection.execute("select name from main.sqlite_master where type = 'table' and name not like 'sqlite_%'").fetchall():
                connection.execute(f"delete from main.'{table}'")
                connection.execute(f"insert into main.'{table}' select * from other.'{table}'")
            connection.execute("commit")
            return first.read_bytes(), first.with_name("rpmdb.sqlite-wal").read_bytes()
        finally:
            connection.close()


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


class FromRoot(InventoryTestCase):
    def test_packages(self) -> None:
        root = self.bench.root(PACKAGES)
        found = inventory.from_root(root)
        self.assert_same(found, root)
        alpha = next(package for package in found.packages if package.nevra.name == "alpha")
        self.assertEqual((alpha.source_rpm, alpha.size, alpha.build_time), ("alpha-src-1.0-1.el9.src.rpm", 500, PACKAGES[0].time))
        self.assertEqual(found.rpmdb_path, "/var/lib/rpm/rpmdb.sqlite")

    def test_what_headers_tell_is_what_rpm_shows(self) -> None:
        root = self.bench.root(PACKAGES)
        found = inventory.from_root(root)
        facts = "%{NAME}|%{LICENSE}|%{VENDOR}|%{SHA256HEADER}|%{MODULARITYLABEL}\n"
        command = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "-qa", "--qf", facts]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.replace("(none)", "").splitlines()
        told = [f"{p.nevra.name}|{p.about.license}|{p.about.vendor}|{p.about.sha256}|{p.about.module}" for p in found.packages if p.about]
        self.assertEqual(sorted(told), sorted(shown))
        self.assertTrue(all(package.about and package.about.license and len(package.about.sha256) == 64 for package in found.packages))
        again = inventory.from_files(found.to_files())
        self.assertEqual([package.about for package in again.packages], [package.about for package in found.packages])

    def test_root_stays_untouched(self) -> None:
        root = self.bench.root(PACKAGES)
        before = snapshot(root)
        inventory.from_root(root)
        self.assertEqual(snapshot(root), before)

    def test_write_ahead_log_left_behind(self) -> None:
        """The last transaction is in the log only; a reader of the bare file would miss it."""
        main, log = self.with_log(PACKAGES[:1], PACKAGES)
        root = self.bench.path("root")
        (root / "var/lib/rpm").mkdir(parents=True)
        (root / SQLITE).write_bytes(main)
        self.assertEqual([package.nevra.name for package in inventory.from_root(root).packages], ["alpha"])
        (root / f"{SQLITE}-wal").write_bytes(log)
        found = inventory.from_root(root)
        self.assertEqual([package.nevra.name for package in found.packages], ["alpha", "beta", "gamma"])
        self.assert_same(found, root)

    def test_usr_lib_sysimage_rpm(self) -> None:
        root = self.bench.root(PACKAGES)
        (root / "usr/lib/sysimage").mkdir(parents=True)
        (root / "var/lib/rpm").rename(root / "usr/lib/sysimage/rpm")
        found = inventory.from_root(root)
        self.assert_same_at(found, root)
        (root / "var/lib/rpm").symlink_to("../../usr/lib/sysimage/rpm")
        self.assert_same_at(inventory.from_root(root), root)
        (root / "var/lib/rpm").unlink()
        (root / "var/lib/rpm").symlink_to("/usr/lib/sysimage/rpm")
        self.assert_same_at(inventory.from_root(root), root)

    def assert_same_at(self, found: Inventory, root: Path) -> None:
        self.assertEqual(found.rpmdb_path, "/usr/lib/sysimage/rpm/rpmdb.sqlite")
        self.assertEqual([f"{n.name}-{n.full_evr}.{n.arch}" for n in sorted(found.nevras)], self.rpm_qa(root, "/usr/lib/sysimage/rpm"))

    def test_link_out_of_the_root_is_not_followed(self) -> None:
        other = self.bench.root(PACKAGES)
        root = self.bench.path("root")
        (root / "var/lib").mkdir(parents=True)
        (root / "var/lib/rpm").symlink_to(other / "var/lib/rpm")
        with self.assertRaises(ContentError):
            inventory.from_root(root)

    def test_empty_database(self) -> None:
        self.assertEqual(inventory.from_root(self.bench.root([])).packages, ())

    def test_no_database(self) -> None:
        root = self.bench.path("root")
        root.mkdir()
        with self.assertRaises(ContentError) as caught:
            inventory.from_root(root)
        self.assertIn("no rpm database", str(caught.exception))

    def test_other_formats(self) -> None:
        for name, word in (("Packages", "Berkeley DB"), ("Packages.db", "ndb")):
            root = self.bench.path("root")
            (root / "var/lib/rpm").mkdir(parents=True)
            (root / "var/lib/rpm" / name).write_bytes(b"x")
            with self.assertRaises(ContentError) as caught:
                inventory.from_root(root)
            self.assertIn(word, str(caught.exception))
            self.assertIn("rebuilddb", caught.exception.next_step)

    def test_damaged_database(self) -> None:
        root = self.bench.root(PACKAGES)
        (root / "var/lib/rpm/rpmdb.sqlite").write_bytes(b"this is no database" * 1000)
        for leftover in (root / "var/lib/rpm").glob("*-*"):
            leftover.unlink()
        with self.assertRaises(ContentError) as caught:
            inventory.from_root(root)
        self.assertIn("damaged", str(caught.exception))

    def test_public_keys_are_no_packages(self) -> None:
        root = self.bench.root(PACKAGES)
        key = self.folder / "KEY"
        key.write_text(signing.DEMO.armored())
        options = ["--dbpath", str(root / "var/lib/rpm"), "--define", "_keyring rpmdb"]
        subprocess.run(["rpmkeys", *options, "--import", str(key)], check=True, capture_output=True)
        self.assertTrue(any(line.startswith("gpg-pubkey-") for line in self.rpm_qa(root)), "rpm keeps the key as a package")
        self.assertEqual([package.nevra.name for package in inventory.from_root(root).packages], ["alpha", "beta", "gamma"])


class Stored(InventoryTestCase):
    def test_back_from_files_and_bytes(self) -> None:
        found = inventory.from_root(self.bench.root(PACKAGES))
        self.assertEqual(inventory.from_files(found.to_files()), found)
        self.assertEqual(Inventory.from_bytes(found.to_bytes()), found)
        self.assertEqual(Inventory.from_bytes(found.to_bytes()).solv, found.solv)

    def test_same_packages_same_bytes(self) -> None:
        """Nothing of the machine or the moment is in what is pushed."""
        root = self.bench.root(PACKAGES)
        other = self.bench.path("other")
        shutil.copytree(root, other)
        self.assertEqual(inventory.from_root(root).to_files(), inventory.from_root(other).to_files())

    def test_same_packages_same_key(self) -> None:
        one, other = (inventory.from_root(self.bench.root(PACKAGES)) for _ in range(2))
        self.assertEqual(one.key, other.key)
        self.assertNotEqual(one.key, inventory.from_root(self.bench.root(PACKAGES[:2])).key)
        rebuilt = [PACKAGES[0].bump(time=PACKAGES[0].time + 1), *PACKAGES[1:]]
        self.assertNotEqual(one.key, inventory.from_root(self.bench.root(rebuilt)).key)

    def test_damaged(self) -> None:
        files = inventory.from_root(self.bench.root(PACKAGES)).to_files()
        for name in files:
            with self.subTest(f"without {name}"), self.assertRaises(ContentError):
                inventory.from_files({key: value for key, value in files.items() if key != name})
        for content in (b"", b"{}", b"[]", b'{"schema": 1}', b"\xff\xfe", files["packages.json"].replace(b"alpha-3:1.0", b"alpha")):
            with self.subTest(content[:20]), self.assertRaises(ContentError):
                inventory.from_files({**files, "packages.json": content})
        for content in (b"", b"x", b"[[1]]\n", b'[["packages.json", 5]]\nabc'):
            with self.subTest(content), self.assertRaises(ContentError):
                Inventory.from_bytes(content)


class Layer:
    """A layer under construction."""

    def __init__(self, compression: str = "gz", prefix: str = "") -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w")  # noqa: SIM115 - closed when the layer is opened
        self._compression = compression
        self._prefix = prefix
        self.opened = 0

    def add(self, name: str, content: bytes = b"", **more) -> Layer:
        member = tarfile.TarInfo(self._prefix + name)
        member.size = len(content)
        for key, value in more.items():
            setattr(member, key, value)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def tree(self, root: Path) -> Layer:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                self.add(str(path.relative_to(root)), path.read_bytes())
        return self

    def __call__(self) -> io.BytesIO:
        self.opened += 1
        self._tar.close()
        content = self._buffer.getvalue()
        if self._compression == "gz":
            content = gzip.compress(content)
        elif self._compression == "zst":
            content = zstandard.ZstdCompressor().compress(content)
        return io.BytesIO(content)


class FromLayers(InventoryTestCase):
    def names(self, *newest_first: Layer) -> list[str]:
        return [package.nevra.name for package in inventory.from_layers(newest_first).packages]

    def layer(self, *specs: RpmSpec, **options) -> Layer:
        return Layer(**options).tree(self.bench.root(specs))

    def test_equals_the_root(self) -> None:
        root = self.bench.root(PACKAGES)
        for compression in ("gz", "zst", "plain"):
            for prefix in ("", "./", "/"):
                with self.subTest(f"{compression} {prefix!r}"):
                    found = inventory.from_layers([Layer(compression, prefix).tree(root)])
                    self.assertEqual(found, inventory.from_root(root))

    def test_newest_database_wins_and_only_the_packages_need_no_older_layer(self) -> None:
        """What the image tells dnf may lie in any layer; the packages alone are known with the newest database."""
        unrelated = Layer().add("etc/motd", b"hello")
        middle, oldest = self.layer(*PACKAGES), self.layer(PACKAGES[0])
        self.assertEqual(self.names(unrelated, middle, oldest), ["alpha", "beta", "gamma"])
        self.assertEqual((unrelated.opened, middle.opened, oldest.opened), (1, 1, 1))
        layerdb.read_layers([unrelated, middle, oldest])
        self.assertEqual((unrelated.opened, middle.opened, oldest.opened), (2, 2, 1))

    def test_log_in_a_newer_layer(self) -> None:
        main, log = self.with_log(PACKAGES[:1], PACKAGES)
        above, below = Layer().add(f"{SQLITE}-wal", log), Layer().add(SQLITE, main)
        self.assertEqual(self.names(above, below), ["alpha", "beta", "gamma"])

    def test_log_that_a_newer_layer_removed(self) -> None:
        main, log = self.with_log(PACKAGES[:1], PACKAGES)
        below = Layer().add(SQLITE, main).add(f"{SQLITE}-wal", log)
        self.assertEqual(self.names(below), ["alpha", "beta", "gamma"])
        for whiteout in ("var/lib/rpm/.wh.rpmdb.sqlite-wal", "./var/lib/rpm/.wh.rpmdb.sqlite-wal"):
            self.assertEqual(self.names(Layer().add(whiteout), below), ["alpha"])

    def test_whiteouts(self) -> None:
        base = self.layer(*PACKAGES)
        for whiteout in (
            "var/lib/rpm/.wh.rpmdb.sqlite",
            "var/lib/.wh.rpm",
            "var/.wh.lib",
            ".wh.var",
            "var/lib/rpm/.wh..wh..opq",
            "var/.wh..wh..opq",
            ".wh..wh..opq",
        ):
            with self.subTest(whiteout):
                with self.assertRaises(ContentError) as caught:
                    self.names(Layer().add(whiteout), base)
                self.assertIn("no rpm database", str(caught.exception))

    def test_an_image_that_has_nothing_to_do_with_rpm(self) -> None:
        """It is told apart from one whose database somebody took away: the packages of that one are unknown, not none."""
        with self.assertRaises(WithoutRpmError):
            self.names(Layer().add("usr/bin/proxy", b"x"), Layer().add("etc/passwd", b""))
        for trace in (
            "usr/bin/rpm",
            "./usr/lib/rpm/macros",
            "etc/yum.repos.d/x.repo",
            "usr/share/rpm/rpmdb.sqlite",
            "opt/rpmdb.sqlite",
            "var/lib/rpm/.lock",
        ):
            with self.subTest(trace), self.assertRaises(ContentError) as caught:
                self.names(Layer().add("usr/bin/proxy", b"x"), Layer().add(trace, b""))
            self.assertNotIsInstance(caught.exception, WithoutRpmError)
            self.assertIn("no rpm database", caught.exception.what)
        nothing = inventory.nothing()
        self.assertEqual(inventory.Inventory.from_files(nothing.to_files()), nothing)
        self.assertEqual(nothing.nevras, frozenset())

    def test_whiteout_of_something_else(self) -> None:
        self.assertEqual(len(self.names(Layer().add("var/lib/.wh.dnf").add("etc/.wh..wh..opq"), self.layer(*PACKAGES))), 3)

    def test_opaque_folder_keeps_what_its_own_layer_brings(self) -> None:
        above = Layer().add("var/lib/rpm/.wh..wh..opq").tree(self.bench.root(PACKAGES[:2]))
        self.assertEqual(self.names(above, self.layer(*PACKAGES)), ["alpha", "beta"])

    def test_moved_database(self) -> None:
        """A newer layer moves the database to /usr/lib/sysimage/rpm and leaves a link."""
        root = self.bench.root(PACKAGES[:2])
        content = (root / SQLITE).read_bytes()
        log = (root / f"{SQLITE}-wal").read_bytes() if (root / f"{SQLITE}-wal").exists() else b""
        above = Layer().add("usr/lib/sysimage/rpm/rpmdb.sqlite", content).add("usr/lib/sysimage/rpm/rpmdb.sqlite-wal", log)
        above.add("var/lib/rpm", type=tarfile.SYMTYPE, linkname="../../usr/lib/sysimage/rpm")
        found = inventory.from_layers([above, self.layer(*PACKAGES)])
        self.assertEqual((found.rpmdb_path, len(found.packages)), ("/usr/lib/sysimage/rpm/rpmdb.sqlite", 2))

    def test_other_format(self) -> None:
        with self.assertRaises(ContentError) as caught:
            self.names(Layer().add("var/lib/rpm/Packages", b"x"))
        self.assertIn("Berkeley DB", str(caught.exception))

    def test_no_database(self) -> None:
        for layers in ([], [Layer().add("etc/motd")]):
            with self.assertRaises(ContentError):
                self.names(*layers)

    def test_damaged_layers(self) -> None:
        good = self.layer(*PACKAGES)().getvalue()
        for content in (b"", b"no archive at all" * 99, good[: len(good) // 2], good[:600] + b"\0" * 600 + good[1200:]):
            with self.subTest(content[:10]), self.assertRaises(ContentError):
                inventory.from_layers([lambda content=content: io.BytesIO(content)])

    def test_database_that_is_a_link(self) -> None:
        with self.assertRaises(ContentError):
            self.names(Layer().add(SQLITE, type=tarfile.SYMTYPE, linkname="/etc/passwd"))
