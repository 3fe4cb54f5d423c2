"""Pairing of what went with what came."""

from __future__ import annotations

import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.model import Nevra
from topcoat.rpm.difference import difference, pair


def nevras(*texts: str) -> list[Nevra]:
    return [Nevra.parse(text) for text in texts]


class Difference(unittest.TestCase):
    def keys(self, old: list[str], new: list[str]) -> list[tuple[str, str]]:
        return [change.key for change in difference(nevras(*old), nevras(*new))]

    def test_nothing(self) -> None:
        self.assertEqual(self.keys(["a-1-1.noarch"], ["a-1-1.noarch"]), [])

    def test_upgrade_downgrade_install_remove(self) -> None:
        self.assertEqual(
            self.keys(["a-1-1.noarch", "b-2-1.noarch", "gone-1-1.noarch"], ["a-2-1.noarch", "b-1-1.noarch", "new-1-1.noarch"]),
            [
                ("a-1-1.noarch", "a-2-1.noarch"),
                ("b-2-1.noarch", "b-1-1.noarch"),
                ("gone-1-1.noarch", ""),
                ("", "new-1-1.noarch"),
            ],
        )

    def test_epoch_only(self) -> None:
        self.assertEqual(self.keys(["a-1-1.noarch"], ["a-1:1-1.noarch"]), [("a-1-1.noarch", "a-1:1-1.noarch")])

    def test_each_architecture_by_itself(self) -> None:
        self.assertEqual(
            self.keys(["a-1-1.i686", "a-1-1.x86_64"], ["a-2-1.x86_64", "a-2-1.i686"]),
            [("a-1-1.i686", "a-2-1.i686"), ("a-1-1.x86_64", "a-2-1.x86_64")],
        )

    def test_change_of_architecture(self) -> None:
        self.assertEqual(self.keys(["a-1-1.noarch"], ["a-1-1.x86_64"]), [("a-1-1.noarch", "a-1-1.x86_64")])

    def test_obsoletes_are_a_removal_and_an_install(self) -> None:
        self.assertEqual(self.keys(["old-1-1.noarch"], ["new-1-1.noarch"]), [("", "new-1-1.noarch"), ("old-1-1.noarch", "")])

    def test_side_by_side(self) -> None:
        self.assertEqual(self.keys(["kernel-1-1.x86_64"], ["kernel-1-1.x86_64", "kernel-2-1.x86_64"]), [("", "kernel-2-1.x86_64")])

    def test_built_again(self) -> None:
        same = nevras("a-1-1.noarch")
        self.assertEqual([change.key for change in pair(same, same)], [("a-1-1.noarch", "a-1-1.noarch")])

    def test_repository(self) -> None:
        (old, new) = nevras("a-1-1.noarch", "a-2-1.noarch")
        self.assertEqual([change.repository for change in pair([old], [new], {new: "gating"})], ["gating"])


NEVRAS = st.builds(
    Nevra, st.sampled_from("abc"), st.integers(0, 1), st.sampled_from("12"), st.just("1"), st.sampled_from(("noarch", "x86_64", "i686"))
)


class Properties(unittest.TestCase):
    @given(st.frozensets(NEVRAS), st.frozensets(NEVRAS))
    def test_applying_the_difference_gives_the_new_set(self, old: frozenset, new: frozenset) -> None:
        changes = difference(old, new)
        result = (old - {change.old for change in changes}) | {change.new for change in changes if change.new}
        self.assertEqual(result, new)

    @given(st.lists(NEVRAS, unique=True), st.lists(NEVRAS, unique=True), st.randoms())
    def test_order_of_input_does_not_matter(self, old: list, new: list, random) -> None:
        expected = difference(old, new)
        random.shuffle(old)
        random.shuffle(new)
        self.assertEqual(difference(old, new), expected)
