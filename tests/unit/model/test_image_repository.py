"""A repository of images: as a text, and what it makes of tags and digests."""

import unittest

from topcoat.errors import UsageError
from topcoat.model import ImageReference, ImageRepository
from topcoat.model.image import is_digest

DIGEST = "sha256:" + "a" * 64


class Places(unittest.TestCase):
    def test_texts(self) -> None:
        place = ImageRepository("registry.example:5000", "rdo/nova-api")
        self.assertEqual(place, ImageRepository.of("registry.example:5000/rdo/nova-api"))
        self.assertIs(place, ImageRepository.of(place))
        self.assertEqual("registry.example:5000/rdo/nova-api", str(place))
        for text in ("nova-api", "registry.example:5000/rdo/nova-api:t", f"registry.example/rdo/a@{DIGEST}", "registry.example/Rdo", "localhost/"):
            with self.subTest(text):
                self.assertRaises(UsageError, ImageRepository.of, text)

    def test_references(self) -> None:
        place = ImageRepository("registry.example", "nova")
        self.assertEqual(ImageReference.parse("registry.example/nova:t"), place.tag("t"))
        self.assertEqual(ImageReference.parse(f"registry.example/nova@{DIGEST}"), place.at(DIGEST))
        self.assertEqual(place, place.tag("t").place)
        self.assertRaises(UsageError, place.tag, "a b")

    def test_tags_and_digests(self) -> None:
        self.assertTrue(is_digest(DIGEST))
        self.assertFalse(is_digest("current-passed-ci"))
