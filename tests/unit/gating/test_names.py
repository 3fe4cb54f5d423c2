"""Each checkout has logs and a build tree of its own."""

import unittest
from pathlib import Path

from topcoat.gating import _short_names


class Names(unittest.TestCase):
    def test_as_few_parts_as_tell_them_apart(self):
        names = _short_names([Path("/src/a/nova"), Path("/src/b/nova"), Path("/src/a/keystone")])
        self.assertEqual(["a-nova", "b-nova", "keystone"], list(names.values()))

    def test_a_hyphen_in_a_part_is_no_seam(self):
        for paths in (("/p/x-c", "/q/x/c", "/r/c"), ("/r/c", "/q/x/c", "/p/x-c")):
            names = _short_names([Path(path) for path in paths])
            self.assertEqual(3, len(set(names.values())), names)


if __name__ == "__main__":
    unittest.main()
