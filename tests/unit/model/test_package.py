"""Packages as RPM names them."""

import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.errors import UsageError
from topcoat.model import Nevra, PackageChange

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+]{0,12}(-[A-Za-z0-9._+]{1,8}){0,3}", fullmatch=True)
parts = st.from_regex(r"[A-Za-z0-9._+~^]{1,12}", fullmatch=True)


class NevraTest(unittest.TestCase):
    @given(names, st.integers(0, 99), parts, parts, st.sampled_from(["noarch", "x86_64", "aarch64"]))
    def test_text_and_back(self, name, epoch, version, release, arch):
        nevra = Nevra(name, epoch, version, release, arch)
        self.assertEqual(Nevra.parse(str(nevra)), nevra)

    def test_an_epoch_of_zero_is_not_printed_but_always_compared(self):
        nevra = Nevra.parse("bash-5.1-1.x86_64")
        self.assertEqual((nevra.evr, nevra.full_evr), ("5.1-1", "0:5.1-1"))

    def test_not_a_nevra(self):
        for text in ("bash", "bash-5.1", "bash-5.1-1", "", "-1-1.x"):
            with self.subTest(text), self.assertRaises(UsageError):
                Nevra.parse(text)


class ChangeTest(unittest.TestCase):
    def test_sentences(self):
        old, new = Nevra("a", 1, "1", "1", "noarch"), Nevra("a", 1, "2", "1", "noarch")
        self.assertEqual(str(PackageChange(old, new)), "a 1:1-1 -> 1:2-1")
        self.assertEqual(str(PackageChange(None, new)), "a (none) -> 1:2-1")
        self.assertEqual(str(PackageChange(old, None)), "a 1:1-1 -> (removed)")
