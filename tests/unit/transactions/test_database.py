"""The package database that a worker leaves behind is one file that holds everything."""

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
import unittest
from pathlib import Path

from topcoat.transactions.system_python import WORKER, SystemPython

_CHECKPOINT = "import sys; sys.path.insert(0, sys.argv[1]); import database; database.checkpoint(sys.argv[2])"


class Checkpoint(unittest.TestCase):
    def test_what_stands_in_the_log_alone_is_in_the_file_afterwards(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            whole, left = Path(folder) / "whole", Path(folder) / "left"
            whole.mkdir()
            with contextlib.closing(sqlite3.connect(whole / "rpmdb.sqlite", isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA wal_autocheckpoint=0")
                connection.execute("CREATE TABLE Packages (hnum INTEGER)")
                connection.execute("INSERT INTO Packages VALUES (1)")
                shutil.copytree(whole, left)  # as a process that ended in the middle leaves it
            subprocess.run([SystemPython().find(), "-I", "-c", _CHECKPOINT, WORKER, left], check=True)
            self.assertEqual([path.name for path in left.iterdir()], ["rpmdb.sqlite"])
            with contextlib.closing(sqlite3.connect(left / "rpmdb.sqlite")) as connection:
                self.assertEqual(connection.execute("SELECT hnum FROM Packages").fetchall(), [(1,)])


if __name__ == "__main__":
    unittest.main()
