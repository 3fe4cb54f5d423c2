"""``topcoat where``: a package, a commit, a CVE, a change in the sets that were promoted; and one line where nothing is known."""

from __future__ import annotations

import json
from dataclasses import replace

from tests import schemas
from tests.functional.runs.test_main_job import SiteTest
from tests.functional.sets.test_changes import OLD, with_changelogs
from topcoat_demo.rpms import make_repository

MEND = (
    1_710_000_000,
    "An Author <a@example.org> - 1.1-1",
    "- mend CVE-2024-12345, change 871234\n- Change-Id: I0123456789abcdef0123456789abcdef01234567",
)


class Where(SiteTest):
    def setUp(self):
        super().setUp()
        for tag, oslo, entries, nova in (
            ("one", "1.0", (OLD,), "1.0"),
            ("two", "1.1", (MEND, OLD), "2.0^20241101.a1b2c3d"),
            ("three", "1.2", ((1_720_000_000, OLD[1], "- later"), MEND, OLD), "2.1^20241102.4e5f6a7"),
        ):
            specs = with_changelogs(oslo, entries, nova=nova)
            make_repository(self.site.current, [replace(spec, changelog=entries) if "oslo" in spec.name else spec for spec in specs])
            self.succeed("build", "--tag", tag)
            self.succeed("promote", "--from", tag)

    def where(self, word):
        found = json.loads(self.succeed("where", word, "--format", "json", work="fresh").output)
        schemas.check("where", found)
        return found["found"]

    def test_a_change_is_found_in_the_set_that_first_held_it(self):
        for word in ("CVE-2024-12345", "cve-2024-12345", "871234", "https://review.example.org/c/openstack/oslo/+/871234/3", MEND[2].split()[-1]):
            with self.subTest(word=word):
                [row] = self.where(word)
                self.assertEqual(("python3-oslo", "two", True), (row["source"], row["since"]["source"], row["now"]))
                self.assertEqual(["1.2-1.el9"], row["versions"])
                self.assertEqual(["keystone", "nova-api", "nova-base", "nova-compute"], row["images"])

    def test_a_commit_is_found_by_the_version_that_names_it(self):
        for word in ("a1b2c3d", "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"):
            [row] = self.where(word)
            self.assertEqual(("commit", "openstack-nova", "two", False), (row["kind"], row["source"], row["since"]["source"], row["now"]))
            self.assertEqual("two", row["last"]["source"])
        self.assertIn("not any more: last in two", self.succeed("where", "a1b2c3d").output)

    def test_of_a_package_the_version_that_is_there_now(self):
        for word in ("openstack-nova", "python3-nova"):
            [row] = self.where(word)
            self.assertEqual((["1:2.1^20241102.4e5f6a7-1.el9"], "three"), (row["versions"], row["since"]["source"]))
        line = self.succeed("where", "basetool").output
        self.assertIn("current-passed-ci: basetool 1.0-1.el9, since one", line)
        self.assertIn("in 5 images", line)

    def test_a_rollback_takes_it_back(self):
        self.succeed("promote", "--rollback")
        self.assertTrue(self.where("a1b2c3d")[0]["now"])
        self.assertFalse(self.where("4e5f6a7")[0]["now"])

    def test_what_nobody_knows_is_one_line(self):
        answer = self.site.topcoat("where", "CVE-2024-1234")
        self.assertEqual(1, answer.code)
        self.assertEqual(
            f"nothing is known of CVE-2024-1234: 3 promoted sets of {self.site.server.host}/site neither hold nor mention it\n", answer.output
        )
        self.fail_with(2, "nothing to look for", "where", " ")
