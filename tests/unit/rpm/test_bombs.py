"""Package databases of a few bytes that stand for gigabytes, or for ever: one line each."""

from __future__ import annotations

import sqlite3
import struct
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.rpm import installed, rpmdb

_PLAIN = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"


def database(*statements: str) -> rpmdb.Database:
    """A database that these statements make."""
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    return rpmdb.Database("/var/lib/rpm/rpmdb.sqlite", connection.serialize(), None)


def header(name: str, more: int = 0) -> bytes:
    """A package's header, with as many further entries."""
    texts = {1000: name, 1001: "1", 1002: "1", 1022: "noarch"}
    entries, data = b"", b""
    for tag, text in texts.items():
        entries += struct.pack(">IIII", tag, 6, len(data), 1)
        data += text.encode() + b"\0"
    entries += struct.pack(">IIII", 1049, 8, 0, 1) * more
    return struct.pack(">II", len(entries) // 16, len(data)) + entries + data


class Databases(unittest.TestCase):
    def refused(self, found: rpmdb.Database, words: str) -> None:
        """By every reader, in one line, before anything of it is read."""
        with tempfile.TemporaryDirectory() as folder:
            for read in (installed.nevras, lambda one: rpmdb.place(one, Path(folder))):
                with self.assertRaises(ContentError) as caught:
                    read(found)
                self.assertIn(words, str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))

    def test_a_view_without_end(self) -> None:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS hnum, zeroblob(1000) AS blob FROM n"
        self.refused(database(f"CREATE VIEW Packages AS {endless}"), "no table of packages")

    def test_columns_that_are_computed(self) -> None:
        for kind in ("VIRTUAL", "STORED"):
            made = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, size INT, blob BLOB AS (zeroblob(size))"
            statements = (f"{made[:-1]} ) {kind})".replace(") )", "))"),)
            found = database(*statements, "INSERT INTO Packages (size) VALUES (10)")
            self.refused(found, "computed columns")

    def test_no_table_at_all(self) -> None:
        self.refused(database("CREATE TABLE other (x)"), "no table of packages")

    def test_more_bytes_than_the_file_has(self) -> None:
        """A page whose rows are one and the same long one (SQLite, "Database File Format", 1.6)."""
        sizes = (300_000, *[10] * 60)
        found = database(_PLAIN, *(f"INSERT INTO Packages (blob) VALUES (zeroblob({size}))" for size in sizes))
        (size,) = struct.unpack(">H", found.main[16:18])
        spoilt = bytearray(found.main)
        start = next(at for at in range(size, len(spoilt), size) if spoilt[at] == 13 and spoilt[at + 4] == len(sizes))
        for number in range(1, len(sizes)):
            at = start + 8 + 2 * number
            spoilt[at : at + 2] = spoilt[start + 8 : start + 10]
        self.refused(rpmdb.Database(found.path, bytes(spoilt), None), f"its packages have {len(sizes) * 300_000} bytes")

    def test_pages_in_a_circle(self) -> None:
        found = database(_PLAIN, *(f"INSERT INTO Packages (blob) VALUES (zeroblob(900 + {number}))" for number in range(2000)))
        size = struct.unpack(">H", found.main[16:18])[0]
        spoilt, circles = bytearray(found.main), 0
        for page in range(1, len(spoilt) // size):
            start = page * size
            if spoilt[start] == 5:  # an inner page of a table: its children become itself
                cells = struct.unpack(">H", spoilt[start + 3 : start + 5])[0]
                for cell in range(cells):
                    (offset,) = struct.unpack(">H", spoilt[start + 12 + 2 * cell : start + 14 + 2 * cell])
                    spoilt[start + offset : start + offset + 4] = struct.pack(">I", page + 1)
                circles += 1
        self.assertGreater(circles, 0)
        self.refused(rpmdb.Database(found.path, bytes(spoilt), None), "")

    def test_a_hundred_thousand_entries_in_one_header_are_read(self) -> None:
        connection = sqlite3.connect(":memory:")
        connection.execute(_PLAIN)
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (header("one", 100_000),))
        connection.commit()
        found = installed.nevras(rpmdb.Database("/var/lib/rpm/rpmdb.sqlite", connection.serialize(), None))
        self.assertEqual(["one"], [nevra.name for nevra in found])
