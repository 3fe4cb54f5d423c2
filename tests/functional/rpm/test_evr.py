"""The order of versions is rpm's own: compared with rpm's labelCompare over many random pairs."""

from __future__ import annotations

import json
import random
import subprocess
import unittest

from tests.functional.solver.support import PYTHON, missing_tool
from topcoat.rpm.evr import Order

PAIRS = 4000
# Pieces that tell the rules apart: leading zeros, letters beside digits, separators, tilde and caret, long numbers.
PIECES = ("0", "1", "01", "9", "10", "a", "b", "rc", "1a", "a1", ".", "..", "_", "+", "~", "~~", "^", "^^", "20240101", "99999999999999999999")
PROGRAM = """
import json, sys, rpm
def split(text):
    epoch, rest = text.split(":", 1)
    version, release = rest.split("-", 1)
    return epoch, version, release
print(json.dumps([rpm.labelCompare(split(a), split(b)) for a, b in json.load(sys.stdin)]))
"""


class LabelCompare(unittest.TestCase):
    def test_equals_rpm(self) -> None:
        reason = missing_tool()
        if reason:
            self.fail(reason)
        chooser = random.Random(20200401)

        def part() -> str:
            return "".join(chooser.choice(PIECES) for _ in range(chooser.randint(1, 4)))

        def near(text: str) -> str:
            """Another version that differs in a piece only, so that the comparison has to go deep."""
            at = chooser.randrange(len(text) + 1)
            return text[:at] + chooser.choice(PIECES) + text[at:]

        pairs = []
        for _ in range(PAIRS):
            version, release = part(), part()
            other = near(version) if chooser.random() < 0.6 else version
            pairs.append((f"{chooser.randint(0, 1)}:{version}-{release}", f"{chooser.randint(0, 1)}:{other}-{near(release)}"))
        theirs = json.loads(subprocess.run([PYTHON, "-c", PROGRAM], input=json.dumps(pairs), capture_output=True, text=True, check=True).stdout)
        order = Order()
        wrong = [(a, b, expected, order.compare(a, b)) for (a, b), expected in zip(pairs, theirs, strict=True) if order.compare(a, b) != expected]
        self.assertEqual(wrong, [])
