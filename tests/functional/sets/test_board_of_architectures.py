"""A column for each architecture on the board: two promoted sets of indexes in a real registry, one without an image, one that lags behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from click.testing import CliRunner

from tests import schemas
from tests.functional.registry.base import RegistryCase, make_image
from topcoat.cli import root
from topcoat.model import Nevra, labels
from topcoat.publisher import Publisher
from topcoat.registry import Descriptor, digest_of
from topcoat.registry.oci import OCI_INDEX, index_manifest
from topcoat.rpm import inventory, solvfile
from topcoat.rpm.inventory import InstalledPackage
from topcoat.runs import claims
from topcoat.sets.index import describe

PROFILE = """\
distro: demo
release: "9"
arch: x86_64
architectures: [x86_64, aarch64]
registry: {host}
namespace: site
base: {{image: "x.y/base:1"}}
repositories: [{{id: base, baseurl: "file:///x"}}]
reference_tag: current-passed-ci
"""
SETS = {"t1": {"tool": ("1", "1"), "other": ("1", None)}, "t2": {"tool": ("2", "1"), "other": ("2", "2")}}
"""Tag -> image -> version of its package for each architecture, None where the set has no such image."""


class Columns(RegistryCase):
    def setUp(self) -> None:
        (self.folder / "tree/openstack").mkdir(parents=True)
        (self.folder / "tree/openstack/all.yaml").write_text(
            "".join(f"{name}: {{ from: profile, packages: [tool] }}\n" for name in ("tool", "other"))
        )
        (self.folder / "tree/profile.yaml").write_text(PROFILE.format(host=self.server.host))
        for tag, images in SETS.items():
            for name, versions in images.items():
                children = [self.push(name, *one) for one in zip(("x86_64", "aarch64"), versions, strict=True) if one[1]]
                self.client().put_manifest(f"site/{name}", tag, index_manifest(children), OCI_INDEX)
            self.topcoat("promote", "--from", tag, "--without-inventories")

    def push(self, name: str, arch: str, version: str | None) -> Descriptor:
        """An image with one package and what its configuration says of that; its entry in an index."""
        pool = solvfile.new_pool(arch)
        held = (InstalledPackage(Nevra("tool", 0, str(version), "1", "noarch"), f"tool-{version}-1.src.rpm", 1, 1),)
        files = inventory.assemble(held, solvfile.to_bytes(pool.add_repo("installed")), "/var/lib/rpm/rpmdb.sqlite").to_files()
        image, blobs = make_image(f"{name} {arch} {version}".encode(), architecture={"x86_64": "amd64", "aarch64": "arm64"}[arch])
        claim = claims.claim({file: digest_of(content) for file, content in files.items()}, image.diff_ids)
        image = replace(image, config={**image.config, "config": {"Labels": {labels.INVENTORY: claim}}})
        found = Publisher(self.registries()).publish(f"{self.server.host}/site/{name}", image, blobs, [f"{arch}-{version}"])
        client = self.client()
        for content in files.values():
            client.put_blob(f"site/{name}", digest_of(content), content)
        return describe(*client.image(f"site/{name}", found.digest), arch)

    def topcoat(self, *words: str, work: str = "work") -> str:
        site = ["--recipes", str(self.folder / "tree"), "--profile", str(self.folder / "tree/profile.yaml"), "--work-dir", str(self.folder / work)]
        done = CliRunner().invoke(root, [*site, "--authfile", str(self.server.authfile), "--ca-file", str(self.server.ca_file), *words])
        if done.exception:
            raise done.exception
        return done.output

    def test_what_lacks_and_what_lags_behind_is_said_without_the_images(self) -> None:
        # what the promotions wrote down is of both architectures
        for name in ("tool", "other"):
            shutil.rmtree(self.server.storage / f"docker/registry/v2/repositories/site/{name}")
        output = self.folder / "board"
        self.topcoat("board", "--output", str(output), work="fresh")
        board, own = (json.loads((output / name).read_text()) for name in ("board.json", "sets/current-passed-ci/t2.json"))
        for document in (board, own):
            schemas.check("board", document)
        self.assertEqual(["x86_64", "aarch64"], board["architectures"])
        (stream,) = board["streams"]
        sides = {line["source"]: line["architectures"] for line in stream["sets"]}
        self.assertEqual([(2, 2, 0), (2, 2, 1)], [(side["images"], side["wanted"], side["differs"]) for side in sides["t2"].values()])
        self.assertEqual([[], ["other"]], [side["absent"] for side in sides["t1"].values()])
        self.assertEqual([{"source": "tool", "versions": {"x86_64": ["2-1"], "aarch64": ["1-1"]}, "images": ["tool"]}], own["skew"])
        self.assertIn("1 package differs", (output / "index.html").read_text())
        self.assertIn("in different versions", (output / "sets/current-passed-ci/t2.html").read_text())
