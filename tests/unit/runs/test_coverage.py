"""Coverage: the gated RPMs are inside the images, or the run is red."""

import unittest

from topcoat.errors import ContentError
from topcoat.model import Nevra
from topcoat.runs.coverage import cover, require

NEW = Nevra.parse("python3-nova-1:2.0-1.noarch")
OLD = Nevra.parse("python3-nova-1:1.0-1.noarch")
OTHER = Nevra.parse("bash-5-1.x86_64")


class CoverTest(unittest.TestCase):
    def test_inside(self):
        table = cover([NEW], {"nova-api": [NEW, OTHER], "base": [OTHER]})
        self.assertEqual(table[0].images, ("nova-api",))
        require(table)

    def test_in_no_image(self):
        with self.assertRaises(ContentError) as caught:
            require(cover([NEW], {"base": [OTHER]}))
        self.assertIn("python3-nova-1:2.0-1.noarch: in no image", str(caught.exception))

    def test_an_older_version_in_one_image_is_not_covered_by_another(self):
        with self.assertRaises(ContentError) as caught:
            require(cover([NEW], {"nova-api": [NEW], "nova-compute": [OLD]}))
        self.assertIn("nova-compute has 1:1.0-1", str(caught.exception))

    def test_a_waiver_covers_what_is_in_no_image_only(self):
        require(cover([NEW], {"base": [OTHER]}, ["python3-n*"]))
        with self.assertRaises(ContentError):
            require(cover([NEW], {"nova-api": [OLD]}, ["python3-n*"]))

    def test_no_images_at_all_covers_nothing(self):
        with self.assertRaises(ContentError):
            require(cover([NEW], {}))
