"""A receipt says what is true at every moment of a run, and nobody may use the receipt of a run that did not end well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import ImageResult, Receipt, RunOptions
from topcoat.report import document
from topcoat.runs.run import recorded
from topcoat.zuul import returned_artifacts

DIGEST = "sha256:" + "a" * 64
IMAGE = ImageResult("nova", "done", "reuse", "unchanged", "", repository="r.example.org/x/nova", tag="t", digest=DIGEST)
KILLED = """
import os, signal, sys
from pathlib import Path
from topcoat.model import RunOptions
from topcoat.runs.run import recorded
with recorded(RunOptions("new", Path(sys.argv[1]), Path(sys.argv[1])), "site"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Recorded(unittest.TestCase):
    def setUp(self) -> None:
        self.file = Path(self.enterContext(tempfile.TemporaryDirectory())) / "receipt.json"
        document.save(Receipt("site", "old", "done", 1.0, 2.0, (IMAGE,)), self.file)
        self.options = RunOptions("new", self.file, self.file.parent)

    def test_a_killed_run_leaves_running_in_the_place_of_an_earlier_receipt(self) -> None:
        done = subprocess.run([sys.executable, "-c", KILLED, str(self.file)], check=False, env=os.environ)
        self.assertEqual(-signal.SIGKILL, done.returncode)
        found = document.load(self.file)
        self.assertEqual(("new", "running", ()), (found.tag, found.status, found.images))

    def test_it_runs_while_it_runs_and_tells_how_it_ended(self) -> None:
        for error, status in ((InfrastructureError("no registry"), "failed"), (KeyboardInterrupt(), "cancelled"), (ValueError("x"), "failed")):
            with self.subTest(repr(error)):
                with self.assertRaises(type(error)), recorded(self.options, "site"):
                    self.assertEqual("running", document.load(self.file).status)
                    raise error
                found = document.load(self.file)
                self.assertEqual(status, found.status)
                self.assertIsNotNone(found.error)

    def test_the_receipt_that_a_run_wrote_itself_stays(self) -> None:
        with self.assertRaises(ContentError), recorded(self.options, "site"):
            document.save(Receipt("site", "new", "partial", 1.0, 2.0, (IMAGE,)), self.file)
            raise ContentError("one image may fail")
        self.assertEqual("partial", document.load(self.file).status)

    def test_images_of_a_run_that_did_not_end_well_are_given_to_nobody(self) -> None:
        for status in ("running", "failed", "cancelled"):
            receipt = Receipt(
                "site", "t", status, 1.0, 2.0, (IMAGE,), error={"class": "content", "what": "nova broke"} if status == "failed" else None
            )
            document.save(receipt, self.file)
            for reader in (lambda: document.load_finished(self.file), lambda receipt=receipt: returned_artifacts(receipt)):
                with self.subTest(status), self.assertRaises(ContentError) as caught:
                    reader()
                self.assertEqual(1, caught.exception.exit_code)
                self.assertTrue(caught.exception.next_step)
        with self.assertRaisesRegex(ContentError, "nova broke"):
            document.save(Receipt("site", "t", "failed", 1.0, 2.0, (IMAGE,), error={"class": "content", "what": "nova broke"}), self.file)
            document.load_finished(self.file)
