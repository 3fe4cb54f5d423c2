"""What the demo of real software believes of ``rpm -Va`` and of plain dnf, and where it goes on."""

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from topcoat.errors import UsageError
from topcoat_demo import beside
from topcoat_demo.__main__ import real as command
from topcoat_demo.real import STEPS, Asked, Real, differences


class Verified(unittest.TestCase):
    def test_changed_configuration_is_allowed_and_nothing_else(self) -> None:
        report = (
            "S.5....T.  c /etc/passwd\n"
            ".M.......    /usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc\n"
            "missing   c /etc/redis/redis.conf\n"
            "missing     /usr/bin/redis-server\n"
            "missing   d /usr/share/doc/redis/README\n"
            "Unsatisfied dependencies for redis-7.0-1.x86_64:\n"
            "\n"
        )
        self.assertEqual(
            differences(report),
            [
                ".M.......    /usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc",
                "missing   c /etc/redis/redis.conf",
                "missing     /usr/bin/redis-server",
                "missing   d /usr/share/doc/redis/README",
                "Unsatisfied dependencies for redis-7.0-1.x86_64:",
            ],
        )


class Steps(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-real-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def test_the_command_offers_every_step(self) -> None:
        (option,) = (one for one in command.params if one.name == "start")
        self.assertEqual(list(option.type.choices), list(STEPS))

    def test_a_later_run_knows_what_the_images_said(self) -> None:
        first = Real(self.folder, self.folder)
        first.asked["redis"] = Asked(["7.0-1"], ["PONG"], [1.5], "service")
        first.times["build"] = 12.0
        first._keep()
        later = Real(self.folder, self.folder, start="update")
        later.times["world"] = 3.0
        later._remember()
        self.assertEqual((later.asked, later.times), (first.asked, {"build": 12.0, "world": 3.0}))

    def test_nothing_goes_on_where_nothing_began(self) -> None:
        with self.assertRaisesRegex(UsageError, "holds no run that could go on with 'compare'"):
            Real(self.folder, self.folder, start="compare")._remember()


class Ending(unittest.TestCase):
    def test_a_run_that_is_told_to_end_asks_no_further_image(self) -> None:
        begun: list[str] = []

        class Told(Real):
            def _one(self, containers: object, image: dict, service: object, *, fresh: bool) -> str:  # type: ignore[override]
                begun.append(image["name"])
                time.sleep(0.05)
                return "said"

            def _say(self, line: str) -> None:
                raise SystemExit(143)

        images = {name: {"name": name} for name in map(str, range(60))}
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(os, "cpu_count", lambda: 1), self.assertRaises(SystemExit):
            Told(Path(folder), Path(folder))._check(None, images, fresh=True)  # type: ignore[arg-type]
        self.assertLess(len(begun), len(images))


class Times(unittest.TestCase):
    def test_only_what_rpm_verified_keeps_its_time(self) -> None:
        entries = {name: ("0o100644", 0, 0, 77, 0, "content", {}, name) for name in ("usr/bin/owned", "etc/ld.so.cache")}
        found = beside._timeless(entries, {"usr/bin/owned"})
        self.assertEqual([facts[3] for facts in found.values()], [77, 0])
        self.assertEqual([facts[5] for facts in found.values()], ["content", "content"])

    def test_of_run_only_directories_and_what_a_package_owns_count(self) -> None:
        entries = {
            name: (mode,) for name, mode in (("run/shm", "0o120777"), ("run/mysqld", "0o40755"), ("run/own", "0o100644"), ("runner", "0o100644"))
        }
        self.assertEqual(list(beside._kept(entries, {"run/own"})), ["run/mysqld", "run/own", "runner"])

    def test_changed_configuration_is_recognised_in_what_rpm_says(self) -> None:
        lines = ("S.5....T.  c /etc/passwd", ".......T.    /usr/bin/x", "missing     /run/x")
        self.assertEqual([match and match[1] for match in map(beside._VERIFIED.match, lines)], ["etc/passwd", "usr/bin/x", "run/x"])


if __name__ == "__main__":
    unittest.main()
