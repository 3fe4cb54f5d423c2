"""Which package database of a tree is the visible one."""

import tempfile
import unittest
from pathlib import Path

from topcoat.rpm import rpmdb
from topcoat.transactions.ownership import database_root


class DatabaseRoot(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.place = Path(holder.name)

    def layer(self, name: str, *folders: str) -> Path:
        for folder in folders:
            path = self.place / name / folder / rpmdb.SQLITE
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x" * 512)
        return self.place / name

    def test_the_folder_is_the_one_that_the_inventory_reads(self) -> None:
        old, new = self.layer("old", "var/lib/rpm"), self.layer("new", "usr/lib/sysimage/rpm")
        merged = self.layer("merged", "var/lib/rpm", "usr/lib/sysimage/rpm")
        self.assertEqual(rpmdb.read_root(merged).path, "/usr/lib/sysimage/rpm/rpmdb.sqlite")
        for stack in ((old, new), (new, old)):
            self.assertEqual(database_root(stack[0], stack[1:]), new)

    def test_a_tree_without_one_has_none(self) -> None:
        self.assertIsNone(database_root(self.place, ()))
