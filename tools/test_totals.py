#!/usr/bin/env python3
"""Sum up logs of tox: what failed once more, skips that nobody allowed, then one line "N passed, N failed, N skipped".

It must never call a run green that it does not understand: a command that failed without a failing test counts as one failure.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ALLOWED = Path(__file__).parents[1] / "tests/allowed-skips.txt"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TOTAL = re.compile(r"^ - (Passed|Failed|Skipped): +([0-9]+)$")
_TEST = re.compile(r"^\{\d+\} (\S+)(?: \[[0-9.]+s\])? \.\.\. (FAILED|SKIPPED)(?:: (.*))?$")
_UNEXPECTED = re.compile(r"^ - Unexpected Success: +([0-9]+)$")
_ENVIRONMENT = re.compile(r"^ +([a-z0-9.-]+): FAIL\b")
_STATUS = re.compile(r"^ended with ([0-9]+): (.*)$")


@dataclass
class Totals:
    """Counts of one or more logs, and lines for people."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, name: str, text: str, allowed: Iterable[re.Pattern[str]]) -> None:
        """Count one log. Its last line is ``ended with CODE: COMMAND``; a log without one is a run that was cut off."""
        allowed = tuple(allowed)
        failed, ended, output, told = 0, None, [], False
        pending: list[str] = []
        for line in _COLOUR.sub("", text).splitlines():
            if found := _TOTAL.match(line):
                count = int(found[2])
                self.passed += count if found[1] == "Passed" else 0
                self.skipped += count if found[1] == "Skipped" else 0
                failed += count if found[1] == "Failed" else 0
            elif found := _UNEXPECTED.match(line):
                failed += int(found[1])
            elif found := _TEST.match(line):
                words = f"{found[1]}: {found[3] or ''}"
                if found[2] == "FAILED":
                    pending.append(f"{name}: failed: {found[1]}")
                elif not any(pattern.search(words) for pattern in allowed):
                    failed += 1
                    self.lines.append(f"{name}: skipped, which tests/allowed-skips.txt does not allow: {words}")
            elif found := _ENVIRONMENT.match(line):
                pending.append(f"{name}: tox -e {found[1]} failed")
                failed += found[1] in ("linters", "docs", "demo")
            elif found := _STATUS.match(line):
                ended = int(found[1]), found[2]
            if re.match(r"^Failed [0-9]+ tests - output below", line):
                told = True
            elif line == "Totals" or line.startswith("======\nTotals"):
                told = False
            if told:
                output.append(line)
        if ended is None:
            failed += 1
            pending.append(f"{name}: was cut off")
        elif ended[0]:
            failed = max(failed, 1)
            pending.append(f"{name}: exit {ended[0]}: {ended[1]}")
        self.failed += failed
        self.lines += [*output[:400], *pending]


def main(arguments: list[str]) -> int:
    """Exit code 1 when anything failed."""
    allowed = [re.compile(line) for line in ALLOWED.read_text().splitlines() if line and not line.startswith("#")]
    totals = Totals()
    for path in map(Path, arguments):
        totals.add(path.stem, path.read_text(errors="replace") if path.exists() else "", allowed)
    if not totals.passed and not totals.failed:
        totals.failed = 1
        totals.lines.append("no test ran")
    sys.stdout.writelines(f"{line}\n" for line in totals.lines)
    sys.stdout.write(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped\n")
    return int(totals.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
