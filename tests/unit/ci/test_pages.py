"""What the pages for contributors name exists."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "doc/source/contributor"
PLACE = re.compile(r"``((?:tests|tools|container-images|zuul\.d|roles|playbooks|\.ci)/[^`*]*)``")


MODULE = re.compile(r"``topcoat((?:\.\w+)+)``")


def exists(dotted: str) -> bool:
    """Whether a module of the package, or a name in one, is there."""
    place = ROOT / "tools/topcoat"
    parts = dotted.strip(".").split(".")
    for number, part in enumerate(parts):
        file = place / f"{part}.py"
        if (place / part).is_dir():
            place /= part
        elif file.is_file():
            return number == len(parts) - 1 or parts[number + 1] in file.read_text(encoding="utf-8")
        else:
            return part in (place / "__init__.py").read_text(encoding="utf-8")
    return True


class Paths(unittest.TestCase):
    def test_every_module_that_pages_and_sources_name_exists(self) -> None:
        for page in (*sorted(ROOT.glob("doc/source/**/*.rst")), *sorted(ROOT.glob("tools/**/*.py"))):
            for dotted in MODULE.findall(page.read_text(encoding="utf-8")):
                with self.subTest(page=str(page.relative_to(ROOT)), name=dotted):
                    self.assertTrue(exists(dotted))

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
