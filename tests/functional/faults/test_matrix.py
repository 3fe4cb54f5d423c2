"""The short form of the matrix of faults: some cases of every step and every fault, the same with each run; the long form is ``tox -e faults``."""

from __future__ import annotations

import os
import re
import unittest

from tests.functional.faults import machine
from tests.functional.faults.__main__ import PAGE
from tests.functional.faults.matrix import SEED, STEPS, TROUBLES, Matrix, chosen, matrix
from tests.needs import need

CASES = int(os.environ.get("TOPCOAT_FAULTS", "36"))


class Short(unittest.TestCase):
    matrix: Matrix

    @classmethod
    def setUpClass(cls) -> None:
        need("podman", "mount", root=True)
        cls.matrix = cls.enterClassContext(matrix())

    def try_out(self, cases: list) -> None:
        for case in cases:
            with self.subTest(str(case)):
                verdict = machine.run(self.matrix, case) if isinstance(case, machine.MachineCase) else self.matrix.run(case)
                self.assertEqual(verdict.problems, [])

    def test_every_fault_somewhere(self) -> None:
        """One case of each fault; the steps take turns."""
        found: dict[str, object] = {}
        cases = [case for case in self.matrix.cases() if not case.step.others]
        for case in chosen(cases, len(cases), SEED):
            found.setdefault(case.trouble.name, case)
        self.assertEqual(set(found), {trouble.name for trouble in TROUBLES})
        self.try_out(list(found.values())[:CASES])

    def test_every_condition_of_the_machine_somewhere(self) -> None:
        found: dict[str, object] = {}
        cases = list(machine.cases())
        for case in chosen(cases, len(cases), SEED):
            found.setdefault(f"{case.name}", case)
        self.try_out(list(found.values()))


class Page(unittest.TestCase):
    def test_the_page_counts_every_step_and_every_fault(self) -> None:
        counted = PAGE.read_text().partition(".. the counts")[2]
        rows = re.findall(r"^   \* - (.*)\n((?:     - \d+\n)+)", counted, re.M)
        names = {name for name, _ in rows}
        self.assertLessEqual({step.name for step in STEPS}, names)
        self.assertLessEqual({trouble.name for trouble in TROUBLES}, names)
