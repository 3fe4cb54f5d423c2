"""Criteria and records."""

from __future__ import annotations

import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from topcoat.errors import ContentError, UsageError
from topcoat.promotion import Entry, ImageSet, SetRecord
from topcoat.promotion.base_image import merge
from topcoat.promotion.control import check_name
from topcoat.promotion.history import JobNote, check_reason
from topcoat.trunk import Criteria, TooOld, Vote, judge, load_criteria

RULE = Criteria("passed", "candidate", ("a", "b"), (("b", ("c", "d")),), 48.0)


class Judging(unittest.TestCase):
    def judge(self, *votes: tuple[str, bool], age: float = 1.0, rule: Criteria = RULE):
        return judge(rule, [Vote(job, success, float(number)) for number, (job, success) in enumerate(votes)], age_hours=age)

    def test_table(self) -> None:
        for votes, passed, word in (
            ((("a", True), ("b", True)), True, "all required"),
            ((("a", True), ("b", False), ("d", True)), True, "d in place of b"),
            ((("a", True),), False, "no vote from b"),
            ((("a", False), ("b", True)), False, "failed: a"),
            ((("a", True), ("b", True), ("b", False)), False, "failed: b"),  # the last vote counts
            ((("a", False), ("b", True), ("a", True)), True, "all required"),
            ((("a", True), ("c", False)), False, "failed: b"),
            ((), False, "no vote from a, b"),
        ):
            with self.subTest(votes=votes):
                verdict = self.judge(*votes)
                self.assertEqual(passed, verdict.passed)
                self.assertIn(word, verdict.sentence)

    def test_informing_jobs_are_shown_and_never_decide(self) -> None:
        rule = Criteria("p", "c", ("a",), informing=("i", "j"))
        verdict = self.judge(("a", True), ("i", False), rule=rule)
        self.assertTrue(verdict.passed)
        self.assertEqual([("a", "passed"), ("i", "failed"), ("j", "missing")], [(one.job, one.state) for one in verdict.jobs])
        self.assertFalse(self.judge(("i", True), ("j", True), rule=rule).passed)
        # a rule without a required job cannot be written; one that is made all the same accepts nothing
        self.assertFalse(self.judge(("i", True), rule=Criteria("p", "c", (), informing=("i",))).passed)

    def test_a_job_may_fail_as_often_as_the_rule_says(self) -> None:
        rule = Criteria("p", "c", ("a", "b"), attempts=2)
        for votes, phase, word in (
            ((("a", True),), "pending", "no vote from b"),
            ((("a", False), ("b", True)), "pending", "may be tried again: a"),
            ((("a", False), ("a", False), ("b", True)), "rejected", "failed: a"),
            ((("a", False), ("a", True), ("b", True)), "accepted", "all required"),
            ((("a", False), ("b", False), ("b", False)), "rejected", "failed: b"),
        ):
            with self.subTest(votes=votes):
                verdict = self.judge(*votes, rule=rule)
                self.assertEqual((phase, phase == "accepted"), (verdict.phase, verdict.passed))
                self.assertIn(word, verdict.sentence)
                self.assertEqual([sum(job == name for job, _ in votes) for name in rule.required], [len(one.attempts) for one in verdict.jobs])

    def test_age(self) -> None:
        good = (("a", True), ("b", True))
        self.assertFalse(self.judge(*good, age=49).passed)
        self.assertTrue(self.judge(*good, age=49, rule=Criteria("p", "c", ("a",), (), 48, TooOld.ALLOW)).passed)

    def test_one_candidate_never_changes_the_rule_for_the_next(self) -> None:
        self.judge(("a", True), ("c", True))
        self.assertFalse(self.judge(("a", True), ("b", False)).passed)
        self.assertEqual(("a", "b"), RULE.required)


class Files(unittest.TestCase):
    def load(self, text: str):
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "criteria.yaml"
        path.write_text(text)
        return load_criteria(path)

    def test_a_whole_one(self) -> None:
        text = "passed: {candidate: candidate, required: [a, b], alternatives: {b: [c, d]}, max_age_hours: 48, too_old: skip}"
        self.assertEqual({"passed": Criteria("passed", "candidate", ("a", "b"), (("b", ("c", "d")),), 48, TooOld.SKIP)}, self.load(text))

    def test_bad_ones_name_the_fault(self) -> None:
        for text, word in (
            ("", "holds no rule"),
            ("[]", "holds no rule"),
            ("x: [", "cannot be read"),
            ("p: 1", "not a mapping"),
            ("p: {candidate: c, required: []}", "names no job"),
            ("p: {candidate: c}", "required"),
            ("p: {required: [a]}", "candidate is missing"),
            ("p: {candidate: c, required: [a], alternatives: {b: [c]}}", "alternatives"),
            ("p: {candidate: c, required: [a], oops: 1}", "'oops'"),
            ("p: {candidate: c, required: [a], max_age_hours: long}", "max_age_hours"),
            ("p: {candidate: c, required: [a], too_old: no}", "too_old"),
            ("p: {candidate: c, required: a}", "list of job names"),
            ("p: {candidate: c, required: [a], informing: [a]}", "required and informing"),
            ("p: {candidate: c, informing: [a]}", "required"),
            ("p: {candidate: c, required: [a], attempts: 0}", "attempts"),
        ):
            with self.subTest(text=text), self.assertRaises(UsageError) as caught:
                self.load(text)
            self.assertIn(word, str(caught.exception))


class Records(unittest.TestCase):
    @given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(0, 9), max_size=5), st.floats(0, 2e9))
    def test_a_record_equals_itself_after_a_round_trip(self, images: dict[str, int], moment: float) -> None:
        digests = ImageSet.of({name: "sha256:" + str(number) * 64 for name, number in images.items()})
        record = SetRecord("n", "s", digests, tuple(sorted((name, f"ns/{name}") for name in images)), digests, "p", round(moment, 3), "me")
        self.assertEqual(record, SetRecord.from_json(record.to_json()))

    def test_what_is_no_record(self) -> None:
        good = SetRecord("n", "s", ImageSet.of({"a": "sha256:" + "0" * 64}), (("a", "ns/a"),)).to_json()
        for text in ("", "[]", "{}", good.replace('"schema":1', '"schema":2'), good.replace("ns/a", "../a"), good.replace('"a":"ns/a"', "")):
            with self.subTest(text=text), self.assertRaises(ContentError):
                SetRecord.from_json(text)


class Entries(unittest.TestCase):
    GOOD = Entry(
        "0001-abc", "n", "promotion", "promoted", "s", 1.5, 2.5, 3, "me", "all", "why", "p", 1, 1, ("h/ns",),
        (JobNote("a", "blocking", "passed", "", 2, "http://x"),), SetRecord("n", "s", ImageSet.of({"a": "sha256:" + "0" * 64}), (("a", "ns/a"),)),
    )  # fmt: skip

    def test_an_entry_equals_itself_after_a_round_trip(self) -> None:
        self.assertEqual(self.GOOD, Entry.from_json(self.GOOD.to_json()))

    def test_what_is_no_entry(self) -> None:
        text = self.GOOD.to_json()
        for old, new in (
            ('"schema":1', '"schema":2'),
            ('"promoted"', '"gone"'),
            ('"times":3', '"times":-1'),
            ("ns/a", "../a"),
            ('"jobs":[', '"jobs":[1,'),
        ):
            self.assertIn(old, text)
            with self.subTest(new=new), self.assertRaises(ContentError):
                Entry.from_json(text.replace(old, new))

    def test_only_an_outcome_that_moved_nothing_is_counted_instead_of_written_again(self) -> None:
        again = replace(self.GOOD, id="0002-abc", last=9.0)
        self.assertFalse(again.same_outcome(self.GOOD))
        self.assertTrue(replace(again, state="pending").same_outcome(replace(self.GOOD, state="pending")))
        self.assertFalse(replace(again, state="pending", sentence="other").same_outcome(replace(self.GOOD, state="pending")))

    def test_reasons(self) -> None:
        self.assertEqual("because", check_reason(" because ", "--override"))
        for reason in ("", "  ", ".", " - - ", "\u2800", "two\nlines", "x" * 501):
            with self.assertRaises(UsageError):
                check_reason(reason, "--override")

    def test_names_that_records_could_be_taken_for(self) -> None:
        for name in ("a.hold", "a.history-1", "a.lock-1", "sha256-0"):
            with self.assertRaises(UsageError):
                check_name(name)
        self.assertEqual("current-passed-ci", check_name("current-passed-ci"))


class Layers(unittest.TestCase):
    def test_a_layer_on_top_brings_its_paths_and_takes_what_its_whiteouts_name(self) -> None:
        paths = {"usr", "usr/bin", "usr/bin/sh", "etc", "etc/a", "etc/b"}
        merge(paths, ["./etc/.wh.a", "usr/bin/.wh..wh..opq", "usr/bin/bash"])
        self.assertEqual({"usr", "usr/bin", "usr/bin/bash", "etc", "etc/b"}, paths)
        merge(paths, [".wh..wh..opq", "opt"])
        self.assertEqual({"opt"}, paths, "an opaque root hides everything below")
