"""Periodic rebuilds: everything is built again, and only what changed is published."""

from __future__ import annotations

import json

from tests.functional.runs.site import RECIPES, packages
from tests.functional.runs.test_main_job import SiteTest
from topcoat_demo.rpms import make_repository

INFRA = "redis:\n  from: base\n  packages: [python3-oslo]\n"


class Rebuilds(SiteTest):
    def setUp(self):
        super().setUp()
        (self.site.tree / "infra").mkdir()
        (self.site.tree / "infra/redis.yaml").write_text(INFRA)
        self.first = self.rebuild("trunk1", "--floating-tag", "current-passed-ci").digests()

    def rebuild(self, tag, *words):
        """A periodic run: other machine, so nothing is remembered but what the registry holds."""
        return self.succeed("build", "--full", "--tag", tag, *words, work=f"work-{tag}")

    def stored(self) -> set[str]:
        """Every blob and manifest that the registry keeps."""
        return self.site.server.stored_blobs()

    def test_a_rebuild_of_the_same_publishes_nothing_but_its_tag(self):
        before = self.stored()
        answer = self.rebuild("trunk2")
        self.assertEqual(self.first, answer.digests())
        self.assertEqual({0}, {image["bytes_pushed"] for image in answer.receipt["images"]})
        self.assertEqual(before, self.stored())
        for name, digest in self.first.items():
            self.assertEqual(digest, self.site.client.head(f"site/{name}", "trunk2"))

    def test_a_new_package_publishes_the_images_that_hold_it_alone(self):
        make_repository(self.site.current, packages(keystone="2.0"))
        answer = self.rebuild("trunk2")
        changed = {name for name, digest in answer.digests().items() if digest != self.first[name]}
        self.assertEqual({"keystone"}, changed)
        self.assertEqual({"keystone"}, {image["name"] for image in answer.receipt["images"] if image["bytes_pushed"]})

    def test_a_comment_in_a_recipe_publishes_nothing(self):
        self.site.write_recipes(RECIPES.replace("packages: [python3-nova]", "# the library alone\n  packages:\n    - python3-nova"))
        self.assertEqual(self.first, self.rebuild("trunk2").digests())

    def test_the_weekly_infra_rebuild_and_its_promotion_leave_the_others(self):
        make_repository(self.site.current, packages(oslo="1.1"))
        answer = self.rebuild("weekly", "--class", "infra")
        self.assertEqual({"base", "redis"}, set(answer.digests()))
        self.assertEqual(self.first["base"], answer.digests()["base"])
        self.assertNotEqual(self.first["redis"], answer.digests()["redis"])
        self.assertNotIn("weekly", self.tags("keystone"))
        self.succeed("promote", "--from", "trunk1", "--to", "passed")
        promoted = json.loads(self.succeed("promote", "--from", "weekly", "--to", "passed", "--class", "infra", "--format", "json").output)
        self.assertEqual(("promoted", 1), (promoted["state"], promoted["moved"]))
        shown = {name: self.site.client.head(f"site/{name}", "passed") for name in self.first}
        self.assertEqual({**self.first, "redis": answer.digests()["redis"]}, shown)
        self.succeed("gc", "--delete", "--older-than", "0", "--keep-newest", "0")
        self.assertEqual(shown, {name: self.site.client.head(f"site/{name}", "passed") for name in self.first})
