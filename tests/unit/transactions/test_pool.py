"""Parts of a transaction that need no image: the promise afterwards, and the worker's protocol."""

import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import Nevra, PackageChange
from topcoat.transactions.pool import _check, _difference, _expected
from topcoat.transactions.system_python import SystemPython, Worker, _error

OLD, NEW = Nevra.parse("a-1-1.noarch"), Nevra.parse("a-1:0.5-1.noarch")


class Promise(unittest.TestCase):
    def test_equal_is_silent_whatever_the_order_and_repository(self) -> None:
        one, two = PackageChange(OLD, NEW, "x"), PackageChange(None, Nevra.parse("b-1-1.noarch"))
        _check((two, one), (PackageChange(OLD, NEW), two), None, None)

    def test_more_and_less_are_named(self) -> None:
        with self.assertRaises(ContentError) as caught:
            _check((PackageChange(OLD, NEW),), (PackageChange(OLD, None),), "nova", None)
        self.assertIn("changed but not planned: a 1-1 -> 1:0.5-1", str(caught.exception))
        self.assertIn("planned but not changed: a 1-1 -> (removed)", str(caught.exception))

    def test_database_lists_become_changes_also_for_another_build_of_the_same_version(self) -> None:
        before = [["a-0:1-1.noarch", 5], ["b-0:1-1.noarch", 5], ["c-0:1-1.noarch", 5]]
        after = [["a-1:0.5-1.noarch", 5], ["b-0:1-1.noarch", 6], ["d-0:1-1.noarch", 5]]
        keys = [("a-1-1.noarch", "a-1:0.5-1.noarch"), ("b-1-1.noarch", "b-1-1.noarch"), ("c-1-1.noarch", ""), ("", "d-1-1.noarch")]
        self.assertEqual([change.key for change in _difference(before, after)], keys)

    def test_what_dnf_is_held_to(self) -> None:
        self.assertEqual(_expected([PackageChange(OLD, NEW)]), {"install": ["a-1:0.5-1.noarch"], "remove": ["a-0:1-1.noarch"]})


class Workers(unittest.TestCase):
    def test_a_machine_without_bindings_is_one_clear_error(self) -> None:
        with self.assertRaises(InfrastructureError) as caught:
            SystemPython([Path("/nonexistent/python3"), Path(sys.executable)]).find()
        self.assertIn("python3-dnf", str(caught.exception))
        self.assertFalse(caught.exception.retriable)

    def test_whose_fault_an_answer_is(self) -> None:
        for kind, expected in (
            ("promise", ContentError),
            ("scriptlet", ContentError),
            ("content", ContentError),
            ("infrastructure", InfrastructureError),
        ):
            with self.subTest(kind):
                self.assertIs(type(_error({"kind": kind, "what": "w"}, "i", "l")), expected)
        self.assertFalse(_error({"kind": "infrastructure", "what": "disk", "errno": 28}, None, None).retriable)
        self.assertTrue(_error({"kind": "infrastructure", "what": "x"}, None, None).retriable)

    def fake(self, body: str) -> Worker:
        """A worker whose program is a shell script instead."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        program = Path(holder.name) / "python"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(stat.S_IRWXU)
        worker = Worker(program)
        self.addCleanup(worker.stop)
        return worker

    @unittest.skipUnless(os.geteuid() == 0, "needs root: namespaces")
    def test_a_worker_that_does_not_start_says_why(self) -> None:
        with self.assertRaises(InfrastructureError) as caught:
            self.fake("echo broken bindings >&2; exit 1").ask({"op": "x"}, timeout=5)
        self.assertIn("broken bindings", str(caught.exception))

    @unittest.skipUnless(os.geteuid() == 0, "needs root: namespaces")
    def test_a_worker_that_dies_is_infrastructure_and_the_next_request_gets_a_new_one(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        marker = Path(holder.name) / "died"
        worker = self.fake(f"""echo '{{"ok": true}}'; read x; [ -e {marker} ] && echo '{{"ok": true, "x": 1}}' && sleep 9; touch {marker}""")
        with self.assertRaises(InfrastructureError):
            worker.ask({"op": "x"}, timeout=5)
        self.assertEqual(worker.ask({"op": "x"}, timeout=5)["x"], 1)

    @unittest.skipUnless(os.geteuid() == 0, "needs root: namespaces")
    def test_packages_are_fetched_when_the_worker_asks_and_a_failure_ends_it(self) -> None:
        body = """echo '{"ok": true}'; read x; echo '{"need": [["r", "a.rpm"]]}'; read y; echo '{"ok": true}'; read z"""
        asked: list = []
        worker = self.fake(body)
        worker.ask({"op": "x"}, timeout=5, fetch=asked.extend)
        self.assertEqual(asked, [("r", "a.rpm")])

        def fail(needed: list) -> None:
            raise InfrastructureError("repository r is unreachable")

        with self.assertRaisesRegex(InfrastructureError, "unreachable"):
            self.fake(body).ask({"op": "x"}, timeout=5, fetch=fail)


if __name__ == "__main__":
    unittest.main()
