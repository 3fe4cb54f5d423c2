"""Two sets side by side, and words that become links."""

from __future__ import annotations

import unittest

from hypothesis import given
from hypothesis import strategies as st

from topcoat.changes import ImageFacts, compare, parts_of
from topcoat.model.profile import Link

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def image(digest: str, *packages: tuple[str, str, int], **more: object) -> ImageFacts:
    return ImageFacts(digest, frozenset(packages), **more)  # type: ignore[arg-type]


def rpm(version: str, name: str = "nova", source: str = "nova", built: int = 1, epoch: str = "") -> tuple[str, str, int]:
    return (f"{name}-{epoch}{version}.noarch", f"{source}-{version}.src.rpm", built)


class Rows(unittest.TestCase):
    def test_what_became_of_a_source_package(self) -> None:
        for before, after, kind in (
            (rpm("1.9-1"), rpm("1.10-1"), "updated"),
            (rpm("1.10-1"), rpm("1.9-1"), "downgraded"),
            (rpm("9-1"), rpm("1-1", epoch="1:"), "updated"),
            (rpm("1-1"), rpm("1-1", built=2), "rebuilt"),
            (None, rpm("1-1"), "new"),
            (rpm("1-1"), None, "removed"),
        ):
            with self.subTest(kind=kind, before=before):
                sides = [{"x": image(digest, *([package] if package else []))} for digest, package in ((A, before), (B, after))]
                (row,) = compare(*sides).rows
                self.assertEqual(("nova", kind, ("x",)), (row.source, row.kind, row.images))

    def test_binary_packages_and_images_are_folded(self) -> None:
        old = image(A, rpm("1-1"), rpm("1-1", "nova-api"))
        new = image(B, rpm("2-1"), rpm("2-1", "nova-api"))
        (row,) = compare({"x": old, "y": old}, {"x": new, "y": new}).rows
        self.assertEqual((("nova", "nova-api"), 1, ("x", "y")), (row.packages, len(row.moves), row.moves[0].images))

    def test_a_package_that_another_image_had_is_not_new(self) -> None:
        held = image(C, rpm("1-1"))
        changed = ({"x": image(A), "y": ImageFacts(C)}, {"x": image(B, rpm("1-1")), "y": ImageFacts(C)})
        self.assertEqual(["added-to-images"], [row.kind for row in compare(*changed, unchanged=lambda: [held]).rows])
        self.assertEqual(["left-images"], [row.kind for row in compare(*reversed(changed), unchanged=lambda: [held]).rows])

    def test_images_recipes_and_what_is_not_known(self) -> None:
        before = {
            "a": image(A, fingerprint="1", parts={"files": "1", "parent": "p"}),
            "gone": image(A),
            "dark": ImageFacts(A),
            "go": image(A, revision="1"),
        }
        after = {
            "a": image(B, fingerprint="2", parts={"files": "2", "parent": "p"}),
            "new": image(B),
            "dark": ImageFacts(B),
            "go": image(B, revision="2"),
        }
        found = compare(before, after)
        self.assertEqual((("new",), ("gone",), ("dark",)), (found.added, found.removed, found.unknown))
        self.assertEqual((("a", ("files",)),), found.recipes)
        self.assertEqual((("go", "1", "2", ""),), found.revisions)


class Links(unittest.TestCase):
    LINKS = (
        Link(r"CVE-\d+-\d+", "https://cve.example.org/{0}"),
        Link(r"#(\d+)", "https://bugs.example.org/{1}"),
        Link(".", "https://x.example.org/{0}"),
    )

    def test_the_earlier_pattern_wins_and_what_is_found_is_escaped(self) -> None:
        found = list(parts_of("CVE-1-2 #7/", self.LINKS))
        self.assertEqual(("CVE-1-2", "https://cve.example.org/CVE-1-2"), found[0])
        self.assertIn(("#7", "https://bugs.example.org/7"), found)
        self.assertEqual(("/", "https://x.example.org/%2F"), found[-1])

    @given(st.text(max_size=60))
    def test_no_text_is_lost_and_no_address_comes_from_it(self, text: str) -> None:
        for links in ((), self.LINKS):
            pieces = list(parts_of(text, links))
            self.assertEqual(text, "".join(piece for piece, _ in pieces))
            self.assertTrue(all(not url or url.startswith("https://") for _, url in pieces))
