"""Locks in the common form: written by us, and by others."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.model import Nevra
from topcoat.yum.manifest import Locked, Manifest, read, write

BASH = Locked(
    Nevra.parse("bash-5.2-1.el9.x86_64"), "base", "sha256:" + "a" * 64, 12, "Packages/b/bash-5.2-1.el9.x86_64.rpm", "bash-5.2-1.el9.src.rpm"
)
TZ = Locked(Nevra.parse("tzdata-1:2026a-1.el9.noarch"), "base", "sha256:" + "b" * 64, 7, "Packages/t/tzdata-2026a-1.el9.noarch.rpm")
OTHERS = """\
document: rpm-package-manifest
version: 0.2.0
data:
    repositories:
        - id: fedora
          metalink: https://mirrors.example.org/metalink?repo=fedora-40
    packages:
        x86_64:
            - name: bash
              repo_id: fedora
              checksum: sha256:7a87c64087b2ad362f4ad8721f3c95ae61e86d204ee3d93917608a55cf24a2be
              size: 1893870
              evr: 5.2.26-3.fc40
              srpm: bash-5.2.26-3.fc40.src
        noarch:
            - name: tzdata
              repo_id: fedora
              checksum: sha256:26aafbf8b0f5e3080752912179b1d3348643123918d5ee5c6074f424689b57b4
              size: 3412259
              evr: 2024a-5.fc40
        src:
            - name: bash
              repo_id: fedora
              checksum: sha256:26aafbf8b0f5e3080752912179b1d3348643123918d5ee5c6074f424689b57b4
              size: 3
              evr: 5.2.26-3.fc40
"""


class Locks(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "nova.yaml"

    def text(self, text: str) -> Manifest:
        self.path.write_text(text)
        return read(self.path)

    def test_what_is_written_is_read(self) -> None:
        lock = Manifest().with_architecture("x86_64", {"base": "https://a.example.org/", "unused": "file:///x"}, [TZ, BASH])
        lock = lock.with_architecture("aarch64", {"base": "https://a.example.org/"}, [TZ])
        write(lock, self.path)
        self.assertEqual(lock, read(self.path))
        self.assertEqual({"base": "https://a.example.org/"}, lock.repositories)
        self.assertEqual(1, self.path.read_text().count("name: tzdata"))
        self.assertIn("parent_archs:\n      - aarch64\n      - x86_64", self.path.read_text())

    def test_a_package_that_is_gone_goes_for_its_architecture_only(self) -> None:
        lock = Manifest().with_architecture("x86_64", {}, [TZ, BASH]).with_architecture("aarch64", {}, [TZ]).with_architecture("x86_64", {}, [BASH])
        self.assertEqual({"x86_64": (BASH,), "aarch64": (TZ,)}, dict(lock.packages))

    def test_one_of_another_tool(self) -> None:
        lock = self.text(OTHERS)
        self.assertEqual(["bash-5.2.26-3.fc40.x86_64", "tzdata-2024a-5.fc40.noarch"], [str(one.nevra) for one in lock.packages["x86_64"]])
        self.assertEqual("bash-5.2.26-3.fc40.src.rpm", lock.packages["x86_64"][0].source_rpm)

    def test_what_is_none_is_one_line(self) -> None:
        for text, said in (
            ("[]", "a mapping"),
            ("document: rpm-package-input\nversion: 0.0.2\n", "document"),
            ("document: rpm-package-manifest\nversion: 7.0\n", "version"),
            (OTHERS.replace("evr: 5.2.26-3.fc40", "evr: '5'"), "evr of bash"),
            (OTHERS.replace("name: bash", "called: bash", 1), "name"),
            (OTHERS.replace("size: 1893870", "size: -1"), "size of bash"),
            (OTHERS.replace("x86_64:", "src:"), "parent_archs"),
        ):
            with self.subTest(said), self.assertRaisesRegex(ContentError, said):
                self.text(text)


if __name__ == "__main__":
    unittest.main()
