"""The wheels: the product's holds the product only; demo and lab have wheels of their own, whole with their data."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

_CHECKOUT = Path(__file__).parents[3]
_ROOMS = {"topcoat": "tools/topcoat", "topcoat_demo": "tools/topcoat_demo", "topcoat_zuul_lab": "tools/zuul_lab"}
"""Distribution, as its wheel spells it, and the folder that is its only package."""


class TestWheels(unittest.TestCase):
    def test_each_wheel_holds_its_own_package_with_all_its_data(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            # A copy, because building writes beside the sources; a clone, because what is not committed is in no wheel.
            copy = Path(folder, "checkout")
            subprocess.run(["git", "clone", "-q", _CHECKOUT, copy], check=True, timeout=120)
            sources = [".", "./tools/topcoat_demo", "./tools/zuul_lab"]
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", Path(folder, "wheels"), *sources]
            built = subprocess.run(pip, cwd=copy, capture_output=True, text=True, check=False, timeout=500)
            self.assertEqual(built.returncode, 0, built.stderr)
            wheels = {path.name.split("-")[0]: path for path in Path(folder, "wheels").iterdir()}
            self.assertEqual(set(wheels), set(_ROOMS))
            for name, room in _ROOMS.items():
                package = Path(room).name
                committed = subprocess.run(["git", "ls-files", room], cwd=copy, capture_output=True, text=True, check=True, timeout=30).stdout.split()
                expected = {path.removeprefix("tools/") for path in committed if not path.endswith("pyproject.toml")}
                with zipfile.ZipFile(wheels[name]) as wheel:
                    held = {entry for entry in wheel.namelist() if ".dist-info/" not in entry}
                self.assertEqual({entry.split("/")[0] for entry in held}, {package}, name)
                self.assertEqual(expected - held, set(), name)
