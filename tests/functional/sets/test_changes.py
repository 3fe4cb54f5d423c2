"""``topcoat changes`` on sets that real runs made: from tags, promotion records and receipts, nothing pulled."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from topcoat_demo.rpms import make_repository

OLD = (1_700_000_000, "An Author <a@example.org> - 1.0-1", "- first packaging")
NEW = (1_710_000_000, "An Author <a@example.org> - 1.1-1", "- mend CVE-2024-12345\n- quicker <b>start</b>")
LINKS = [{"match": r"CVE-\d{4}-\d{4,}", "url": "https://cve.example.org/{0}"}]


def with_changelogs(oslo: str, entries, **versions):
    """The site's packages, the library with a changelog, and two binary packages of one source."""
    return [
        replace(spec, changelog=entries) if spec.name == "python3-oslo" else replace(spec, source="openstack-nova") if "nova" in spec.name else spec
        for spec in packages(oslo=oslo, **versions)
    ]


class Changes(SiteTest):
    def setUp(self):
        super().setUp()
        self.site.write_profile(links=LINKS)
        self.publish("1.0", (OLD,))
        self.succeed("build", "--tag", "one")
        self.succeed("promote", "--from", "one", "--output", str(self.site.directory / "one.json"))
        self.receipt = self.site.directory / "one-receipt.json"
        shutil.copy(self.site.directory / "work/receipt.json", self.receipt)
        self.publish("1.1", (NEW, OLD), nova="2.0")
        self.succeed("build", "--tag", "two")

    def publish(self, oslo, entries, **versions):
        make_repository(self.site.current, with_changelogs(oslo, entries, **versions))

    def changes(self, *words, **options):
        return json.loads(self.succeed("changes", *words, "--format", "json", work="fresh", **options).output)

    def test_a_row_a_source_package_with_the_lines_that_are_new(self):
        found = self.changes("one", "two", "--changelog")
        rows = {row["source"]: row for row in found["packages"]}
        self.assertEqual({"python3-oslo", "openstack-nova"}, set(rows))
        nova = rows["openstack-nova"]
        self.assertEqual("updated", nova["kind"])
        self.assertEqual([["1:1.0-1.el9"], ["1:2.0-1.el9"]], [nova["moves"][0]["from"], nova["moves"][0]["to"]])
        self.assertEqual(["openstack-nova-api", "openstack-nova-compute", "python3-nova"], nova["binary_packages"])
        self.assertEqual(["nova-api", "nova-base", "nova-compute"], nova["images"])
        oslo = rows["python3-oslo"]
        self.assertEqual(["keystone", "nova-api", "nova-base", "nova-compute"], oslo["images"])
        self.assertEqual([NEW[2]], [entry["text"] for entry in oslo["changelog"]])
        self.assertEqual([{"text": "CVE-2024-12345", "url": "https://cve.example.org/CVE-2024-12345"}], oslo["links"])
        self.assertEqual(1, found["images"]["unchanged"])
        self.assertFalse(nova["changelog_kept"])
        self.assertNotIn("changelog", self.changes("one", "two")["packages"][0])

    def test_a_tag_a_record_and_a_receipt_name_the_same_set(self):
        expected = self.changes("one", "two")["packages"]
        self.succeed("promote", "--from", "two")
        for before in ("current-passed-ci.previous", str(self.receipt), str(self.site.directory / "one.json")):
            with self.subTest(before=before):
                self.assertEqual(expected, self.changes(before, "current-passed-ci")["packages"])
        self.assertEqual([], self.changes("two", "current-passed-ci")["packages"])

    def test_what_a_promotion_wrote_says_the_same_as_the_images_and_asks_for_none(self):
        from_images = self.changes("one", "two", "--changelog")
        self.succeed("promote", "--from", "one")
        output = self.site.directory / "two.json"
        self.succeed("promote", "--from", "two", "--output", str(output))
        told = json.loads(output.read_text())
        self.assertEqual(from_images["packages"], told["changes"]["packages"])
        self.assertEqual(from_images["images"], told["changes"]["images"])
        # neither image nor inventory is there any more, and the two sets can still be compared
        for name in ("base", "nova-base", "nova-api", "nova-compute", "keystone"):
            shutil.rmtree(self.site.server.storage / f"docker/registry/v2/repositories/site/{name}")
        found = self.changes("current-passed-ci.previous", "current-passed-ci", "--changelog")
        self.assertEqual(from_images["packages"], found["packages"])
        self.assertEqual(from_images["packages"], self.changes("current-passed-ci.previous", str(output), "--changelog")["packages"])

    def test_one_changelog_is_kept_once_for_all_images(self):
        tags = self.site.client.tags("site/topcoat-changelogs")
        # python3-oslo 1.0 came with nova-base and with keystone, 1.1 on both
        self.assertEqual(2, len(tags), tags)

    def test_markdown_and_html_hold_no_markup_of_a_changelog(self):
        words = self.succeed("changes", "one", "two", "--changelog", "--format", "md").output
        self.assertIn("[CVE-2024-12345](https://cve.example.org/CVE-2024-12345)", words)
        self.assertNotIn("<b>", words)
        page = self.site.directory / "changes.html"
        self.succeed("changes", "one", "two", "--changelog", "--format", "html", "--output", str(page))
        text = page.read_text()
        self.assertIn("&lt;b&gt;start", text)
        self.assertIn('<a href="https://cve.example.org/CVE-2024-12345">', text)
        self.assertIn("No package differs", self.succeed("changes", "two", "two").output)

    def test_the_reviewers_page_says_how_a_run_differs_from_what_is_promoted(self):
        self.succeed("promote", "--from", "one")
        page, receipt = self.site.directory / "report.html", str(self.site.directory / "work/receipt.json")
        self.succeed("report", "--receipt", receipt, "--html", str(page), "--against", "current-passed-ci", work="fresh")
        text = page.read_text()
        self.assertIn("Against current-passed-ci (one)", text)
        self.assertIn('id="package-python3-oslo"', text)
        self.assertIn("&lt;b&gt;start", text)
        answer = self.succeed("report", "--receipt", receipt, "--html", str(page), "--against", "nothing")
        self.assertIn("not compared with nothing: ", answer.errors)
        self.assertIn("could not be compared", page.read_text())

    def test_advisories_or_a_plain_sentence(self):
        found = self.changes("one", "two", "--advisories")
        self.assertIn("publishes advisories", found["advisories"])

    def test_what_is_no_set_is_one_line(self):
        self.fail_with(2, "no promotion record 'nothing'", "changes", "nothing", "two")
        self.fail_with(2, "nothing.json: the set cannot be read: ", "changes", "./nothing.json", "two")
        broken = self.site.directory / "broken.json"
        for text in ("{", "[]", '{"record": null}', '{"record": {}, "places": ["x/y"]}', '{"schema": 1}'):
            broken.write_text(text)
            answer = self.site.topcoat("changes", str(broken), "two")
            self.assertIn(answer.code, (1, 2), answer.errors)
            self.assertNotIn("Traceback", answer.errors)

    def test_a_bundle_that_is_gone_is_said(self):
        for path in list(self.site.server.storage.rglob("topcoat-changelogs")):
            shutil.rmtree(path)
        found = self.changes("one", "two", "--changelog")
        self.assertEqual([False, False], [row["changelog_kept"] for row in found["packages"]])
