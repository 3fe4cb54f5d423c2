"""Sizes: sharing, references, limits."""

from __future__ import annotations

import unittest
from xml.etree import ElementTree

from topcoat.errors import UsageError
from topcoat.inspection import measure
from topcoat.inspection.chart import svg
from topcoat.inspection.sizes import allowed_growth, human

IMAGES = {"base": [("b", 100)], "nova": [("b", 100), ("n", 30)], "redis": [("b", 100), ("r", 10), ("r", 10)]}


class Sizes(unittest.TestCase):
    def test_what_is_shared_and_what_is_own(self) -> None:
        report = measure(IMAGES)
        self.assertEqual([(image.total, image.own) for image in report.images], [(100, 0), (130, 30), (110, 10)])
        self.assertEqual((report.summed, report.unique), (340, 140))
        data = report.to_data()
        self.assertEqual((data["shared"], data["squashed"]), (200, 200))
        self.assertEqual(data["images"][1]["layers"][0], {"digest": "b", "size": 100, "images": 3})  # type: ignore[index]

    def test_growth_against_a_reference(self) -> None:
        references = {"base": [("b", 100)], "nova": [("b", 100), ("old", 10)], "redis": None}
        report = measure(IMAGES, references=references, limit="15%")
        self.assertEqual([image.delta for image in report.images], [0, 20, None])
        self.assertEqual(report.problems, ("nova: grew by 20 B, more than 15%",))
        self.assertEqual(measure(IMAGES, references=references, limit="20B").problems, ())
        self.assertIn("nova: grew by", measure(IMAGES, references=references, limit="19").to_text())

    def test_a_smaller_image_is_never_a_problem(self) -> None:
        self.assertEqual(measure(IMAGES, references={"nova": [("x", 500)]}, limit="0%").problems, ())

    def test_limits(self) -> None:
        self.assertEqual([allowed_growth(text, 200) for text in ("5%", "10", "1kB", "1.5 MB", "2MiB")], [10, 10, 1000, 1_500_000, 2 << 20])
        for text in ("", "x", "5 percent", "-1%"):
            with self.assertRaises(UsageError):
                allowed_growth(text, 1)

    def test_text_holds_a_bar_for_each_image_and_the_sums(self) -> None:
        text = measure(IMAGES, hidden={"nova": 5}).to_text()
        self.assertEqual(sum("█" in line for line in text.splitlines()), 3)
        self.assertIn("3 images, 340 B in sum, 140 B stored after sharing (200 B shared).", text)
        self.assertIn("5 B (uncompressed) are hidden", text)
        self.assertTrue(measure({}).to_text())

    def test_units(self) -> None:
        self.assertEqual([human(size) for size in (0, 999, 1500, -2_500_000, 3 * 10**9)], ["0 B", "999 B", "1.5 kB", "-2.5 MB", "3.00 GB"])

    def test_the_chart_is_well_formed_and_safe(self) -> None:
        names = {**IMAGES, "<script>&": [("b", 100)]}
        report = measure(names, references={"nova": [("x", 500)], "base": [("x", 90)]})
        tree = ElementTree.fromstring(svg(report))
        self.assertEqual(tree.tag, "{http://www.w3.org/2000/svg}svg")
        groups = tree.findall("{http://www.w3.org/2000/svg}g")
        self.assertEqual(len(groups), 4)
        self.assertIn("nova: 130 B, of it 30 B alone (-370 B)", [group[0].text for group in groups])
        self.assertNotIn("<script>", svg(report))
        ElementTree.fromstring(svg(measure({})))
