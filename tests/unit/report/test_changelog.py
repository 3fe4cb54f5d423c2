"""The comparison of two sets as text, Markdown, HTML and JSON: nothing of a package's words is markup."""

from __future__ import annotations

import json
import unittest

from tests.unit.report import fixtures
from topcoat.changes import ImageFacts, compare
from topcoat.model.profile import Link
from topcoat.report import changelog, page
from topcoat.rpm.changelogs import ChangelogEntry

HOSTILE = '<script>x</script> [a](javascript:x) | `c` "q" \x1b[31m CVE-1-2'
LINKS = (Link(r"CVE-\d+-\d+", "https://cve.example.org/{0}"),)


class Renderings(unittest.TestCase):
    def setUp(self) -> None:
        sides = [
            {
                name: ImageFacts("sha256:" + letter * 64, frozenset({(f"nova-{version}-1.noarch", f"nova-{version}-1.src.rpm", 1)}))
                for name in "uvwxyz"
            }
            for letter, version in (("a", "1"), ("b", "2"))
        ]
        self.changes = compare(*sides)
        self.shape = changelog.document(
            self.changes,
            {"name": HOSTILE, "source": "one"},
            {"name": "two", "source": "two"},
            links=LINKS,
            entries={"nova": (ChangelogEntry(0, HOSTILE, HOSTILE),)},
        )

    def test_one_row_a_source_package(self) -> None:
        found = json.loads(changelog.render(self.shape, "json"))
        self.assertEqual(["nova"], [row["source"] for row in found["packages"]])
        self.assertIn("nova 1-1 → 2-1  [6 images]", changelog.render(self.shape, "text"))
        self.assertIn("| nova | updated |", changelog.render(self.shape, "md"))

    def test_nothing_hostile_comes_through(self) -> None:
        page = changelog.render(self.shape, "html", LINKS)
        self.assertNotIn("<script", page)
        self.assertIn('<a href="https://cve.example.org/CVE-1-2">CVE-1-2</a>', page)
        for kind in ("text", "md", "html"):
            words = changelog.render(self.shape, kind, LINKS)
            self.assertNotIn("\x1b", words)
        self.assertNotIn("[a](javascript", changelog.render(self.shape, "md", LINKS))

    def test_what_is_not_kept_is_said(self) -> None:
        shape = changelog.document(self.changes, {"name": "a", "source": "a"}, {"name": "b", "source": "b"}, entries={"nova": None})
        for kind in ("text", "md", "html"):
            self.assertIn(changelog.NO_CHANGELOG, changelog.render(shape, kind))

    def test_the_reviewers_page_holds_it_as_safely_as_its_own(self) -> None:
        whole = page.render(fixtures.green(), against=changelog.Against(self.shape, links=LINKS))
        self.assertNotIn("<script", whole)
        self.assertIn('<a href="https://cve.example.org/CVE-1-2">CVE-1-2</a>', whole)
        self.assertIn("could not be compared: it &amp; gone", page.render(fixtures.green(), against=changelog.Against(None, "it & gone")))
