"""The last line of CI: what is counted, and what is never called green."""

import contextlib
import importlib.util
import io
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools/test_totals.py"
SPEC = importlib.util.spec_from_file_location("test_totals_tool", TOOL)
tool = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = tool
SPEC.loader.exec_module(tool)

GREEN = """{0} tests.unit.a.B.test_c [0.1s] ... ok
{1} tests.functional.trunk.x.Y.test_z ... SKIPPED: DLRN needs Python 3.11 or older
 - Passed: 7
 - Skipped: 1
 - Failed: 0
  \x1b[32munit: OK (3 seconds)\x1b[0m
ended with 0: tox
"""


class LastLine(unittest.TestCase):
    def run_on(self, *texts: str) -> tuple[int, list[str]]:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        paths = []
        for number, text in enumerate(texts):
            paths.append(folder / f"log{number}.log")
            paths[-1].write_text(text)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = tool.main([str(path) for path in paths])
        return code, said.getvalue().splitlines()

    def test_logs_are_summed(self):
        self.assertEqual(self.run_on(GREEN, GREEN), (0, ["14 passed, 0 failed, 2 skipped"]))

    def test_a_skip_that_is_not_on_the_list_is_a_failure(self):
        code, lines = self.run_on(GREEN.replace("DLRN needs Python 3.11 or older", "needs busybox"))
        self.assertEqual((code, lines[-1]), (1, "7 passed, 1 failed, 1 skipped"))
        self.assertIn("needs busybox", lines[0])

    def test_root_excuses_unit_tests_only(self):
        for name, failed in (("unit", 0), ("functional", 1)):
            text = f"{{0}} tests.{name}.a.B.test_c ... SKIPPED: needs root: devices\n - Passed: 1\n - Skipped: 1\nended with 0: tox\n"
            self.assertEqual(self.run_on(text)[1][-1], f"1 passed, {failed} failed, 1 skipped")

    def test_linters_that_fail_are_one_failure(self):
        text = GREEN.replace("ended with 0", "  linters: FAIL code 1 (3.0=setup[1]+cmd[2] seconds)\nended with 1")
        self.assertEqual(self.run_on(text)[1][-1], "7 passed, 1 failed, 1 skipped")

    def test_failed_tests_are_named_again(self):
        text = GREEN.replace("Failed: 0", "Failed: 2").replace("ended with 0", "{0} tests.unit.a.B.test_d [1.5s] ... FAILED\nended with 1")
        code, lines = self.run_on(text)
        self.assertEqual((code, lines[-1]), (1, "7 passed, 2 failed, 1 skipped"))
        self.assertIn("log0: failed: tests.unit.a.B.test_d", lines)

    def test_a_command_that_failed_before_any_test_is_a_failure(self):
        self.assertEqual(self.run_on("ended with 3: tools/setup-node\n")[1][-1], "0 passed, 1 failed, 0 skipped")

    def test_a_log_that_was_cut_off_is_a_failure(self):
        self.assertEqual(self.run_on(GREEN, " - Passed: 3\n")[1][-1], "10 passed, 1 failed, 1 skipped")

    def test_nothing_at_all_is_a_failure(self):
        self.assertEqual(self.run_on("ended with 0: true\n"), (1, ["no test ran", "0 passed, 1 failed, 0 skipped"]))
