"""External programs: time limits that kill, logs that stream, errors that carry the last lines."""

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.process import Processes, run


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_output_and_log(self):
        log = self.folder / "deep" / "x.log"
        result = run(["sh", "-c", "echo out; echo err >&2"], timeout=10, log=log)
        self.assertEqual(result.output, "out\n")
        self.assertEqual(sorted(log.read_text().split()), ["err", "out"])

    def test_lines_of_both_streams_stay_in_order(self):
        script = "import sys\nfor i in range(300): print(i, file=(sys.stdout, sys.stderr)[i % 2], flush=True)"
        result = run([sys.executable, "-c", script], timeout=60, ordered=True)
        self.assertEqual(result.output.split(), [str(number) for number in range(300)])

    def test_failure_carries_the_last_lines_and_the_image(self):
        with self.assertRaises(ContentError) as caught:
            run(["sh", "-c", "echo the reason >&2; exit 7"], timeout=10, image="nova-api")
        self.assertIn("code 7", str(caught.exception))
        self.assertIn("the reason", str(caught.exception))
        self.assertTrue(str(caught.exception).startswith("nova-api: "))

    def test_a_missing_program_names_the_next_step(self):
        with self.assertRaises(InfrastructureError) as caught:
            run(["no-such-program-here"], timeout=10)
        self.assertIn("bindep", str(caught.exception))
        self.assertFalse(caught.exception.retriable)

    def test_a_timeout_ends_the_grandchildren_too(self):
        pids = self.folder / "pid"
        with self.assertRaises(InfrastructureError):
            run(["sh", "-c", f"sleep 300 & echo $! > {pids}; wait"], timeout=0.5)
        pid = int(pids.read_text())
        deadline = time.monotonic() + 10
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(alive(pid))

    def test_stop_ends_what_is_running_and_what_comes_later(self):
        import threading

        processes = Processes()
        codes = []
        thread = threading.Thread(target=lambda: codes.append(run(["sleep", "300"], timeout=400, check=False, processes=processes).code))
        thread.start()
        while not processes._groups:
            time.sleep(0.01)
        processes.stop()
        thread.join(20)
        codes.append(run(["sleep", "300"], timeout=400, check=False, processes=processes).code)
        self.assertTrue(all(code < 0 for code in codes), codes)

    def test_input_is_passed_and_environment_is_complete(self):
        result = run(["cat"], timeout=10, stdin="hello", env={"PATH": os.environ["PATH"]})
        self.assertEqual(result.output, "hello")

    def test_a_program_that_does_not_read_its_input_has_its_time_only(self):
        with self.assertRaisesRegex(InfrastructureError, "took longer than"):
            run(["sleep", "3"], timeout=0.3, stdin="x" * 1_000_000)

    def test_a_log_that_cannot_be_written_is_the_machine_s_error(self):
        with self.assertRaisesRegex(InfrastructureError, "the disk is full"):
            run(["seq", "100000"], timeout=20, log=Path("/dev/full"))

    def test_a_log_takes_so_much_and_no_more(self):
        log = self.folder / "x.log"
        result = run(["sh", "-c", "yes | head -c 3000000"], timeout=20, log=log, most=1 << 20, ordered=True)
        self.assertEqual(result.code, 0)
        self.assertLess(log.stat().st_size, (1 << 20) + 100)
        self.assertTrue(log.read_text().endswith("[the rest of the output is left out]\n"))
        self.assertLess(len(result.printed), (1 << 20) + 100)

    def test_output_that_is_read_is_whole_or_an_error(self):
        self.assertEqual(len(run(["head", "-c", "1000", "/dev/zero"], timeout=20, most=1000).output), 1000)
        result = run(["head", "-c", "3000000", "/dev/zero"], timeout=20, most=1 << 20)
        with self.assertRaisesRegex(ContentError, "head printed more than the 1 MiB that are read of it"):
            _ = result.output

    def test_an_error_shows_the_begin_of_a_long_line(self):
        with self.assertRaises(ContentError) as caught:
            run(["sh", "-c", "head -c 1000000 /dev/zero | tr '\\\\0' x; exit 3"], timeout=20)
        self.assertLess(len(str(caught.exception)), 100_000)
