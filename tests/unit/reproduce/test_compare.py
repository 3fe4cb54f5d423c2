"""A reproduction equals its original, or the difference has a recorded cause, or it is called unexplained."""

from __future__ import annotations

import unittest
from dataclasses import replace

from tests.unit.report import fixtures
from topcoat.reproduce.compare import compare


def changed(receipt, name, **fields):
    return replace(receipt, images=tuple(replace(image, **fields) if image.name == name else image for image in receipt.images))


class Compare(unittest.TestCase):
    def setUp(self):
        self.original = fixtures.green()

    def one(self, again, notes=()):
        found = compare(self.original, again, notes)
        self.assertEqual(1, len(found.differences), found)
        return found.differences[0], found

    def test_equal(self):
        found = compare(self.original, replace(fixtures.green(), started=0.0, finished=9.0, tag="other"))
        self.assertEqual((104, ()), (len(found.equal), found.differences))
        self.assertIn("equals the original", found.text())

    def test_another_digest_without_cause_is_unexplained(self):
        difference, found = self.one(changed(self.original, "nova-api", digest=fixtures.digest("x")))
        self.assertEqual(("nova-api", ""), (difference.image, difference.because))
        self.assertFalse(found.holds)
        self.assertIn("UNEXPLAINED", found.text())

    def test_causes(self):
        other = fixtures.digest("x")
        difference, found = self.one(changed(self.original, "nova-api", digest=other), ["openstack/nova was at abc"])
        self.assertEqual("openstack/nova was at abc", difference.because)
        self.assertTrue(found.holds)
        again = changed(self.original, "nova-api", digest=other)
        moved = replace(again, repositories=(*self.original.repositories[:-1], ("gating", other)))
        self.assertIn("repository gating has other contents", self.one(moved)[0].because)
        self.assertIn("stands on another image", self.one(changed(again, "nova-api", base_digest=other))[0].because)
        self.assertIn("recipe is another one", self.one(changed(again, "nova-api", fingerprint=other))[0].because)

    def test_other_packages(self):
        difference, _ = self.one(changed(self.original, "nova-api", changes=(fixtures.NOVA,)))
        self.assertIn("without python3-oslo-config-2:9.7.0", difference.what)

    def test_another_action_or_status(self):
        difference, _ = self.one(changed(self.original, "nova-api", action="reuse", reason="unchanged"))
        self.assertEqual("reuse (unchanged) instead of update (rpm-gated)", difference.what)
        difference, _ = self.one(changed(self.original, "nova-api", status="failed", error={"class": "content", "what": "disk full"}))
        self.assertEqual("disk full", difference.because)

    def test_images_of_one_side(self):
        difference, _ = self.one(replace(self.original, images=self.original.images[:-1]))
        self.assertIn("in the original only", difference.what)
        shorter = replace(self.original, images=self.original.images[:-1])
        self.assertIn("in the reproduction only", compare(shorter, self.original).differences[0].what)
