"""A Python that does not lie below /usr (pyenv, uv, /opt) starts confined programs too: its library is out of sight by then."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from topcoat.process import confined
from topcoat.process.bounds import Bounds


class PythonElsewhere(unittest.TestCase):
    def test_a_program_is_found_in_the_new_root(self) -> None:
        with tempfile.TemporaryDirectory(prefix="python-", dir="/var/tmp") as folder:
            binary = Path(folder, "bin", Path(sys.executable).resolve().name)
            binary.parent.mkdir()
            shutil.copy2(Path(sys.executable).resolve(), binary)
            library = Path(sysconfig.get_paths()["stdlib"])
            shutil.copytree(library, Path(folder, "lib", library.name), ignore=shutil.ignore_patterns("test", "site-packages", "dist-packages"))
            ask = [binary, "-I", "-c", "import os; print(os.__file__)"]
            found = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=30).stdout
            self.assertTrue(found.startswith(folder), found)
            with unittest.mock.patch.object(sys, "executable", os.fspath(binary)):
                result = confined.run(["cat", "/proc/self/status"], folders=[], env=confined.environment(), bounds=Bounds())
        self.assertIn("Name:\tcat", result.output)
