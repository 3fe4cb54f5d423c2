"""Where a name stands: phases of sets out of the history and the votes, and the one thing to do next."""

from __future__ import annotations

import unittest
from dataclasses import replace

from topcoat.promotion.history import Entry, Hold, JobNote
from topcoat.promotion.sets import ImageSet, SetRecord
from topcoat.promotion.standing import PHASES, stand
from topcoat.trunk import DlrnPromotion, TrunkHash, Vote
from topcoat.trunk.criteria import Criteria, judge

RULE = Criteria("passed", "current", ("deploy", "upgrade"), informing=("arm",), attempts=2)


def entry(source, state, moment, kind="promotion", **values):
    return Entry(f"{moment:010}-{source}", "passed", kind, state, source, float(moment), float(moment), by="me", **values)


def record(source, moment):
    return SetRecord("passed", source, ImageSet(()), (), time=float(moment), by="me")


def candidate(number, moment, *votes):
    trunk = TrunkHash(f"{number:040x}", f"{number:040x}")
    said = [Vote(job, success, moment + place) for place, (job, success) in enumerate(votes)]
    return DlrnPromotion(trunk, "current", float(moment)), judge(RULE, said, age_hours=1)


def phases(stream):
    return {one.source: one.phase for one in stream.sets}


class Phases(unittest.TestCase):
    def test_each_outcome_is_a_phase_with_a_meaning(self):
        entries = [entry(state, state, 100 - place) for place, state in enumerate(("held", "failed", "pending", "older", "superseded", "rejected"))]
        stream = stand("passed", entries)
        self.assertEqual({state: state for state in ("held", "failed", "pending", "older", "superseded", "rejected")}, phases(stream))
        self.assertLessEqual({one.phase for one in stream.sets}, set(PHASES))

    def test_what_waits_behind_a_promoted_set_is_superseded_and_what_failed_is_not(self):
        entries = [entry("c", "promoted", 30), entry("b", "pending", 20), entry("a", "rejected", 10)]
        self.assertEqual({"c": "promoted", "b": "superseded", "a": "rejected"}, phases(stand("passed", entries)))

    def test_a_promoted_set_stays_one_whatever_was_tried_later(self):
        entries = [entry("a", "older", 30), entry("b", "promoted", 20), entry("a", "promoted", 10)]
        found = stand("passed", entries)
        self.assertEqual({"a": "promoted", "b": "promoted"}, phases(found))
        self.assertEqual(["b", "a"], [one.source for one in found.sets])

    def test_a_rollback_is_told_until_the_set_is_promoted_again(self):
        back = entry("a", "rolled-back", 30, "rollback", previous_source="b")
        entries = [back, entry("b", "promoted", 20), entry("a", "promoted", 10)]
        self.assertEqual({"a": "promoted", "b": "rolled back"}, phases(stand("passed", entries, current=record("a", 10))))
        self.assertEqual({"a": "promoted", "b": "promoted"}, phases(stand("passed", [entry("b", "promoted", 40), *entries])))

    def test_a_promotion_that_was_killed_and_one_of_before_there_was_a_history(self):
        found = stand("passed", [entry("b", "begun", 20)], begun=record("b", 20), current=record("a", 5))
        self.assertEqual({"b": "promoting", "a": "promoted"}, phases(found))
        self.assertIn("promote again", found.advice[0])

    def test_votes_of_now_win_over_what_an_attempt_was_told(self):
        one, verdict = candidate(1, 10, ("deploy", True), ("upgrade", True))
        found = stand("passed", [entry(one.tag, "pending", 12)], candidates=[(one, verdict)])
        self.assertEqual({one.tag: "ready"}, phases(found))
        self.assertEqual(("topcoat promote --from " + one.tag + " --to passed"), found.advice[1])
        one, verdict = candidate(1, 10, ("deploy", False), ("deploy", False))
        self.assertEqual("rejected", stand("passed", (), candidates=[(one, verdict)]).sets[0].phase)

    def test_only_informing_votes_accept_nothing(self):
        one, verdict = candidate(1, 10, ("arm", True))
        self.assertEqual("pending", stand("passed", (), candidates=[(one, verdict)]).sets[0].phase)


class Alarm(unittest.TestCase):
    def entries(self, *states):
        return [entry(f"s{place}", state, 100 - place) for place, state in enumerate(states)]

    def test_red_when_none_of_the_last_five_was_promoted(self):
        five = ("rejected", "failed", "rejected", "rejected", "rejected")
        self.assertIn("None of the last 5", stand("passed", self.entries(*five, "promoted")).alarm)
        self.assertEqual("", stand("passed", self.entries(*five[:4], "promoted", "rejected")).alarm)
        self.assertEqual("", stand("passed", self.entries(*five[:4])).alarm)

    def test_what_waits_says_nothing_about_the_stream(self):
        states = ("pending", "held", "rejected", "rejected", "superseded", "rejected", "rejected", "promoted")
        self.assertEqual("", stand("passed", self.entries(*states)).alarm)


class Next(unittest.TestCase):
    def test_a_hold_comes_first(self):
        stream = stand("passed", [entry("a", "rejected", 10)], hold=Hold("broken <disks>", "me", 5.0))
        self.assertIn("broken <disks>", stream.advice[0])
        self.assertEqual("topcoat hold passed --release", stream.advice[1])

    def test_what_misses_with_what_it_said_before(self):
        old = [candidate(number, number * 10, ("deploy", number != 2), ("upgrade", True)) for number in (1, 2)]
        ahead = candidate(3, 30, ("upgrade", True))
        stream = stand("passed", (), candidates=[ahead, *reversed(old)])
        [missing] = stream.missing
        self.assertEqual(("deploy", "missing"), (missing.job, missing.state))
        self.assertEqual([(old[1][0].tag, "again", ""), (old[0][0].tag, "passed", "")], list(missing.before))
        self.assertIn("waits for deploy", stream.advice[0])

    def test_a_rejected_set_offers_the_override(self):
        job = JobNote("deploy", "blocking", "failed")
        stream = stand("passed", [entry("b", "rejected", 20, jobs=(job,)), entry("a", "promoted", 10)])
        self.assertIn("failed deploy", stream.advice[0])
        self.assertTrue(stream.advice[1].endswith('--override "REASON"'))
        self.assertEqual(["deploy"], [one.job for one in stream.missing])

    def test_nothing_to_do(self):
        self.assertEqual("", stand("passed", [entry("a", "promoted", 10)]).advice[1])
        self.assertIn("Nothing was promoted yet", stand("passed", ()).advice[0])
        passed_by = [entry("b", "superseded", 20), entry("a", "promoted", 10)]
        self.assertIn("the newest set is promoted", stand("passed", passed_by).advice[0])

    def test_the_override_is_kept_with_the_set(self):
        told = [replace(entry("a", "promoted", 10), override="known flake")]
        self.assertEqual("known flake", stand("passed", told).sets[0].override)
