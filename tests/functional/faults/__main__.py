"""The long form of the matrix of faults: ``python -m tests.functional.faults`` (``tox -e faults``) runs it and counts.

This module must never decide what is right.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.functional.faults import machine
from tests.functional.faults.matrix import SEED, Verdict, chosen, matrix

PAGE = Path(__file__).resolve().parents[3] / "doc/source/contributor/faults.rst"


def table(verdicts: list[Verdict], by: Callable[[Verdict], str], title: str) -> list[str]:
    """The counts as lines of a page."""
    rows: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        rows.setdefault(by(verdict), Counter())[verdict.outcome] += 1
    head = (title, "cases", "done all the same", "told", "ended", "wrong")
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 40 12 12 12 12 12", ""]
    for row in (
        head,
        *((name, str(count.total()), *(str(count[key]) for key in ("fine", "told", "ended", "wrong"))) for name, count in rows.items()),
    ):
        lines += [f"   {'* -' if not at else '  -'} {cell}" for at, cell in enumerate(row)]
    return [*lines, ""]


def write_page(verdicts: list[Verdict], seed: int) -> None:
    """Put the tables into the page."""
    text = PAGE.read_text()
    begin, end = ".. the counts, written by tox -e faults -- --write\n", ".. end of the counts\n"
    before, rest = text.split(begin)
    lines = [f"{len(verdicts)} cases, seed {seed}:", "", *table(verdicts, lambda one: one.case.step.name, "step")]
    lines += table(verdicts, lambda one: one.case.trouble.name, "fault")
    PAGE.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def main(argv: list[str] | None = None) -> int:
    """The long form. Exit code 1 when anything came out wrong."""
    parser = argparse.ArgumentParser(prog="tox -e faults --", description=__doc__)
    parser.add_argument("--cases", type=int, default=1200, help="so many cases; 0: all")
    parser.add_argument("--seed", type=int, default=SEED, help="which cases, where not all are tried")
    parser.add_argument("--only", default="", help="only cases with this text in their line")
    parser.add_argument("--write", action="store_true", help="write the counts into the page")
    arguments = parser.parse_args(argv)
    verdicts: list[Verdict] = []
    with matrix() as made:
        every = [*made.cases(), *made.kills(), *machine.cases()]
        wanted = [case for case in every if arguments.only in str(case)]
        wanted = chosen(wanted, arguments.cases, arguments.seed) if arguments.cases else wanted
        begin = time.monotonic()
        for number, case in enumerate(wanted, 1):
            verdict = machine.run(made, case) if isinstance(case, machine.MachineCase) else made.run(case)
            verdicts.append(verdict)
            for problem in verdict.problems:
                print(f"WRONG {verdict.case}: {problem}", flush=True)
            if number % 50 == 0:
                print(f"{number} of {len(wanted)}, {time.monotonic() - begin:.0f} s", flush=True)
    print("\n".join(table(verdicts, lambda one: one.case.step.name, "step")))
    print("\n".join(table(verdicts, lambda one: one.case.trouble.name, "fault")))
    wrong = sum(verdict.outcome == "wrong" for verdict in verdicts)
    print(f"{len(verdicts)} cases of {len(every)}, seed {arguments.seed}: {wrong} wrong")
    if arguments.write:
        write_page(verdicts, arguments.seed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
