"""The image graph: its order, its pictures, and the walks that it is made of."""

from __future__ import annotations

import json
import random
import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.errors import UsageError
from topcoat.model import Recipe, ancestry
from topcoat.report.graph import ImageGraph


def tree(parents: dict[str, str | None]) -> dict[str, Recipe]:
    """Recipes by name from a map of parents."""
    return {name: Recipe(name, name.split("-")[0], "infra", parent) for name, parent in parents.items()}


SMALL = {"base": None, "os": "base", "nova-base": "os", "nova-api": "nova-base", "nova-compute": "nova-base", "redis": "base", "other": None}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str | None]:
    """Random forests of up to 40 images."""
    parents: dict[str, str | None] = {}
    for number in range(draw(st.integers(1, 40))):
        parents[f"i{number}"] = draw(st.sampled_from([None, *parents])) if parents else None
    return parents


class Graph(unittest.TestCase):
    def setUp(self) -> None:
        self.graph = ImageGraph(tree(SMALL))

    def test_order_keeps_subtrees_together(self) -> None:
        self.assertEqual(self.graph.order, ("base", "os", "nova-base", "nova-api", "nova-compute", "redis", "other"))

    def test_a_missing_parent_and_a_cycle_are_errors(self) -> None:
        with self.assertRaisesRegex(UsageError, "unknown parent"):
            ImageGraph(tree({"a": "b"}))
        with self.assertRaisesRegex(UsageError, "cycle"):
            ImageGraph(tree({"a": "b", "b": "a", "c": None}))

    def test_pictures(self) -> None:
        self.assertIn("\n    nova-base\n      nova-api\n", self.graph.to_text())
        data = json.loads(self.graph.to_json())
        self.assertEqual(data["images"]["nova-api"], {"parent": "nova-base", "children": [], "family": "nova", "class": "infra", "depth": 3})
        dot = self.graph.to_dot({"redis": "failed", "base": "update"})
        self.assertIn('"base" -> "os";', dot)
        self.assertIn('"redis" [fillcolor=tomato, tooltip="failed"];', dot)
        self.assertEqual(dot.count("{"), dot.count("}"))

    @given(trees(), st.randoms(use_true_random=False))
    def test_parents_always_come_first_whatever_the_input_order(self, parents: dict[str, str | None], shuffle: random.Random) -> None:
        recipes = tree(parents)
        order = ImageGraph(recipes).order
        self.assertEqual(sorted(order), sorted(parents))
        for name, parent in parents.items():
            if parent is not None:
                self.assertLess(order.index(parent), order.index(name))
            standing = ancestry.children(recipes)
            self.assertEqual(set(ancestry.below(name, standing)) - {name}, {other for other in parents if name in ancestry.above(other, recipes)})
        items = list(parents.items())
        shuffle.shuffle(items)
        self.assertEqual(ImageGraph(tree(dict(items))).order, order)

    def test_a_deep_chain_is_no_problem(self) -> None:
        parents: dict[str, str | None] = {f"i{n:05}": f"i{n - 1:05}" if n else None for n in range(3000)}
        self.assertEqual(len(ImageGraph(tree(parents)).order), 3000)
