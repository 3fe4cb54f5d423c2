"""Control groups of workers: named after their starter, and swept when it is gone."""

import os
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from topcoat.process import groups
from topcoat.process.jail import limits


class Groups(unittest.TestCase):
    def test_groups_of_gone_starters_are_removed_and_no_others(self) -> None:
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(limits, "parents", lambda: (folder, f"{folder}/none")):
            gone, alive, foreign = (Path(folder, name) for name in ("topcoat-4194999-ab", f"topcoat-{os.getpid()}-ab", "user.slice"))
            for path in (gone, alive, foreign):
                path.mkdir()
            name = groups.fresh()
            self.assertTrue(name.startswith(f"topcoat-{os.getpid()}-"))
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), sorted([alive.name, foreign.name]))
            Path(folder, name).mkdir()
            groups.remove(name)
            groups.remove(name)
            self.assertFalse(Path(folder, name).exists())
