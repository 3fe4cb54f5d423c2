"""The view of lower directories equals what overlayfs would show."""

import os
import stat
import tempfile
import unittest
from pathlib import Path

from topcoat.layers.lower import LowerView


class View(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.layers = [Path(holder.name) / str(number) for number in range(3)]
        for layer in self.layers:
            layer.mkdir()
        self.view = LowerView(self.layers)

    def put(self, layer: int, path: str) -> Path:
        target = self.layers[layer] / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(str(layer))
        return target

    def test_the_topmost_wins_and_directories_merge(self) -> None:
        self.put(2, "d/low")
        self.put(1, "d/both")
        self.put(2, "d/both")
        self.assertEqual(Path(self.view.entry("d/both").path).read_text(), "1")
        self.assertEqual(Path(self.view.entry("d/low").path).read_text(), "2")
        self.assertIsNone(self.view.entry("d/none"))
        self.assertIsNone(self.view.entry("none/none"))
        self.assertEqual(self.view.names("d"), {"low", "both"})
        self.assertTrue(stat.S_ISDIR(self.view.entry("").status.st_mode))

    def test_a_file_above_hides_a_directory_below(self) -> None:
        self.put(2, "x/inside")
        self.put(0, "x")
        self.assertIsNone(self.view.entry("x/inside"))
        self.assertEqual(self.view.names("x"), set())

    def test_a_link_is_not_followed(self) -> None:
        self.put(2, "real/f")
        os.symlink("real", self.layers[0] / "link")
        self.assertIsNone(self.view.entry("link/f"))

    @unittest.skipUnless(os.geteuid() == 0, "needs root: whiteouts and overlay attributes")
    def test_whiteouts_and_opaque_directories(self) -> None:
        self.put(2, "d/gone")
        self.put(2, "e/old")
        self.put(0, "e/new")
        (self.layers[1] / "d").mkdir()
        os.mknod(self.layers[1] / "d/gone", stat.S_IFCHR, os.makedev(0, 0))
        os.setxattr(self.layers[0] / "e", "trusted.overlay.opaque", b"y")
        self.assertIsNone(self.view.entry("d/gone"))
        self.assertEqual(self.view.names("d"), set())
        self.assertIsNone(self.view.entry("e/old"))
        self.assertEqual(self.view.names("e"), {"new"})

    @unittest.skipUnless(os.geteuid() == 0, "needs root: whiteouts")
    def test_a_directory_made_again_over_a_whiteout_does_not_show_what_was_below(self) -> None:
        self.put(2, "d/old")
        os.mknod(self.layers[1] / "d", stat.S_IFCHR, os.makedev(0, 0))
        self.put(0, "d/new")
        self.assertIsNone(self.view.entry("d/old"))
        self.assertEqual(self.view.names("d"), {"new"})


if __name__ == "__main__":
    unittest.main()
