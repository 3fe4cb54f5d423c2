"""A spec file of an unreviewed change that looks around on the machine that builds it: where it is read, and where it is built."""

import os
import tempfile
import unittest
from pathlib import Path

from tests.functional.gating.test_build import SPEC, tree
from topcoat import gating

SECRET = "correct horse battery staple"


class SpecFiles(unittest.TestCase):
    def test_they_see_no_password_no_environment_and_no_network(self) -> None:
        with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(dir="/var/tmp", prefix="topcoat-home-") as home:
            secret = Path(home, "auth.json")
            secret.write_text(SECRET)
            look = f"cat {secret} /proc/1/environ; cat /proc/net/route | wc -l; grep CapEff /proc/self/status; env; ls -d /home /root/.ssh"
            spec = SPEC.replace("Summary: foo\nLicense", f"Summary: %(({look}) >$PWD/read 2>&1; cat $PWD/read >&2; echo foo)\nLicense", 1)
            spec = spec.replace("%install\n", f"%install\n({look}) 2>&1 || true\n")
            os.environ["TOPCOAT_SECRET"] = SECRET
            self.addCleanup(os.environ.pop, "TOPCOAT_SECRET")
            repository = gating.build([tree(Path(name) / "foo", spec)], Path(name) / "gating", work=Path(name) / "work")
            logs = "".join(path.read_text(errors="replace") for path in Path(name, "work").rglob("*.log"))
        self.assertEqual(repository.nevras[0].name, "python3-foo")
        self.assertIn("CapEff:\t00000000880400fb", logs)
        self.assertIn("auth.json: No such file or directory", logs)
        self.assertIn("cannot access '/home'", logs)
        for line in logs.splitlines():
            if not line.startswith("+"):
                self.assertNotIn(SECRET, line)
