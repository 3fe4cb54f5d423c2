"""What a run with failures comes to."""

import unittest

from topcoat.engine import TaskResult
from topcoat.errors import ContentError, InfrastructureError, PartialError, TopcoatError
from topcoat.model import Status
from topcoat.runs import verdict


def done(name: str) -> TaskResult:
    return TaskResult(name, Status.DONE)


def failed(name: str, kind: type[TopcoatError] = ContentError) -> TaskResult:
    return TaskResult(name, Status.FAILED, error=kind(f"{name} broke"))


def skipped(name: str, below: str) -> TaskResult:
    return TaskResult(name, Status.SKIPPED, skipped_because=f"parent {below} failed", blocked_by=below)


def cancelled(name: str) -> TaskResult:
    return TaskResult(name, Status.CANCELLED)


class Verdicts(unittest.TestCase):
    def test_the_table(self) -> None:
        cases = (
            ("all is done", [done("a"), done("b")], (), None, "", Status.DONE),
            ("one failed", [done("a"), failed("b")], (), ContentError, "b broke", Status.FAILED),
            ("it may", [done("a"), failed("b")], ("b",), PartialError, "1 image(s) failed that are allowed to: b", Status.PARTIAL),
            ("what stands on it is skipped for it", [failed("b"), skipped("c", "b")], ("b",), PartialError, "b, c", Status.PARTIAL),
            ("c alone may fail, b may not", [failed("b"), skipped("c", "b")], ("c",), ContentError, "b broke", Status.FAILED),
            ("a forbidden one before an allowed one", [failed("a"), failed("b")], ("a*",), ContentError, "b broke", Status.FAILED),
            (
                "content before infrastructure",
                [failed("a", InfrastructureError), failed("b")],
                (),
                ContentError,
                "b broke (2 images failed: also a)",
                Status.FAILED,
            ),
            ("somebody ended it", [failed("a"), cancelled("b")], (), TopcoatError, "the run was cancelled", Status.CANCELLED),
            ("skipped without a failure", [skipped("c", "elsewhere")], (), ContentError, "1 image(s) were not done: c", Status.FAILED),
        )
        for name, results, allowed, kind, words, status in cases:
            with self.subTest(name):
                by_name = {result.id: result for result in results}
                error = verdict.error_of(by_name, allowed)
                self.assertIs(kind, type(error) if error else None)
                self.assertIn(words, error.what if error else "")
                self.assertIs(status, verdict.status_of(error, by_name, stopped=False))

    def test_many_failures_are_counted_and_some_named(self) -> None:
        results = {name: failed(name) for name in "abcdefghi"}
        error = verdict.error_of(results, ())
        self.assertEqual("a broke (9 images failed: also b, c, d, e, f and 3 more)", error.what)
        self.assertEqual("a", error.image)

    def test_who_ends_a_run_without_a_result_cancels_it(self) -> None:
        self.assertIs(Status.CANCELLED, verdict.status_of(verdict.cancelled(), {}, stopped=True))
