"""``topcoat consume`` on images for several platforms, with podman and a real registry."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from click.testing import CliRunner

from tests.functional.registry.base import RegistryCase, make_image
from tests.needs import need
from tests.unit.inspection.layers import file, layer
from topcoat.cli import root
from topcoat.errors import ContentError
from topcoat.registry import digest_of, image_manifest
from topcoat.registry.oci import OCI_LAYER_GZIP, OCI_MANIFEST

INDEX = "application/vnd.oci.image.index.v1+json"
PROFILE = """\
variables: {host: null, machine: x86_64}
distro: demo
release: "9"
arch: "${machine}"
registry: "${host}"
namespace: n
base: {image: "x.y/base:1"}
"""


class Platforms(RegistryCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        need("podman")
        (cls.folder / "profiles").mkdir()
        (cls.folder / "profiles/site.yaml").write_text(PROFILE)

    def setUp(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="topcoat-test-consume-"))
        self.addCleanup(shutil.rmtree, self.place, ignore_errors=True)
        self.addCleanup(subprocess.run, ["umount", str(self.place / "storage/overlay")], stderr=subprocess.DEVNULL, check=False)
        self.children = {architecture: self.push(architecture) for architecture in ("amd64", "arm64")}
        entries = [
            {"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": architecture}}
            for architecture, (digest, size) in self.children.items()
        ]
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self.client().put_manifest("n/nova", "several", index, INDEX)
        self.index = digest_of(index)

    def push(self, architecture: str) -> tuple[str, int]:
        image, blobs = make_image(packed := layer(file("etc/platform", architecture)), architecture=architecture)
        plain = digest_of(layer(file("etc/platform", architecture), compress=False))
        image = dataclasses.replace(image, config={**image.config, "rootfs": {"type": "layers", "diff_ids": [plain]}})
        self.assertEqual(OCI_LAYER_GZIP, image.layers[0].media_type)
        manifest, document = image_manifest(image)
        client = self.client()
        for digest, data in {**blobs, digest_of(document): document}.items():
            client.put_blob("n/nova", digest, data)
        self.assertIn(digest_of(packed), blobs)
        client.put_manifest("n/nova", architecture, manifest, OCI_MANIFEST)
        return digest_of(manifest), len(manifest)

    def consume(self, digest: str, arch: str, *words: str) -> str:
        artifact = {"name": "nova", "url": f"docker://{self.server.host}/n/nova:x", "metadata": {"type": "container_image"}}
        artifact["metadata"] |= {"image": "nova", "repository": f"{self.server.host}/n/nova", "tag": "x", "digest": digest}  # type: ignore[operator]
        (self.place / "artifacts.json").write_text(json.dumps([artifact]))
        site = ["--recipes", str(self.folder), "--profile", "site", "--set", f"host={self.server.host}", "--set", f"machine={arch}"]
        access = ["--authfile", str(self.server.authfile), "--ca-file", str(self.server.ca_file)]
        storage = ["--storage-root", str(self.place / "storage"), "--storage-runroot", str(self.place / "run")]
        done = CliRunner().invoke(root, [*site, *access, "consume", "--artifacts", str(self.place / "artifacts.json"), *storage, *words])
        if done.exception is not None:
            raise done.exception
        return done.output

    def architecture(self, digest: str) -> str:
        storage = ["--root", str(self.place / "storage"), "--runroot", str(self.place / "run")]
        command = ["podman", *storage, "image", "inspect", "--format", "{{.Architecture}}", f"{self.server.host}/n/nova@{digest}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def test_of_an_index_the_profiles_child_is_pulled_whatever_the_machine_is(self) -> None:
        for arch, architecture in (("aarch64", "arm64"), ("x86_64", "amd64")):
            self.assertIn("1 images proved", self.consume(self.index, arch))
            self.assertEqual(architecture, self.architecture(self.index))
        self.assertIn("1 images proved", self.consume(self.index, "x86_64", "--no-pull"))
        with self.assertRaisesRegex(ContentError, "is an image for linux/amd64, the profile is for linux/arm64"):
            self.consume(self.index, "aarch64", "--no-pull")

    def test_an_image_of_another_platform_is_an_error(self) -> None:
        with self.assertRaisesRegex(ContentError, "is an image for linux/arm64, the profile is for linux/amd64"):
            self.consume(self.children["arm64"][0], "x86_64")
        with self.assertRaisesRegex(ContentError, "holds no image for linux/s390x"):
            self.consume(self.index, "s390x")
