"""Packages that disagree about a path are found before rpm refuses them."""

import tempfile
import unittest
from pathlib import Path

from tests.needs import needs
from topcoat.errors import ContentError
from topcoat_demo import clashes
from topcoat_demo.rpms import File, RpmSpec, directory, symlink, write_rpm


@needs("rpm")
class Clashes(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-clashes-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def found(self, *files: File) -> list[str]:
        paths = [write_rpm(RpmSpec(name, "1", files=(file,)), self.folder) for name, file in zip("abc", files, strict=False)]
        paths.append(write_rpm(RpmSpec("empty", "1"), self.folder))
        return clashes.find(paths)

    def test_each_kind_of_disagreement_names_the_path_and_the_packages(self) -> None:
        for one, other in (
            (File("/usr/share/x", "one\n"), File("/usr/share/x", "other\n")),
            (File("/usr/share/x", "one\n"), File("/usr/share/x", "one\n", 0o600)),
            (File("/usr/share/x", "one\n"), symlink("/usr/share/x", "y")),
            (symlink("/usr/share/x", "z"), symlink("/usr/share/x", "y")),
            (directory("/usr/share/x", mode=0o750), directory("/usr/share/x")),
            (directory("/usr/share/x", user="daemon"), directory("/usr/share/x")),
        ):
            with self.subTest(one=one, other=other):
                found = self.found(one, other, File("/usr/share/own", "\n"))
                self.assertEqual(len(found), 1, found)
                self.assertRegex(found[0], r"^/usr/share/x: [ab] \(.*\); [ab] \(")

    def test_what_is_the_same_may_be_owned_twice(self) -> None:
        for file in (File("/usr/share/x", "one\n"), symlink("/usr/share/x", "y"), directory("/usr/share/x")):
            self.assertEqual(self.found(file, file), [])

    def test_a_state_with_a_clash_is_no_state(self) -> None:
        paths = [write_rpm(RpmSpec(name, "1", files=(File("/x", name),)), self.folder) for name in "ab"]
        with self.assertRaisesRegex(ContentError, r"of current disagree about 1 paths: /x: a \(.*\); b \("):
            clashes.refuse("current", paths)


if __name__ == "__main__":
    unittest.main()
