"""The package database in a layer is one file that readers without rights can open."""

import os
import sqlite3
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.layers.database import settle


class SettleTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.upper = Path(folder.name)
        self.folder = self.upper / "var/lib/rpm"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "rpmdb.sqlite"

    def fill(self) -> None:
        """A database as rpm leaves it after a crash: the last change is only in the log."""
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE Packages (hnum INTEGER, blob BLOB)")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO Packages VALUES (1, 'x')")
        connection.commit()
        copies = {name: (self.folder / name).read_bytes() for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal", "rpmdb.sqlite-shm")}
        connection.close()
        for name, content in copies.items():
            (self.folder / name).write_bytes(content)

    def test_the_log_is_folded_in_and_the_file_stands_alone(self):
        self.fill()
        self.path.chmod(0o640)
        settle(self.upper)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["rpmdb.sqlite"])
        self.assertEqual(self.path.read_bytes()[18:20], b"\x01\x01", "not in rollback mode (SQLite file format, 1.3)")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        self.assertEqual(connection.execute("SELECT count(*) FROM Packages").fetchone(), (1,))
        connection.close()

    def test_the_same_content_gives_the_same_bytes(self):
        self.fill()
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        settle(self.upper)
        first = self.path.read_bytes()
        for name, content in before.items():
            (self.folder / name).write_bytes(content)
        settle(self.upper)
        self.assertEqual(self.path.read_bytes(), first)

    def test_a_whiteout_under_the_name_of_the_log_is_left_alone(self):
        self.fill()
        (self.folder / "rpmdb.sqlite-wal").unlink()
        os.symlink("nowhere", self.folder / "rpmdb.sqlite-wal")  # what is no regular file, without needing root for a device
        settle(self.upper)
        self.assertTrue((self.folder / "rpmdb.sqlite-wal").is_symlink())

    def test_no_database_is_fine_and_a_damaged_one_is_not(self):
        settle(self.upper)
        self.path.write_bytes(b"SQLite format 3\0" + b"garbage" * 100)
        with self.assertRaises(ContentError):
            settle(self.upper)
