"""The order of changes: dependencies first, circles together, the change under review last."""

from __future__ import annotations

import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from topcoat.reproduce.resolve import Change, as_items, bundles, variables


def change(number, message=""):
    return Change(
        "review.example.org",
        f"openstack/p{number}",
        str(number),
        "1",
        "master",
        f"refs/changes/0/{number}/1",
        "c" * 40,
        message,
        f"https://r/{number}",
        "",
    )


def order(edges, *starts):
    groups = bundles([change(start) for start in starts], lambda item: [change(other) for other in edges.get(int(item.number), [])])
    return [tuple(int(item.number) for item in group) for group in groups]


class Footers(unittest.TestCase):
    def test_depends_on(self):
        message = (
            "Title\n\nText\nDepends-On: https://r/1\ndepends-on:   https://r/2  \n Depends-On: https://r/3\n"
            "Not-Depends-On: https://r/4\nDepends-On:\nDepends-On: a b\n"
        )
        self.assertEqual(("https://r/1", "https://r/2"), change(9, message).depends_on)


class Order(unittest.TestCase):
    def test_chain_diamond_and_circle(self):
        self.assertEqual([(1,), (2,), (3,)], order({3: [2], 2: [1]}, 3))
        self.assertEqual([(1,), (2,), (3,), (4,)], order({4: [2, 3], 2: [1], 3: [1]}, 4))
        self.assertEqual([(2, 1)], order({1: [2], 2: [1]}, 1))
        self.assertEqual([(9,), (3, 2, 1)], order({1: [2], 2: [3], 3: [1, 9]}, 1))
        self.assertEqual([(1,), (2,)], order({}, 1, 2))

    def test_a_long_chain_needs_no_recursion(self):
        self.assertEqual(5000, len(order({number: [number - 1] for number in range(1, 5000)}, 4999)))

    @given(st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4), max_size=10), st.integers(0, 9))
    @settings(max_examples=300, deadline=None)
    def test_any_graph(self, edges, start):
        groups = order(edges, start)
        position = {number: index for index, group in enumerate(groups) for number in group}
        reach = {}
        for number in position:
            reach[number], queue = {number}, [number]
            while queue:
                for other in edges.get(queue.pop(), []):
                    if other not in reach[number]:
                        reach[number].add(other)
                        queue.append(other)
        self.assertEqual(reach[start], set(position))
        self.assertEqual(len(position), sum(map(len, groups)))
        self.assertEqual(start, groups[-1][-1])
        for number in position:
            for other in reach[number]:
                self.assertLessEqual(position[other], position[number])
                together = number in reach[other]
                self.assertEqual(together, position[other] == position[number])


class Shape(unittest.TestCase):
    def test_items_and_variables_can_be_read_as_zuuls(self):
        from topcoat.zuul import parse_job

        items = as_items([(change(1),), (change(2), change(3))])
        self.assertNotIn("bundle_id", items[0])
        self.assertEqual(items[1]["bundle_id"], items[2]["bundle_id"])
        projects = {"review.example.org/openstack/p3": {**items[2]["project"], "checkout": "master"}}
        job = parse_job(variables(items, job="j", pipeline="check", projects=projects, buildset="b" * 32))
        self.assertEqual(["1", "2", "3"], [item.change for item in job.items])
        self.assertEqual("review.example.org/openstack/p3", job.project)
        self.assertEqual("src/review.example.org/openstack/p3", job.projects[0].src_dir)
