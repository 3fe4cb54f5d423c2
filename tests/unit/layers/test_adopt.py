"""What was written beside an upper directory comes into it, and nowhere else."""

import tempfile
import unittest
from pathlib import Path

from topcoat.layers.adopt import adopt


class Adopting(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.top = Path(holder.name)
        self.added, self.upper, self.lower = (self.top / name for name in ("added", "upper", "lower"))
        for folder in (self.added / "deep", self.upper, self.lower / "var/cache"):
            folder.mkdir(parents=True)
        (self.added / "deep/file").write_text("new")

    def adopt(self) -> None:
        adopt(self.added, self.upper, (self.lower,), "var/cache")

    def test_missing_folders_look_as_they_do_below(self) -> None:
        (self.lower / "var/cache").chmod(0o750)
        self.adopt()
        self.assertEqual((self.upper / "var/cache/deep/file").read_text(), "new")
        self.assertEqual((self.upper / "var/cache").stat().st_mode & 0o7777, 0o750)

    def test_what_is_there_stays(self) -> None:
        (self.upper / "var/cache/deep").mkdir(parents=True)
        (self.upper / "var/cache/deep/file").write_text("own")
        (self.added / "deep/other").write_text("new")
        self.adopt()
        self.assertEqual((self.upper / "var/cache/deep/file").read_text(), "own")
        self.assertEqual((self.upper / "var/cache/deep/other").read_text(), "new")

    def test_a_link_of_the_image_is_not_followed(self) -> None:
        outside = self.top / "outside"
        outside.mkdir()
        for path in ("var", "var/cache", "var/cache/deep"):
            with self.subTest(path):
                self.setUp()
                link = self.upper / path
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(outside)
                self.adopt()
                self.assertEqual(list(outside.iterdir()), [])

    def test_a_folder_that_no_layer_has_is_not_made(self) -> None:
        (self.lower / "var/cache").rmdir()
        self.adopt()
        self.assertEqual(list((self.upper).rglob("file")), [])

    def test_nothing_gained_changes_nothing(self) -> None:
        (self.added / "deep/file").unlink()
        (self.added / "deep").rmdir()
        self.adopt()
        self.assertEqual(list(self.upper.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
