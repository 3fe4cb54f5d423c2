"""The walks along ``parent``: whole trees, members that are missing, circles."""

import unittest
from types import SimpleNamespace

from topcoat.model import ancestry


def family(**parents: str | None) -> dict[str, SimpleNamespace]:
    return {name: SimpleNamespace(parent=parent) for name, parent in parents.items()}


TREE = family(api="nova", nova="base", base=None, keystone="base", alone="elsewhere")
LOOP = family(a="b", b="c", c="b", d=None)


class Walks(unittest.TestCase):
    def test_up(self) -> None:
        cases = (
            (TREE, "api", ("api", "nova", "base")),
            (TREE, "base", ("base",)),
            (TREE, "alone", ("alone",)),
            (TREE, "elsewhere", ()),
            (LOOP, "a", ("a", "b", "c")),
        )
        for members, name, expected in cases:
            with self.subTest(name):
                self.assertEqual(expected, ancestry.chain(name, members))
                self.assertEqual(expected[1:], ancestry.above(name, members))

    def test_down(self) -> None:
        standing = ancestry.children(TREE)
        self.assertEqual({None: ["base", "alone"], "base": ["nova", "keystone"], "nova": ["api"]}, standing)
        self.assertEqual(("base", "nova", "api", "keystone"), ancestry.below("base", standing))
        self.assertEqual(("api",), ancestry.below("api", standing))

    def test_depths_have_parents_first(self) -> None:
        depths = ancestry.depths(TREE)
        self.assertEqual({"base": 0, "nova": 1, "api": 2, "keystone": 1, "alone": 0}, depths)
        self.assertLess(list(depths).index("nova"), list(depths).index("api"))

    def test_circles_are_found_once_and_never_walked_for_ever(self) -> None:
        self.assertEqual([("b", "c", "b")], ancestry.circles(LOOP))
        self.assertEqual([], ancestry.circles(TREE))
        self.assertEqual([("a", "a")], ancestry.circles(family(a="a")))
        self.assertRaises(ValueError, ancestry.depths, LOOP)
