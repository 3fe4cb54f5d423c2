"""RPM's version order."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from topcoat.model import Nevra
from topcoat.rpm import evr

ORDER = (
    # (older, newer): each pair is one trap of comparing versions as text
    ("1.9-1", "1.10-1"),
    ("9-1", "10-1"),
    ("1.0-9", "1.0-10"),
    ("99:1-1", "100:1-1"),
    ("2024.1-1", "1:1.0-1"),
    ("1.0~rc1-1", "1.0-1"),
    ("1.0~rc1-1", "1.0~rc2-1"),
    ("1.0~~-1", "1.0~-1"),
    ("1.0-1", "1.0^git1-1"),
    ("1.0^git1-1", "1.0.1-1"),
    ("1.0~rc1^git1-1", "1.0-1"),
    ("1.0~rc1-1", "1.0~rc1^git1-1"),
    ("1.0a-1", "1.0.1-1"),
    ("a-1", "1-1"),
    ("1.0-1.el9", "1.0-1.el10"),
    ("1.0-0.20240101120000.abc1234.el9", "1.0-0.20240102120000.0001234.el9"),
    ("28.0.0-0.99999999999999999999.el9", "28.0.0-0.100000000000000000000.el9"),
)
EQUAL = (("1.0-1", "0:1.0-1"), ("1.0-1", "1.00-1"), ("1.0-1", "1_0-1"), ("1.0.-1", "1.0-1"), ("001-1", "1-1"))


class Compare(unittest.TestCase):
    def test_order(self) -> None:
        for older, newer in ORDER:
            with self.subTest(older=older, newer=newer):
                self.assertEqual(evr.compare(older, newer), -1)
                self.assertEqual(evr.compare(newer, older), 1)

    def test_equal(self) -> None:
        for one, other in EQUAL:
            with self.subTest(one=one, other=other):
                self.assertEqual(evr.compare(one, other), 0)

    def test_newest(self) -> None:
        packages = [Nevra("a", 0, version, "1", "noarch") for version in ("1.9", "1.10", "1.2")]
        self.assertEqual(evr.Order().newest(packages).version, "1.10")

    def test_newest_does_not_depend_on_the_input_order(self) -> None:
        packages = [Nevra("a", 0, version, "1", "noarch") for version in ("1.0", "1.00", "01.0")]
        self.assertEqual(evr.Order().newest(packages), evr.Order().newest(reversed(packages)))


PART = st.text("0123456789abz.~^_+", min_size=1, max_size=8)
EVR = st.builds("{}:{}-{}".format, st.integers(0, 3), PART, PART)


class Properties(unittest.TestCase):
    def setUp(self) -> None:
        self.order = evr.Order()

    @settings(deadline=None)
    @given(EVR, EVR)
    def test_antisymmetric(self, a: str, b: str) -> None:
        self.assertEqual(self.order.compare(a, b), -self.order.compare(b, a))

    @settings(deadline=None)
    @given(EVR, EVR, EVR)
    def test_transitive(self, a: str, b: str, c: str) -> None:
        if self.order.compare(a, b) <= 0 and self.order.compare(b, c) <= 0:
            self.assertLessEqual(self.order.compare(a, c), 0)

    @settings(deadline=None)
    @given(EVR, EVR)
    def test_remembered_is_what_was_computed(self, a: str, b: str) -> None:
        first = self.order.compare(a, b)
        self.assertEqual(self.order.compare(a, b), first)
        self.assertEqual(evr.compare(a, b), first)

    @settings(deadline=None)
    @given(PART, PART, PART, PART)
    def test_epoch_decides(self, version: str, release: str, other_version: str, other_release: str) -> None:
        self.assertEqual(self.order.compare(f"1:{version}-{release}", f"{other_version}-{other_release}"), 1)
