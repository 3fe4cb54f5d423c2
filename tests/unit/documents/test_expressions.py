"""A pattern that a person writes is taken, or refused in one line."""

from __future__ import annotations

import unittest

from topcoat.documents.expressions import expression
from topcoat.errors import UsageError


class Expressions(unittest.TestCase):
    def test_one_that_is_good_searches(self) -> None:
        self.assertTrue(expression("^nova-").search("nova-api"))

    def test_whatever_is_none_is_refused_in_one_line(self) -> None:
        for pattern in ("(", "*", "a{99999999999}", "(" * 20000 + ")" * 20000):
            with self.subTest(pattern[:10]), self.assertRaisesRegex(UsageError, "not a regular expression") as caught:
                expression(pattern)
            self.assertLess(len(str(caught.exception)), 500)
