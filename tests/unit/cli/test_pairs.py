"""NAME=VALUE is read alike by every option that takes it."""

from __future__ import annotations

import unittest

from topcoat.cli._context import pairs
from topcoat.errors import UsageError


class Pairs(unittest.TestCase):
    def test_the_last_value_of_a_name_counts_and_only_the_first_sign_parts(self) -> None:
        self.assertEqual({"a": "3", "b": "x=y", "c": ""}, pairs(["a=1", "b=x=y", "a=3", "c="], "--set"))

    def test_what_has_no_name_or_lacks_a_value_that_must_be(self) -> None:
        for word, empty in (("a", True), ("=b", True), ("", True), ("a=", False)):
            with self.subTest(word), self.assertRaisesRegex(UsageError, "--set wants NAME=VALUE"):
                pairs([word], "--set", empty=empty)
