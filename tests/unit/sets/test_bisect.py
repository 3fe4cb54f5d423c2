"""What a search is asked to judge by is looked at before anything is made."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

from topcoat.errors import UsageError
from topcoat.model import RunOptions
from topcoat.sets import NamedSet
from topcoat.sets.bisect import Bisection, Wish


class Commands(unittest.TestCase):
    def test_one_that_cannot_be_run_is_refused_at_once(self) -> None:
        nothing: Any = None  # of all that a search works with nothing is touched
        place = Path("/nonexistent")
        options = RunOptions(tag="bisect", work=place, receipt=place / "receipt.json", logs=place / "logs")
        some = NamedSet("good", "good", "r.example.org")
        for command, words in (("sh -c 'true", "quot"), ("  ", "empty")):
            with self.subTest(command), self.assertRaisesRegex(UsageError, words):
                Bisection(Wish(some, some, command), nothing, nothing, nothing, {}, options)
