"""What needs no root: every step of the jobs but making layers, run without a single capability."""

from __future__ import annotations

import subprocess

from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from topcoat_demo.rpms import make_repository

# The user keeps its number, so that its own files are its own; what root may do beyond that is gone.
BARE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")


class WithoutRights(SiteTest):
    def setUp(self) -> None:
        super().setUp()
        self.succeed("build", "--tag", "one", "--floating-tag", "current-passed-ci")
        make_repository(self.site.current, packages(nova="2.0"))

    def bare(self, *words: str, code: int = 0) -> str:
        done = subprocess.run([*BARE, *self.site.command(*words, work="bare")], capture_output=True, text=True, check=False, timeout=300)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_a_layer_cannot_be_made_so(self) -> None:
        """Else the other tests would prove nothing."""
        self.assertIn("root", self.bare("build", "--tag", "two", code=3))

    def test_every_other_step(self) -> None:
        view, receipt = str(self.site.directory / "view.json"), str(self.site.directory / "work/receipt.json")
        self.bare("freeze", "--output", view)
        self.assertIn("nova-api", self.bare("plan", "--view", view))
        self.bare("explain", "nova-api")
        self.bare("report", "--receipt", receipt, "--html", str(self.site.directory / "page.html"))
        self.bare("verify", "--tag", "one")
        self.bare("promote", "--from", "one", "--to", "promoted")
        self.bare("changes", "one", "promoted")
        self.bare("lock", "one", "--output", str(self.site.directory / "locks"))
        image = f"{self.site.server.host}/site/nova-api:promoted"
        self.bare("sbom", image)
        self.bare("copy", image, "--to", f"{self.site.server.host}/copies")
        self.bare("gc", "--delete", "--older-than", "0")
