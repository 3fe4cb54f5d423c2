"""Names of images: what the OCI grammar allows, and nothing else."""

import unittest

from topcoat.errors import UsageError
from topcoat.model import ImageReference

DIGEST = "sha256:" + "a" * 64


class ParseTest(unittest.TestCase):
    def test_port_tag_and_digest(self):
        reference = ImageReference.parse(f"registry.example:5000/ns/nova-api:current@{DIGEST}")
        self.assertEqual(reference, ImageReference("registry.example:5000", "ns/nova-api", "current", DIGEST))
        self.assertEqual(str(reference), f"registry.example:5000/ns/nova-api:current@{DIGEST}")

    def test_the_digest_is_what_is_asked_for(self):
        self.assertEqual(ImageReference.parse(f"localhost/a:b@{DIGEST}").target, DIGEST)

    def test_refused(self):
        for text in (
            "nova-api",
            "ns/nova-api",
            "registry.example/Nova",
            "registry.example/nova:",
            "registry.example/nova@sha256:abc",
            "registry.example/nova@sha256:" + "A" * 64,
            "registry.example/../etc",
            "registry.example/a//b",
            "registry.example/a:" + "t" * 129,
            "registry.example/a:b c",
            "registry.example:port/a",
            "registry.example:99999/a",
            "registry.example:0/a",
            "[:::]/a",
            "[1:2]:5000/a",
        ):
            with self.subTest(text):
                if text.endswith(":"):
                    self.assertIsNone(ImageReference.parse(text).tag)
                    continue
                with self.assertRaises(UsageError):
                    ImageReference.parse(text)
