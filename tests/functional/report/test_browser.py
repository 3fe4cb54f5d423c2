"""The reviewer's page in a real browser: it renders, nothing is refused by its own policy, wide and narrow, light and dark, on paper."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.needs import needs
from tests.unit.report import fixtures
from topcoat.report import page

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip


@needs("chromium")
class Browser(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="topcoat-page-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def browse(self, *options, receipt=None):
        """Run Chromium on the page; returns (standard output, standard error)."""
        path = self.folder / "index.html"
        page.save(receipt or fixtures.red(), path)
        argv = [CHROMIUM, *QUIET, f"--user-data-dir={self.folder}/profile", *options, path.as_uri()]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            return child.communicate(timeout=120)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def size_of(self, png):
        header = png.read_bytes()[:24]
        self.assertEqual(b"\x89PNG", header[:4])
        return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")

    def test_the_browser_sees_every_image_and_runs_nothing(self):
        output, errors = self.browse("--dump-dom", "--enable-logging=stderr", receipt=fixtures.hostile())
        self.assertEqual(104, len(re.findall(r'<tr id="image-', output)))
        self.assertNotIn("<script", output)
        self.assertNotIn("CONSOLE", errors)

    def test_pictures_light_dark_and_narrow(self):
        pictures = {}
        for name, width, options in (("light", 1200, []), ("dark", 1200, ["--blink-settings=preferredColorScheme=0"]), ("narrow", 500, [])):
            png = self.folder / f"{name}.png"
            self.browse(f"--screenshot={png}", f"--window-size={width},1600", *options)
            self.assertEqual((width, 1600), self.size_of(png))
            pictures[name] = png.read_bytes()
        self.assertNotEqual(pictures["light"], pictures["dark"])

    def test_it_prints(self):
        pdf = self.folder / "page.pdf"
        self.browse(f"--print-to-pdf={pdf}")
        content = pdf.read_bytes()
        self.assertTrue(content.startswith(b"%PDF"))
        self.assertGreater(len(re.findall(rb"/Type\s*/Page\b", content)), 2)
