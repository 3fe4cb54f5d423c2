"""Images without packages (a service from git, a static binary) as full members of a set: changes, where, promotion, board, what deployers get."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.functional.registry.base import RegistryCase, make_image, random_bytes
from topcoat.publisher import Publisher

OLD, NEW = "1" * 40, "a1b2c3d" + "4" * 33
SOURCE = "https://opendev.org/openstack/placement"


class WithoutPackages(RegistryCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.tree = cls.folder / "tree"
        (cls.tree / "profiles").mkdir(parents=True)
        (cls.tree / "base.yaml").write_text("base: { from: profile, packages: [bash] }\n")
        (cls.tree / "openstack").mkdir()
        (cls.tree / "openstack/placement.yaml").write_text("placement: { from: base, packages: [placement], entrypoint: [/bin/placement] }\n")
        (cls.tree / "lists").mkdir()
        (cls.tree / "lists/deploy.yaml").write_text("subset: true\nimages:\n  - { image: placement, parameters: [placementAPIImage] }\n")
        (cls.tree / "profiles/test.yaml").write_text(
            f"distro: demo\nrelease: '9'\narch: x86_64\nbase: {{ image: {cls.server.host}/x/y:z, digest: 'sha256:{'0' * 64}' }}\n"
            f"repositories: [{{ id: current, baseurl: 'file:///x' }}]\nregistry: '{cls.server.host}'\nnamespace: source\n"
        )

    def push(self, tag: str, commit: str) -> dict[str, str]:
        """A set of two images that hold no package; name -> digest."""
        digests = {}
        for name, revision in (("base", ""), ("placement", commit)):
            labels = {"org.opencontainers.image.revision": revision, "org.opencontainers.image.source": SOURCE} if revision else {}
            image, blobs = make_image(random_bytes((name, revision), 1000), labels=labels)
            digests[name] = Publisher(self.registries()).publish(f"{self.server.host}/source/{name}", image, blobs, [tag]).digest
        return digests

    def topcoat(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "topcoat", "--recipes", str(self.tree), "--profile", "test", "--authfile", str(self.server.authfile)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))}
        done = subprocess.run(
            [*command, "--ca-file", str(self.server.ca_file), "--work-dir", str(self.folder / "work"), *words],
            capture_output=True,
            text=True,
            env=clean,
        )
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def test_the_life_of_a_set(self) -> None:
        for tag, commit in (("one", OLD), ("two", NEW)):
            digests = self.push(tag, commit)
            self.topcoat("promote", "--from", tag, "--without-inventories")
        shape = json.loads(self.topcoat("changes", "one", "two", "--format", "json"))
        self.assertEqual([{"image": "placement", "from": OLD, "to": NEW, "source": SOURCE}], shape["revisions"])
        self.assertIn("a1b2c3d", self.topcoat("changes", "one", "two"))
        [row] = json.loads(self.topcoat("where", NEW[:10], "--format", "json"))["found"]
        self.assertEqual(("two", True, ["placement"]), (row["since"]["source"], row["now"], row["images"]))
        self.topcoat("board", "--output", str(self.folder / "board"))
        pages = "".join(path.read_text() for path in (self.folder / "board").rglob("*.html"))
        self.assertIn("placement", pages)
        self.assertIn("a1b2c3d", pages)
        self.assertIn(digests["placement"], self.topcoat("discover", "--list", "deploy", "--output-format", "env"))
        self.topcoat("promote", "--rollback")
        [row] = json.loads(self.topcoat("where", NEW[:10], "--format", "json"))["found"]
        self.assertFalse(row["now"])
