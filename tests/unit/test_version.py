"""The version comes from git; what goes into documents of images is the release alone."""

from __future__ import annotations

import unittest
from unittest import mock

import topcoat


class Version(unittest.TestCase):
    def test_the_release_is_the_numbers_alone(self) -> None:
        for version, release in (("0.1.0.dev3+gabc", "0.1.0"), ("0.1.dev5+g1", "0.1"), ("1.2.3", "1.2.3"), ("1.2.0rc1", "1.2.0"), ("unknown", "0")):
            with self.subTest(version), mock.patch("topcoat.version", return_value=version):
                self.assertEqual(topcoat.release(), release)
