"""Where the checkouts of a recorded job go: below the work folder, whatever the recording and the checkouts before say."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.reproduce.workspace import safe_folder


class Folders(unittest.TestCase):
    def test_no_folder_leads_out(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root, outside = Path(folder) / "work", Path(folder) / "home"
            (root / "src/host/first").mkdir(parents=True)
            outside.mkdir()
            (root / "src/host/first/link").symlink_to(outside)
            (root / "src/host/first/inside").symlink_to("../second")
            for name in ("/etc", "../home", "src/../../home", "-x", "", "src/host/first/link", "src/host/first/link/deeper"):
                with self.subTest(name), self.assertRaisesRegex(UsageError, "leads out"):
                    safe_folder(root, name)
            for name in ("src/host/second", "src/host/first/inside", "src/host/first/new/deeper"):
                self.assertEqual(root / name, safe_folder(root, name))
