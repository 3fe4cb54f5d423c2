"""Moments as text, also those that no calendar has."""

import unittest

from topcoat.model import moments


class Shown(unittest.TestCase):
    def test_any_number_is_shown(self) -> None:
        self.assertEqual("1970-01-01 00:01 UTC", moments.minute(60))
        for form in (moments.second, moments.minute, moments.day):
            for moment in (1e18, -1e18, 1e300, float("nan"), float("inf"), 10**18, 10**400):
                self.assertEqual("at no time", form(moment))
