"""Small recipe trees on disk for tests.

This module must never touch the repository's own tree.
"""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from topcoat.model import Base, Profile

BASE = "base:\n  from: profile\n  internal: true\n  packages: [bash]\n"
USERS = "kolla: {uid: 42400}\nnova: {uid: 42436, home: /var/lib/nova, groups: [kolla]}\n"


def profile(**changes: object) -> Profile:
    """A profile for tests."""
    values: dict[str, object] = {
        "name": "test",
        "distro": "centos",
        "release": "9",
        "arch": "x86_64",
        "base": Base("localhost:5000/base/os:latest", "sha256:" + "0" * 64),
        "repositories": (),
        "registry": "localhost:5000",
        "namespace": "test",
    }
    return Profile(**{**values, **changes})  # type: ignore[arg-type]


class TreeTest(unittest.TestCase):
    """Gives each test an empty directory and a way to fill it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-tree-")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "tree"
        self.root.mkdir()

    def write(self, files: dict[str, str | bytes], *, base: bool = True) -> Path:
        """Write files by path; with ``base`` a base.yaml and a users.yaml unless given."""
        if base:
            files = {"base.yaml": BASE, "users.yaml": USERS, **files}
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.root
