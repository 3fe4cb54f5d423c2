"""Runs that compose updates where that is proven to be the same, and say of each other image why not."""

import re
from collections import Counter

from tests.functional.equality.test_synthesis import dated
from tests.functional.layers.others import TOOLS, Storage, differences
from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest, gated
from topcoat.model import labels
from topcoat.runs import claims
from topcoat_demo.rpms import RpmSpec

MOST_REQUESTS = 29
"""Of one updated image, here where each has a layer of files of its own. One of them is only of the first images of a run, which learn how this
registry keeps attached documents."""
UPDATED = ("keystone", "nova-api", "nova-base", "nova-compute")


class ComposedRun(SiteTest):
    def setUp(self):
        super().setUp()
        self.publish()

    def build(self, gating: str, tag: str, *words: str, work: str | None = None):
        return self.succeed("build", "--gating-repo", gating, "--tag", tag, *words, work=work or f"work-{tag}")

    def test_a_run_composes_what_a_run_with_transactions_makes(self):
        gating = str(self.site.repository_of(gated()))
        done = self.build(gating, "done", "--update-way", "transaction")
        said = self.site.server.log.stat().st_size
        composed = self.build(gating, "composed")
        log = self.site.server.log.read_bytes()[said:].decode()
        self.assert_only_small_blobs_were_read(log, composed)
        self.assert_no_needless_request(log)
        self.assertEqual({composed.image(name)["method"] for name in UPDATED}, {"composed"}, composed.output)
        self.assertEqual({image["fallback"] for image in composed.receipt["images"]}, {""})
        self.assertIn("4 updates composed without the image", composed.output)
        self.assertTrue(all(entry["covered"] for entry in composed.receipt["coverage"]))
        # what is only ever streamed is not unpacked
        self.assertFalse((self.site.directory / "work-composed/layers/layers").exists())
        storage = Storage(self.site.path("storage"))
        self.addCleanup(storage.run, "buildah", "rm", "--all")
        access = ["--authfile", str(self.site.server.authfile), "--cert-dir", str(self.site.server.certificates)]
        for tool in TOOLS:
            for name in UPDATED:
                trees = []
                for tag in ("done", "composed"):
                    with storage.unpacked(tool, f"docker://{self.site.server.host}/site/{name}:{tag}", *access) as root:
                        trees.append(dated(root))
                self.assertEqual(differences(*trees), {}, f"{tool}: {name}")
        self.assertEqual(done.image("nova-api")["changes"], composed.image("nova-api")["changes"])

    def assert_only_small_blobs_were_read(self, log: str, answer) -> None:
        """A node that has seen nothing reads of each image what its configuration names, and the package database."""
        read = set(re.findall(r'"GET /v2/\S+/blobs/(sha256:\w+) ', log))
        layers, databases = set(), set()
        for name in UPDATED:
            _, below = self.site.client.image(f"site/{name}", "current-passed-ci")
            layers.update(layer.digest for layer in below.layers)
            databases.add(below.layers[-1].digest)
            sketch = claims.claimed(below.labels[labels.INVENTORY], below.diff_ids).sketch
            self.assertIn(sketch.digest, read)
            _, made = self.site.client.image(f"site/{name}", answer.image(name)["digest"])
            kept = claims.claimed(made.labels[labels.INVENTORY], made.diff_ids).sketch
            self.assertEqual(kept, sketch, "children of the update read on from there")
        self.assertEqual(read & layers, databases)

    def assert_no_needless_request(self, log: str) -> None:
        """What one updated image asks of the registry; the page on speed says why each is needed."""
        lines = re.findall(r'"([A-Z]+) /v2/(\S+?)/(manifests/|blobs/uploads/|blobs/|tags/|referrers/)\S* \S+" (\d+)', log)
        for name in UPDATED:
            asked = Counter((verb, kind) for verb, place, kind, status in lines if place == f"site/{name}" and status != "401")
            with self.subTest(name):
                self.assertLessEqual(sum(asked.values()), MOST_REQUESTS, asked)

    def test_images_that_take_the_same_packages_send_them_once(self):
        gating = str(self.site.repository_of([spec for spec in gated() if "oslo" in spec.name]))
        answer = self.build(gating, "review")
        layers = {name: [layer["digest"] for layer in answer.image(name)["layers"]][-2:] for name in UPDATED}
        self.assertEqual(len({files for files, _ in layers.values()}), 1)
        self.assertEqual(len({database for _, database in layers.values()}), len(UPDATED))
        self.assertEqual(self.build(gating, "again", work="elsewhere").digests(), answer.digests())

    def test_the_second_run_finds_all_and_each_way_finds_its_own(self):
        gating = str(self.site.repository_of(gated()))
        first = self.build(gating, "one")
        second = self.build(gating, "two")
        self.assertEqual(second.digests(), first.digests())
        self.assertEqual({image["bytes_pushed"] for image in second.receipt["images"]}, {0})
        self.assertEqual({image["method"] for image in second.receipt["images"]}, {"tag", "found"})
        other = self.build(gating, "three", "--update-way", "transaction")
        self.assertEqual({other.image(name)["method"] for name in UPDATED}, {"transaction"})

    def test_an_update_of_an_update_goes_on_the_image_below(self):
        words = ("--gating-repo", str(self.site.repository_of(gated("2.0"))), "--tag", "one", "--floating-tag", "current-passed-ci")
        self.succeed("build", *words)
        answer = self.build(str(self.site.repository_of(gated("3.0"))), "two")
        self.assertEqual(answer.image("nova-api")["base_digest"], self.site.client.head("site/nova-api", "trunk1"))
        counts = [len(self.site.client.image("site/nova-api", tag)[1].layers) for tag in ("trunk1", "two")]
        self.assertEqual(counts[1] - counts[0], 2)

    def test_what_cannot_be_composed_falls_back_alone_and_says_why(self):
        specs = [spec for spec in packages(keystone="2.0") if "keystone" in spec.name]
        loud = [RpmSpec(spec.name, "2.0", files=spec.files, requires=spec.requires, post="touch /opt/ran") for spec in specs]
        answer = self.build(str(self.site.repository_of([*gated(), *loud])), "review")
        ways = {name: (answer.image(name)["method"], answer.image(name)["fallback"]) for name in UPDATED}
        expected = dict.fromkeys(UPDATED, ("composed", ""))
        self.assertEqual(ways, {**expected, "keystone": ("transaction", "python3-keystone has a scriptlet (%post)")})
        self.assertIn("1 by a transaction (1: python3-keystone has a scriptlet (%post))", " ".join(answer.output.split()))
