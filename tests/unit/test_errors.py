"""A machine that has run out of something is not the change's fault, and no defect of ours."""

import datetime
import email.utils
import errno
import os
import unittest
import unittest.mock

from topcoat import cli
from topcoat.engine.task import InternalError
from topcoat.errors import InfrastructureError, machine_error, seconds_to_wait
from topcoat.runs import verdict


class Machine(unittest.TestCase):
    def test_what_a_machine_runs_out_of(self) -> None:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO, errno.ENOMEM):
            found = machine_error(OSError(number, os.strerror(number), "/y/x"))
            self.assertIsInstance(found, InfrastructureError)
            self.assertEqual((found.exit_code, found.retriable), (3, False))
            self.assertIn("/y/x", found.what)
            self.assertTrue(found.next_step)
        self.assertIsNotNone(machine_error(MemoryError()))
        self.assertIsNone(machine_error(FileNotFoundError(errno.ENOENT, "x")))
        self.assertIsNone(machine_error(ValueError("x")))

    def test_it_is_found_below_other_exceptions(self) -> None:
        try:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise RuntimeError("cannot go on") from error
        except RuntimeError as error:
            self.assertEqual(machine_error(error).what, "the disk is full")
            self.assertEqual(verdict.broken(error).exit_code, 3)
        self.assertEqual(verdict.broken(RuntimeError("a defect")).exit_code, 1)
        self.assertTrue(issubclass(InternalError, Exception))

    def test_a_command_says_it_in_one_line(self) -> None:
        for number, words in ((errno.ENOSPC, "the disk is full"), (errno.EMFILE, "too many files are open")):
            with (
                unittest.mock.patch.object(cli.root, "main", side_effect=OSError(number, "x", "/y")),
                unittest.mock.patch("click.echo") as echo,
                self.assertRaises(SystemExit) as caught,
            ):
                cli.main(["lint"])
            self.assertEqual(caught.exception.code, 3)
            self.assertIn(f"error: {words} (/y) -> ", echo.call_args_list[0].args[0])


class ComingAgain(unittest.TestCase):
    def test_when_to_come_again(self) -> None:
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3600)
        self.assertAlmostEqual(seconds_to_wait(email.utils.format_datetime(later, usegmt=True)) or 0, 3600, delta=60)
        self.assertEqual(seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT"), 0.0)
        for text, seconds in (("7", 7.0), ("1.5", 1.5), ("soon", None), (None, None), ("-1", None), ("Wed, 99 Oct 2015", None)):
            self.assertEqual(seconds_to_wait(text), seconds, text)
