"""Base image insurance against a real registry."""

from __future__ import annotations

import gzip
import io
import tarfile
import unittest

import zstandard

from tests.functional.registry.base import RegistryCase
from topcoat.errors import UsageError
from topcoat.model import ImageReference
from topcoat.promotion import base_image
from topcoat.publisher import Publisher
from topcoat.registry import Descriptor, Image, digest_of
from topcoat.registry.oci import OCI_LAYER_GZIP

GOOD = ("./bin/sh", "./var/lib/rpm/rpmdb.sqlite", "./usr/bin/dnf")


def layer(*paths: str, filler: int = 0) -> bytes:
    """A gzip layer with empty files of these names."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in paths:
            archive.addfile(tarfile.TarInfo(path))
        info = tarfile.TarInfo("filler")
        info.size = filler
        import random

        archive.addfile(info, io.BytesIO(random.Random(filler).randbytes(filler)))
    return gzip.compress(stream.getvalue(), mtime=0)


class Insurance(RegistryCase):
    def push(self, tag: str, *layers: bytes) -> str:
        config = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in layers]}}
        image = Image(config, tuple(Descriptor(OCI_LAYER_GZIP, digest_of(one), len(one)) for one in layers))
        return Publisher(self.registries()).publish(f"{self.server.host}/up/base", image, {digest_of(one): one for one in layers}, [tag]).digest

    def examine(self, pinned: str | None):
        return base_image.examine(self.registries(), f"{self.server.host}/up/base:stream", pinned, platform="linux/amd64", growth=1.5)

    def test_a_good_new_base_is_mirrored_and_stays_when_upstream_forgets_it(self) -> None:
        old = self.push("stream", layer(*GOOD, filler=5000))
        self.assertFalse(self.examine(old).changed)
        new = self.push("stream", layer(*GOOD, filler=5001))
        report = self.examine(old)
        self.assertEqual((True, new, ()), (report.changed, report.newest, report.problems))
        mirrored = base_image.mirror(self.registries(), report.image, report.newest, ImageReference.parse(f"{self.server.host}/mirror/base"))
        self.client().delete_manifest("up/base", new)
        self.assertEqual(new, self.client().head("mirror/base", mirrored.digest))

    def test_what_cannot_be_a_base(self) -> None:
        old = self.push("stream", layer(*GOOD, filler=5000))
        for word, layers in (
            ("no shell", (layer(*GOOD[1:], filler=5000),)),
            ("no shell", (zstandard.ZstdCompressor().compress(gzip.decompress(layer(*GOOD[1:], filler=5000))),)),
            ("no RPM database", (layer(GOOD[0], GOOD[2], filler=5000),)),
            ("no package manager", (layer(*GOOD[:2], filler=5000),)),
            ("no shell", (layer(*GOOD, filler=5000), layer("./bin/.wh.sh"))),
            ("its size", (layer(*GOOD, filler=50000),)),
            ("its size", (layer(*GOOD),)),
        ):
            with self.subTest(word=word):
                self.push("stream", *layers)
                self.assertIn(word, "; ".join(self.examine(old).problems))


class Pin(unittest.TestCase):
    def pin(self, text: str) -> str:
        import tempfile
        from pathlib import Path

        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "profile.yaml"
        path.write_text(text)
        base_image.write_pin(path, "sha256:" + "a" * 64)
        return path.read_text()

    def test_only_the_digest_changes(self) -> None:
        new = "sha256:" + "a" * 64
        self.assertEqual(f'variables:\n  base_digest: "{new}"  # tested\nx: 1\n', self.pin('variables:\n  base_digest: ""  # tested\nx: 1\n'))
        self.assertEqual(f'base: {{ image: q.io/a:b, digest: "{new}" }}\n', self.pin(f"base: {{ image: q.io/a:b, digest: sha256:{'0' * 64} }}\n"))
        with self.assertRaises(UsageError):
            self.pin("base: { image: q.io/a:b }\n")
