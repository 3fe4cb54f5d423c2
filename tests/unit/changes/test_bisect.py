"""The search for the guilty package: few steps, whatever has to go together, and never more said than was shown."""

from __future__ import annotations

import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.changes.bisect import Trial, confirmation, next_trial, standing


def closed(needs):
    """A solver: what a package needs goes with it."""

    def closure(wanted):
        found = set(wanted)
        while more := {other for name in found for other in needs.get(name, ())} - found:
            found |= more
        return frozenset(found)

    return closure


def search(changed, is_bad, closure, most=200):
    trials = []
    while len(trials) < most:
        left = standing(changed, trials).suspects
        applied = confirmation(trials, left[0], closure) if len(left) == 1 else next_trial(changed, trials, closure)
        if applied is None:
            break
        trials.append(Trial(applied, is_bad(applied)))
    return standing(changed, trials).suspects, trials


def guilty(name):
    return lambda applied: "bad" if name in applied else "good"


FORTY = [f"p{number:02}" for number in range(40)]


class Steps(unittest.TestCase):
    def test_forty_packages_end_in_seven_steps_whoever_is_guilty(self):
        for name in FORTY:
            left, trials = search(FORTY, guilty(name), closed({}))
            self.assertEqual((name,), left)
            self.assertLessEqual(len(trials), 7, name)
            self.assertIn(Trial(frozenset({name}), "bad"), trials)

    def test_packages_that_must_go_together_are_named_together(self):
        closure = closed({"a": ("b",), "b": ("a",)})
        left, _ = search(["a", "b", "c", "d"], guilty("b"), closure)
        self.assertEqual(("a", "b"), left)

    def test_what_cannot_be_installed_is_gone_round(self):
        inner = closed({})

        def closure(wanted):
            return None if "p03" in wanted and "p30" not in wanted else inner(wanted)

        left, trials = search(FORTY, guilty("p07"), closure)
        self.assertEqual(("p07",), left)
        self.assertLessEqual(len(trials), 10)

    def test_a_step_that_cannot_be_told_is_not_tried_again(self):
        def outcome(applied):
            return "skip" if len(applied) == 20 else "bad" if "p11" in applied else "good"

        left, trials = search(FORTY, outcome, closed({}))
        self.assertEqual(("p11",), left)
        self.assertEqual(len(trials), len({trial.applied for trial in trials}))

    def test_two_that_are_guilty_only_together_are_not_called_guilty_alone(self):
        left, trials = search(FORTY, lambda applied: "bad" if {"p01", "p33"} <= applied else "good", closed({}))
        self.assertFalse(len(left) == 1 and Trial(frozenset(left), "bad") in trials, (left, trials))

    def test_when_nothing_is_bad_nobody_is_left(self):
        left, trials = search(FORTY, lambda applied: "good", closed({}))
        self.assertEqual((), left)
        self.assertLessEqual(len(trials), 7)

    @given(st.integers(2, 60), st.data())
    def test_any_needs_any_guilty(self, count, data):
        names = [f"p{number:02}" for number in range(count)]
        needs = {
            name: data.draw(st.lists(st.sampled_from(names), max_size=2)) for name in data.draw(st.lists(st.sampled_from(names), max_size=count))
        }
        culprit = data.draw(st.sampled_from(names))
        closure = closed(needs)
        left, trials = search(names, guilty(culprit), closure)
        self.assertIn(culprit, left)
        self.assertLess(len(trials), 4 * count.bit_length() + 4)
        for other in left:  # those that are left really cannot be parted
            self.assertTrue(other == culprit or culprit in closure(frozenset({other})) or other in closure(frozenset({culprit})) or len(left) == 1)
