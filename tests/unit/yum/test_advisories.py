"""Advisories as a repository publishes them."""

from __future__ import annotations

import gzip
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.yum import advisories

INFO = """<updates><update type="security"><id>DEMO-1</id><title>nova</title><severity>Important</severity>
<references><reference id="CVE-1-2"/></references><pkglist><collection>
<package name="nova" epoch="1" version="2" release="3"/></collection></pkglist></update></updates>"""


class Advisories(unittest.TestCase):
    def test_a_file_and_a_broken_one(self) -> None:
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "updateinfo.xml.gz"
        path.write_bytes(gzip.compress(INFO.encode()))
        (found,) = advisories.read(path)
        self.assertEqual(("DEMO-1", "security", ("CVE-1-2",), {("nova", "1:2-3")}), (found.id, found.kind, found.references, set(found.packages)))
        path.write_bytes(gzip.compress(INFO.encode()[:-9]))
        with self.assertRaises(ContentError):
            list(advisories.read(path))
