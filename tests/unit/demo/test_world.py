"""The real-size world on disk: what is in use stays."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from topcoat_demo import world as worlds
from topcoat_demo.images import Layout
from topcoat_demo.world import World


class InUse(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="demo-world-")
        self.addCleanup(holder.cleanup)
        self.cache = Path(holder.name)

    def used(self, name: str) -> object:
        def make(*_: object) -> World:
            directory = self.cache / "world" / name
            directory.mkdir(parents=True, exist_ok=True)
            worlds._tidy(directory)
            return World(directory, Layout(directory, "sha256:0"), {})

        with mock.patch.object(worlds, "_make", make):
            manager = worlds.used(self.cache)
            manager.__enter__()
        return manager

    def worlds(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "world").iterdir())

    def test_a_new_world_leaves_the_one_that_a_demo_runs_on_and_the_next_removes_it(self) -> None:
        first = self.used("first")
        self.used("second").__exit__(None, None, None)
        self.assertEqual(self.worlds(), ["first", "second"])
        first.__exit__(None, None, None)
        self.used("third").__exit__(None, None, None)
        self.assertEqual(self.worlds(), ["third"])

    def test_two_demos_share_one_world(self) -> None:
        first, second = self.used("one"), self.used("one")
        first.__exit__(None, None, None)
        self.used("two").__exit__(None, None, None)
        self.assertEqual(self.worlds(), ["one", "two"])
        second.__exit__(None, None, None)


if __name__ == "__main__":
    unittest.main()
