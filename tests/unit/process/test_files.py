"""A file is there whole or not at all."""

import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from topcoat.process.files import write_chunks, write_whole


class Whole(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_content_mode_and_folders(self) -> None:
        path = self.folder / "a/b" / ("n" * 250)
        for content, expected, mode in ((b"\0x", b"\0x", 0o600), ("é\udcff", b"\xc3\xa9\\udcff", 0o644)):
            with self.subTest(content):
                write_whole(path, content, mode=mode)
                self.assertEqual(expected, path.read_bytes())
                self.assertEqual(mode, stat.S_IMODE(path.stat().st_mode))
                self.assertEqual([path], list(path.parent.iterdir()))

    def test_a_failure_leaves_the_old_file_and_nothing_beside_it(self) -> None:
        path = self.folder / "file"
        write_whole(path, "old")
        with mock.patch.object(Path, "replace", side_effect=OSError(28, "No space left on device")), self.assertRaises(OSError):
            write_whole(path, "new")
        self.assertEqual("old", path.read_text())
        self.assertEqual([path], list(self.folder.iterdir()))

    def test_parts_that_do_not_all_come_leave_nothing(self) -> None:
        path = self.folder / "file"

        def parts():
            yield b"half"
            raise ConnectionError

        with self.assertRaises(ConnectionError):
            write_chunks(path, parts())
        self.assertEqual([], list(self.folder.iterdir()))
        write_chunks(path, iter((b"who", b"le")))
        self.assertEqual(b"whole", path.read_bytes())
