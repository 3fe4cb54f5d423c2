"""The whole story in a real Gerrit and a real Zuul: ``tox -e zuul`` does the same."""

import os
import subprocess
import sys
import unittest

from zuul_lab.layout import REPOSITORY


@unittest.skipUnless(os.environ.get("TOPCOAT_E2E_ZUUL"), "takes about twenty minutes; set TOPCOAT_E2E_ZUUL=1 or run tox -e zuul")
class Story(unittest.TestCase):
    def test_all_checks_pass(self):
        self.assertEqual(subprocess.run([sys.executable, "-m", "zuul_lab", "test"], cwd=REPOSITORY, check=False).returncode, 0)
