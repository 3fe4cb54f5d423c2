"""What a tree is called whose spec file leaves the version open, by the rules of pbr and of DLRN."""

import unittest

from topcoat.errors import ContentError
from topcoat.gating.version import from_tag


class FromTag(unittest.TestCase):
    def test_versions(self):
        for tag, count, words, expected in (
            ("29.0.0", 0, "", ("29.0.0", "29.0.0")),
            ("v1.2", 0, "", ("1.2", "1.2")),
            ("1.2.3", 5, "Mend\n\nCloses-Bug: 1", ("1.2.4", "1.2.4.dev5")),
            ("1.2.3", 5, "Add\n\nSem-Ver: feature", ("1.3.0", "1.3.0.dev5")),
            ("1.2.3", 5, "Drop\n\nSem-Ver: bugfix, api-break", ("2.0.0", "2.0.0.dev5")),
            ("1.2.3", 2, "one\n\nsem-ver: deprecation\n\nother", ("1.3.0", "1.3.0.dev2")),
            ("30.0.0.0rc1", 0, "", ("30.0.0", "30.0.0.0rc1")),
            ("30.0.0.0rc1", 3, "", ("30.0.0", "30.0.0.0rc2.dev3")),
            ("30.0.0.0b2", 1, "", ("30.0.0", "30.0.0.0b3.dev1")),
        ):
            with self.subTest(f"{tag}+{count}"):
                self.assertEqual(from_tag(tag, count, words), expected)

    def test_a_tag_that_is_no_version(self):
        with self.assertRaisesRegex(ContentError, "the tag release-one is no version"):
            from_tag("release-one", 1, "")
