"""What the pages for contributors name exists."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "doc/source/contributor"
PLACE = re.compile(r"``((?:tests|tools|container-images|zuul\.d|roles|playbooks|\.ci)/[^`*]*)``")


class Paths(unittest.TestCase):
    def test_every_path_exists(self) -> None:
        for page in sorted(PAGES.glob("*.rst")):
            for place in PLACE.findall(page.read_text(encoding="utf-8")):
                with self.subTest(page=page.name, place=place):
                    self.assertTrue((ROOT / place.split(" ")[0]).exists())

    def test_every_requirement_names_a_test(self) -> None:
        rows = re.findall(r"(?m)^   \* - (\S.*)\n     - .*\n     - .*\n     - (.*)$", (PAGES / "requirements.rst").read_text(encoding="utf-8"))
        self.assertGreater(len(rows), 40)
        for name, guard in rows:
            with self.subTest(name):
                self.assertTrue(name == "id" or guard.startswith("``tests/"))
