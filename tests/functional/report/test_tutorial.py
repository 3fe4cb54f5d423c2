"""The first hour, as written: every command of the tutorial is typed into one shell, and its output is what the page shows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.needs import needs
from tests.sessions import ROOT, matches, replay, session

PAGE = ROOT / "doc" / "source" / "user" / "first-hour.rst"
REGISTRY = "work/tour/registry"
TOOLS = ("docker-registry", "buildah", "dnf", "createrepo_c", "rpmdb2solv")


class Matching(unittest.TestCase):
    def test_it_can_fail(self):
        self.assertIsNone(matches(["a", "…", "c…e"], ["a", "b", "c d e"]))
        self.assertEqual("x", matches(["a", "x"], ["a", "b"]))
        self.assertEqual("a", matches(["b", "a"], ["a", "b"]))


@needs(*TOOLS, root=True)
class Tutorial(unittest.TestCase):
    def test_it_is_true(self):
        text = PAGE.read_text()
        steps = session(text[text.index("A world to work in") :])
        self.assertGreater(len(steps), 20)
        with tempfile.TemporaryDirectory(prefix="topcoat-tour-") as folder:
            try:
                replay(self, steps, Path(folder), timeout=1500)
            finally:
                subprocess.run([sys.executable, "-m", "topcoat_demo", "registry", "stop", "--directory", str(Path(folder) / REGISTRY)], check=False)


if __name__ == "__main__":
    unittest.main()
