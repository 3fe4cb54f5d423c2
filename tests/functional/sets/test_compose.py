"""``topcoat set compose``: a set with one image exchanged, which jobs take by its receipt; nobody can change it unseen."""

from __future__ import annotations

import json

from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from topcoat_demo.rpms import make_repository


class Compose(SiteTest):
    def setUp(self):
        super().setUp()
        self.succeed("build", "--tag", "one")
        make_repository(self.site.current, packages(keystone="2.0"))
        self.succeed("build", "--tag", "two")
        self.mine = f"{self.site.server.host}/site/keystone:two"

    def compose(self, *words, **options):
        return json.loads(self.succeed("set", "compose", "--from", "one", *words, "--format", "json", **options).output)

    def test_one_image_is_exchanged_and_the_tag_says_which_set_it_is(self):
        receipt = self.site.directory / "composed.json"
        found = self.compose("--with", f"keystone={self.mine}", "--receipt", str(receipt))
        tag = found["tag"]
        client = self.site.client
        names = ("base", "nova-base", "nova-api", "nova-compute", "keystone")
        for name in names:
            self.assertEqual(client.head(f"site/{name}", "two" if name == "keystone" else "one"), client.head(f"site/{name}", tag), name)
        self.assertEqual(client.head("site/keystone", "one"), found["exchanged"]["keystone"])
        # the same set has the same tag, however it is written down, and a second time nothing moves
        digest = client.head("site/keystone", "two")
        again = self.compose("--with", f"keystone={self.site.server.host}/site/keystone@{digest}", work="fresh")
        self.assertEqual(tag, again["tag"])
        self.assertNotEqual(tag, self.compose("--dry-run")["tag"])
        # what jobs take
        returned = json.loads(self.succeed("zuul-return", "--receipt", str(receipt), "--part", "artifacts").output)
        artifacts = {one["metadata"]["image"]: one["metadata"]["digest"] for one in returned["zuul"]["artifacts"]}
        self.assertEqual({name: client.head(f"site/{name}", tag) for name in names}, artifacts)
        # what can be said of any set can be said of this one
        rows = json.loads(self.succeed("changes", "one", str(receipt), "--format", "json").output)["packages"]
        self.assertEqual(["python3-keystone"], [row["source"] for row in rows])
        self.succeed("promote", "--from", tag, "--receipt", str(receipt))
        self.assertEqual(digest, client.head("site/keystone", "current-passed-ci"))

    def test_an_image_from_elsewhere_is_copied_with_its_inventory(self):
        self.succeed("copy", "--to", f"{self.site.server.host}/elsewhere", self.mine)
        found = self.compose("--with", f"keystone={self.site.server.host}/elsewhere/keystone:two")
        digest = self.site.client.head("site/keystone", found["tag"])
        self.assertEqual(self.site.client.head("site/keystone", "two"), digest)
        self.assertTrue(self.site.client.referrers("site/keystone", digest))

    def test_a_set_that_somebody_changed_is_not_that_set(self):
        tag = self.compose("--with", f"keystone={self.mine}")["tag"]
        other = self.site.client.manifest("site/keystone", "one")
        self.site.client.put_manifest("site/keystone", tag, other.body, other.media_type)
        self.fail_with(
            1, f"{tag} shows another image than its name says of keystone", "set", "compose", "--from", "one", "--with", f"keystone={self.mine}"
        )

    def test_what_does_not_belong_is_refused(self):
        host = self.site.server.host
        for code, text, words in (
            (2, "has no image glance", ("--with", f"glance={self.mine}")),
            (1, "says that it is the image keystone", ("--with", f"nova-api={self.mine}")),
            (1, "is not there", ("--with", f"keystone={host}/site/keystone:none")),
            (2, "wants IMAGE=REFERENCE", ("--with", "keystone")),
            (2, "twice", ("--with", f"keystone={self.mine}", "--with", f"keystone={self.mine}")),
        ):
            self.fail_with(code, text, "set", "compose", "--from", "one", *words)
        self.assertFalse([tag for tag in self.tags("base") if tag.startswith("set-")])
