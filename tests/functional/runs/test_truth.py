"""What is believed about an image is bound to its bytes: documents, labels and tags that lie change nothing, and a green job stays honest."""

import json
from dataclasses import replace

from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from topcoat.model import ImageRepository, labels
from topcoat.publisher import Publisher
from topcoat.registry import INVENTORY_TYPE, Registries, digest_of
from topcoat.registry.oci import append_layer, with_labels
from topcoat.runs import claims
from topcoat_demo.rpms import script

KEYSTONE = "site/keystone"


class LiesTest(SiteTest):
    def setUp(self):
        super().setUp()
        self.publish()
        self.publisher = Publisher(Registries(self.site.server.authfile, self.site.server.ca_file))
        self.client = self.site.client
        self.host = self.site.server.host
        self.number = 0

    def fresh(self) -> str:
        """A work folder without anything that an earlier run may have kept."""
        self.number += 1
        return f"fresh{self.number}"

    def gating(self) -> str:
        return str(self.site.repository_of([spec for spec in packages(keystone="2.0") if "keystone" in spec.name]))

    def documents(self, name: str, tag: str = "current-passed-ci") -> dict[str, bytes]:
        return self.client.attachment(f"site/{name}", self.client.head(f"site/{name}", tag), INVENTORY_TYPE)

    def attach(self, name: str, files: dict[str, bytes], tag: str = "current-passed-ci") -> None:
        self.publisher.attach_inventory(f"{self.host}/site/{name}", self.client.head(f"site/{name}", tag), files)

    def plan(self, gating: str) -> dict[str, str]:
        answer = self.succeed("plan", "--gating-repo", gating, "--format", "json", work=self.fresh())
        return {image["name"]: image["action"] for image in json.loads(answer.output)["images"]}

    def test_a_document_beside_an_image_changes_nothing(self):
        gating = self.gating()
        expected = {"base": "reuse", "nova-base": "reuse", "nova-api": "reuse", "nova-compute": "reuse", "keystone": "update"}
        self.assertEqual(expected, self.plan(gating))
        good = self.documents("keystone")
        packages_json = json.loads(good["packages.json"])
        lies = {
            "of another image": self.documents("nova-api"),
            "empty": {**good, "packages.json": json.dumps({**packages_json, "packages": []}).encode()},
            "newer": {**good, "packages.json": good["packages.json"].replace(b"python3-keystone-1.0", b"python3-keystone-2.0")},
            "cut": {name: content[: len(content) // 2] for name, content in good.items()},
            "no list at all": {"packages.json": b"5"},
        }
        for what, files in lies.items():
            with self.subTest(what):
                self.attach("keystone", files)
                self.assertEqual(expected, self.plan(gating))
        with self.subTest("through the whole life"):
            self.succeed("build", "--gating-repo", gating, "--tag", "review", work=self.fresh())
            receipt = self.site.directory / f"fresh{self.number}" / "receipt.json"
            self.attach("keystone", lies["of another image"], tag="review")
            shown = self.succeed("coverage", "--receipt", str(receipt), "--gating-repo", gating, work=self.fresh())
            self.assertNotIn("MISSING", shown.output)

    def test_an_image_built_on_ours_by_others_does_not_live_on_our_label(self):
        digest = self.client.head(KEYSTONE, "current-passed-ci")
        _, image = self.client.image(KEYSTONE, digest)
        self.assertTrue(claims.claimed(image.labels[labels.INVENTORY], image.diff_ids).files)
        _, other = self.client.image("site/nova-api", "current-passed-ci")
        top = other.layers[-1]
        grown = append_layer(image, top, other.diff_ids[-1], created_by="somebody")
        self.assertIn(labels.INVENTORY, grown.labels)
        blobs = {layer.digest: self._source("site/keystone") for layer in image.layers} | {top.digest: self._source("site/nova-api")}
        self.publisher.publish(f"{self.host}/{KEYSTONE}", grown, blobs, ["grown"])
        shown = self.succeed("inventory", f"{self.host}/{KEYSTONE}:grown", work=self.fresh()).output
        self.assertIn("openstack-nova-api", shown)
        self.assertNotIn("python3-keystone", shown)

    def test_an_image_of_anybody_under_an_input_tag_is_not_our_result(self):
        gating = self.gating()
        before = set(self.client.tags(KEYSTONE))
        first = self.succeed("build", "--gating-repo", gating, "--tag", "one", work="work")
        (tag,) = {tag for tag in set(self.client.tags(KEYSTONE)) - before if tag.startswith("input-")}
        good = first.digests()["keystone"]
        _, result = self.client.image(KEYSTONE, good)
        _, base = self.client.image(KEYSTONE, "current-passed-ci")
        _, api = self.client.image("site/nova-api", "current-passed-ci")
        copied = self.documents("keystone", "one")

        def under_the_tag(image):
            files = {name: digest_of(content) for name, content in copied.items()}
            image = with_labels(image, {**result.labels, labels.INVENTORY: claims.claim(files, image.diff_ids)})
            blobs = {layer.digest: self._source(KEYSTONE) for layer in image.layers}
            blobs |= {layer.digest: self._source("site/nova-api") for layer in api.layers}
            published = self.publisher.publish(f"{self.host}/{KEYSTONE}", image, blobs)
            self.publisher.move_tag(f"{self.host}/{KEYSTONE}", published.digest, tag)
            self.publisher.attach_inventory(f"{self.host}/{KEYSTONE}", published.digest, dict(copied))
            return published.digest

        started = json.loads(json.dumps(result.config))
        started["config"]["Entrypoint"] = ["/bin/evil"]
        database = (result.layers[-1], result.diff_ids[-1])
        foreign = append_layer(base, api.layers[-2], api.diff_ids[-2], created_by="topcoat update")
        lies = {
            "the database of the result, and no file of it": lambda: under_the_tag(append_layer(base, *database, created_by="topcoat update")),
            "the database of the result over files of another": lambda: under_the_tag(append_layer(foreign, *database, created_by="topcoat update")),
            "the image below, with the labels": lambda: under_the_tag(base),
            "another layer": lambda: under_the_tag(append_layer(base, api.layers[-1], api.diff_ids[-1], created_by="topcoat update")),
            "another layer below": lambda: under_the_tag(append_layer(api, result.layers[-1], result.diff_ids[-1], created_by="topcoat update")),
            "another program": lambda: under_the_tag(type(result)(started, result.layers)),
        }
        for what, lie in lies.items():
            with self.subTest(what):
                wrong = lie()
                self.assertNotEqual(good, wrong)
                again = self.succeed("build", "--gating-repo", gating, "--tag", f"again{self.number}", work=(work := self.fresh()))
                receipt = json.loads((self.site.directory / work / "receipt.json").read_text())
                line = next(image for image in receipt["images"] if image["name"] == "keystone")
                self.assertEqual((good, "composed"), (line["digest"], line["method"]), again.errors)

    def test_another_build_of_the_same_name_version_and_time_is_not_taken_for_the_one_under_test(self):
        (spec,) = (spec for spec in packages() if "keystone" in spec.name)
        same = str(self.site.repository_of([spec]))
        other = str(self.site.repository_of([replace(spec, files=(script("/usr/bin/keystone", "echo other"),))]))
        self.succeed("build", "--gating-repo", same, "--tag", "same", work=self.fresh())
        for words in ((), ("--update-way", "transaction")):
            problem = "python3-keystone-1.0-1.el9.noarch is installed with other content than the gating repository has"
            answer = self.fail_with(1, problem, "build", "--gating-repo", other, "--tag", "other", *words, work=self.fresh())
            self.assertIn("a release of its own", answer.errors)
            self.assertIsNone(self.client.head(KEYSTONE, "other"))
        # what a full build takes is the package under test itself
        self.succeed("build", "--full", "--gating-repo", other, "--tag", "full", work=self.fresh())

    def test_the_runs_own_tag_is_none_that_moves(self):
        before = self.client.head(KEYSTONE, "current-passed-ci")
        gating = self.gating()
        for words, problem in (
            (("--tag", "current-passed-ci"), "is a tag that moves"),
            (("--tag", "x", "--floating-tag", "x"), "is a tag that moves"),
            (("--tag", "x", "--floating-tag", "y", "--shard", "1/2"), "part 1/2 of a run moves no floating tag"),
            (("--tag", "input-x"), "names like it are kept"),
            (("--tag", "x", "--floating-tag", "sha256-" + "0" * 64), "names like it are kept"),
        ):
            with self.subTest(words):
                answer = self.fail_with(2, problem, "build", "--gating-repo", gating, *words, work=self.fresh())
                self.assertEqual(1, len(answer.errors.strip().splitlines()))
        self.assertEqual(before, self.client.head(KEYSTONE, "current-passed-ci"))

    def test_coverage_by_another_gating_repository_than_the_runs_had(self):
        whole = self.gating()
        self.succeed("build", "--gating-repo", whole, "--tag", "review", work="work")
        receipt = self.site.directory / "work" / "receipt.json"
        document = json.loads(receipt.read_text())
        receipt.write_text(json.dumps({**document, "gated": [{"package": "python3-keystone-2.0-1.el9.noarch"}]}))
        self.succeed("coverage", "--receipt", str(receipt), "--gating-repo", whole, work=self.fresh())
        stale = str(self.site.repository_of([spec for spec in packages() if "keystone" in spec.name]))
        problem = "package(s) under test that"
        self.fail_with(1, problem, "coverage", "--receipt", str(receipt), "--gating-repo", stale, work=self.fresh())

    def test_an_image_for_another_architecture_is_an_error_that_names_both(self):
        self.site.write_profile(arch="aarch64")
        answer = self.site.topcoat("plan", work=self.fresh())
        self.assertEqual(1, answer.code, answer.errors)
        self.assertIn("linux/amd64", answer.errors)
        self.assertIn("linux/arm64", answer.errors)

    def test_a_receipt_that_names_an_old_image_proves_nothing(self):
        gating = self.gating()
        done = self.succeed("build", "--gating-repo", gating, "--tag", "review", work="work")
        old = self.client.head(KEYSTONE, "current-passed-ci")
        self.attach("keystone", self.documents("keystone", "review"))
        receipt = self.site.directory / "work" / "receipt.json"
        proved = receipt.read_text()
        for what, code, problem in (("digest", 2, "has no image"), ("digest repository", 1, "for keystone, and it is nova-api")):
            with self.subTest(f"{what} of another image"):
                document = json.loads(proved)
                one, other = (next(image for image in document["images"] if image["name"] == name) for name in ("keystone", "nova-api"))
                for key in what.split():
                    one[key], other[key] = other[key], one[key]
                receipt.write_text(json.dumps(document))
                # The run's own folder knows both images by their digests.
                self.fail_with(code, problem, "coverage", "--receipt", str(receipt), "--gating-repo", gating, work="work")
        receipt.write_text(proved.replace(done.digests()["keystone"], old))
        self.fail_with(1, "keystone has 1.0-1.el9", "coverage", "--receipt", str(receipt), "--gating-repo", gating, work=self.fresh())
        for status in ("running", "failed", "cancelled"):
            with self.subTest(status):
                receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "status": status}))
                for words in (("coverage", "--gating-repo", gating), ("consume",), ("zuul-return",)):
                    failed = self.site.topcoat(*words, "--receipt", str(receipt), work=self.fresh())
                    self.assertEqual(1, failed.code, failed.errors)
                    self.assertIn("run it again", failed.errors)

    def _source(self, repository: str):
        return ImageRepository(self.host, repository)
