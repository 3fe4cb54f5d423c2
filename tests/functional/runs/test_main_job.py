"""Whole runs of the main job as a user starts them, against a real registry, rpm and dnf."""

import json
import random
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from tests.functional.gating.test_build import SPEC, tree
from tests.functional.runs.site import RECIPES, Site, packages
from topcoat.model import labels
from topcoat.registry.oci import OCI_LAYER_ZSTD
from topcoat_demo.rpms import RpmSpec, make_repository


def gated(nova: str = "2.0", oslo: str = "1.1") -> list[RpmSpec]:
    """RPMs under test: nova and the library below it."""
    return [spec for spec in packages(nova=nova, oslo=oslo) if "nova" in spec.name or "oslo" in spec.name]


class SiteTest(unittest.TestCase):
    """One site a test; its registry and folders are gone afterwards."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.site = Site(Path(folder.name))
        self.addCleanup(self.site.close)

    def succeed(self, *words: str, **options: str):
        """Run a command that must succeed."""
        answer = self.site.topcoat(*words, **options)
        self.assertEqual(answer.code, 0, answer.output + answer.errors)
        return answer

    def fail_with(self, code: int, text: str, *words: str, **options: str):
        """Run a command that must fail with an exit code and words on standard error, in one line and without traceback."""
        answer = self.site.topcoat(*words, **options)
        self.assertEqual(answer.code, code, answer.output + answer.errors)
        self.assertIn(text, answer.errors)
        self.assertNotIn("Traceback", answer.output + answer.errors)
        return answer

    def publish(self) -> None:
        """The periodic run that makes the reference images."""
        self.succeed("build", "--full", "--tag", "trunk1", "--floating-tag", "current-passed-ci")

    def tags(self, name: str) -> set[str]:
        """Tags of an image that people made (not those over inputs or of attached inventories)."""
        return {tag for tag in self.site.client.tags(f"site/{name}") if not tag.startswith(("input-", "sha256-"))}


class ReviewTest(SiteTest):
    def setUp(self):
        super().setUp()
        self.publish()

    def test_only_what_the_change_touches_gets_work(self):
        gating = self.site.repository_of([spec for spec in packages(keystone="2.0") if "keystone" in spec.name])
        answer = self.succeed("build", "--gating-repo", str(gating), "--tag", "review")
        actions = {"base": "reuse", "nova-base": "reuse", "nova-api": "reuse", "nova-compute": "reuse", "keystone": "update"}
        self.assertEqual(answer.actions(), actions)
        self.assertEqual([change["new"] for change in answer.image("keystone")["changes"]], ["python3-keystone-2.0-1.el9.noarch"])
        for name in actions:
            self.assertEqual(answer.image(name)["digest"], self.site.client.head(f"site/{name}", "review"))

    def test_a_library_reaches_every_image_that_holds_it(self):
        answer = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated())), "--tag", "review")
        updated = {name for name, action in answer.actions().items() if action == "update"}
        self.assertEqual(updated, {"keystone", "nova-base", "nova-api", "nova-compute"})
        self.assertTrue(all(entry["covered"] for entry in answer.receipt["coverage"]))

    def test_the_second_identical_run_does_nothing(self):
        gating = str(self.site.repository_of(gated()))
        first = self.succeed("build", "--gating-repo", gating, "--tag", "one")
        second = self.succeed("build", "--gating-repo", gating, "--tag", "two", work="elsewhere")
        self.assertEqual(second.digests(), first.digests())
        self.assertEqual({image["bytes_pushed"] for image in second.receipt["images"]}, {0})
        self.assertEqual({image["method"] for image in second.receipt["images"]}, {"tag", "found"})

    def test_an_update_of_an_update_stays_one_update(self):
        self.succeed("build", "--gating-repo", str(self.site.repository_of(gated("2.0"))), "--tag", "one", "--floating-tag", "current-passed-ci")
        answer = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated("3.0"))), "--tag", "two")
        layers = {name: len(self.site.client.image(f"site/{name}", "two")[1].layers) for name in ("nova-api", "keystone")}
        before = {name: len(self.site.client.image(f"site/{name}", "trunk1")[1].layers) for name in ("nova-api", "keystone")}
        self.assertEqual({name: count - before[name] for name, count in layers.items()}, {"nova-api": 2, "keystone": 2}, "files and package database")
        self.assertEqual(answer.image("nova-api")["base_digest"], self.site.client.head("site/nova-api", "trunk1"))

    def test_a_review_on_images_whose_layers_the_profile_wants_chunked(self):
        before = self.site.client.image("site/nova-api", "trunk1")[1]
        self.site.write_profile(compression_format="zstd:chunked")
        same = self.succeed("build", "--tag", "same").actions()
        self.assertEqual(set(same.values()), {"reuse"}, "how layers are packed is no reason for new images")
        make_repository(self.site.current, packages(nova="1.5", oslo="1.0.1"))
        self.succeed("build", "--full", "--tag", "trunk2", "--floating-tag", "current-passed-ci")
        built = self.site.client.image("site/nova-api", "trunk2")[1]
        self.assertEqual(built.layers[0], before.layers[0], "the base stays as its maker packed it")
        self.assertEqual({layer.media_type for layer in built.layers[1:]}, {OCI_LAYER_ZSTD})
        answer = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated())), "--tag", "review")
        self.assertEqual(answer.image("nova-api")["action"], "update")
        updated = self.site.client.image("site/nova-api", "review")[1]
        self.assertEqual(updated.layers[: len(built.layers)], built.layers)
        for layer in updated.layers[len(built.layers) :]:
            self.assertEqual(layer.media_type, OCI_LAYER_ZSTD)
            self.assertIn(labels.CHUNKED_POSITION, dict(layer.annotations))
        reference = f"{self.site.server.host}/site/nova-api:review"
        self.assertIn("python3-nova-1:2.0-1.el9.noarch", self.succeed("inventory", "--rebuild", reference, work="elsewhere").output)

    def test_a_gated_downgrade_is_installed_exactly(self):
        answer = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated("0.5", "0.9"))), "--tag", "review")
        inventory = self.succeed("inventory", f"{answer.image('nova-api')['repository']}:review")
        self.assertIn("python3-nova-1:0.5-1.el9.noarch", inventory.output)
        self.assertIn("python3-oslo-0.9-1.el9.noarch", inventory.output)

    def test_an_uncovered_rpm_is_red_and_moves_no_floating_tag(self):
        gating = self.site.repository_of([*gated(), RpmSpec("python3-lonely", "1.0")])
        answer = self.fail_with(
            1, "python3-lonely-1.0-1.el9.noarch: in no image", "build", "--gating-repo", str(gating), "--tag", "review", "--floating-tag", "moved"
        )
        self.assertEqual(answer.receipt["status"], "failed")
        self.assertNotIn("moved", self.tags("nova-api"))
        self.site.write_profile(not_containerised=["python3-lon*"])
        self.succeed("build", "--gating-repo", str(gating), "--tag", "review", "--floating-tag", "moved")
        self.assertIn("moved", self.tags("nova-api"))

    def test_a_changed_recipe_builds_its_subtree_on_fresh_parents(self):
        self.site.write_recipes(RECIPES.replace("packages: [python3-nova]", "packages: [python3-nova, basetool]"))
        answer = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated())), "--tag", "review")
        actions = {"base": "reuse", "keystone": "update", "nova-base": "build", "nova-api": "build", "nova-compute": "build"}
        self.assertEqual(answer.actions(), actions)
        self.assertEqual(answer.image("nova-api")["base_digest"], answer.image("nova-base")["digest"])
        inventory = self.succeed("inventory", f"{answer.image('nova-api')['repository']}:review")
        self.assertIn("python3-nova-1:2.0-1.el9.noarch", inventory.output)

    def test_a_missing_inventory_is_made_from_the_layers(self):
        image = "site/keystone"
        digest = self.site.client.head(image, "current-passed-ci")
        for descriptor in self.site.client.referrers(image, digest):
            self.site.client.delete_manifest(image, descriptor.digest)
        answer = self.succeed("inventory", "--rebuild", f"{self.site.server.host}/{image}:current-passed-ci", work="fresh")
        self.assertIn("python3-keystone-1.0-1.el9.noarch", answer.output)
        self.assertIn("update", self.succeed("plan", "keystone", "--gating-repo", str(self.site.repository_of(gated())), work="fresh2").output)

    def test_a_receipt_names_no_log_of_an_earlier_run(self):
        time.sleep(1.1)  # the logs of the full build are older than the start of this run by more than a file system's grain
        answer = self.succeed("build", "--tag", "two")
        self.assertTrue((self.site.directory / "work/logs/keystone.log").exists())
        self.assertIsNone(answer.image("keystone")["log"])

    def test_a_renamed_image_answers_to_its_old_name_until_the_day(self):
        lists = self.site.tree / "lists"
        lists.mkdir()
        aliases = [
            {"name": "identity", "image": "keystone", "until": "2999-12-31"},
            {"name": "gone", "image": "keystone", "until": "2000-01-01"},
        ]
        images = [{"image": name} for name in ("base", "nova-base", "nova-api", "nova-compute", "keystone")]
        (lists / "deploy.yaml").write_text(json.dumps({"images": images, "aliases": aliases}))
        digest = self.succeed("build", "--tag", "two", "--floating-tag", "newest").image("keystone")
        self.assertEqual(digest["aliases"], [f"{self.site.server.host}/site/identity"])
        self.assertEqual(self.tags("identity"), {"two", "newest"})
        self.assertEqual(self.site.client.head("site/identity", "two"), digest["digest"])
        self.assertTrue(self.site.client.referrers("site/identity", digest["digest"]))
        self.assertEqual(self.tags("gone"), set())
        self.succeed("promote", "--from", "two", "--to", "passed")
        self.assertEqual(self.site.client.head("site/identity", "passed"), digest["digest"])

    def test_a_bill_of_materials_stays_with_its_image(self):
        image = self.succeed("build", "--full", "--tag", "two", "--sbom", "both").image("nova-api")
        reference = f"{self.site.server.host}/site/nova-api:two"
        bill = json.loads(self.succeed("sbom", reference, "--sbom-format", "spdx").output)
        names = {package["name"] for package in bill["packages"]}
        self.assertLessEqual({"openstack-nova-api", "python3-nova", "basetool"}, names)
        rpms = [package for package in bill["packages"] if package["SPDXID"].startswith("SPDXRef-rpm")]
        self.assertEqual(len(rpms), len(bill["packages"]) - 2, "beside the packages there are the image and its operating system")
        for package in rpms:
            self.assertIn("distro=demo-9", package["externalRefs"][0]["referenceLocator"])
            self.assertEqual(len(package["checksums"][0]["checksumValue"]), 64)
        types = {entry.artifact_type for entry in self.site.client.referrers("site/nova-api", image["digest"])}
        self.assertLessEqual({"application/spdx+json", "application/vnd.cyclonedx+json"}, types)
        attached = self.site.client.attachment("site/nova-api", image["digest"], "application/spdx+json")
        self.assertEqual([json.loads(text) for text in attached.values()], [bill])
        self.succeed("promote", "--from", "two", "--to", "passed")
        copied = f"{self.site.server.host}/copy/nova-api:passed"
        self.succeed("copy", "--to", f"{self.site.server.host}/copy", f"{self.site.server.host}/site/nova-api:passed")
        self.assertEqual(json.loads(self.succeed("sbom", copied, "--sbom-format", "spdx").output), bill)
        self.succeed("gc", "--delete", "--older-than", "0", "--keep-newest", "0", "--keep-tag", "passed")
        self.assertEqual(json.loads(self.succeed("sbom", reference.replace(":two", ":passed"), "--sbom-format", "spdx").output), bill)

    def test_artifacts_of_a_change_ahead_are_the_reference(self):
        ahead = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated("2.0"))), "--tag", "ahead")
        artifacts = self.site.directory / "artifacts.json"
        image = ahead.image("nova-api")
        metadata = {"type": "container_image", "repository": image["repository"], "tag": "ahead", "digest": image["digest"]}
        artifacts.write_text(json.dumps([{"name": "nova-api", "url": f"docker://{image['repository']}:ahead", "metadata": metadata}]))
        plan = json.loads(self.succeed("plan", "nova-api", "--artifacts", str(artifacts), "--format", "json").output)
        line = next(line for line in plan["images"] if line["name"] == "nova-api")
        self.assertEqual(line["action"], "reuse")
        self.assertNotEqual(self.site.client.head("site/nova-api", "current-passed-ci"), image["digest"])

    def test_the_plan_is_a_promise(self):
        plan = self.site.directory / "plan.json"
        gating = self.site.repository_of(gated())
        self.succeed("plan", "--gating-repo", str(gating), "--output", str(plan))
        make_repository(gating, gated("2.1"))
        self.fail_with(1, "the plan is no longer true", "build", "--gating-repo", str(gating), "--plan", str(plan), "--tag", "review")
        self.assertNotIn("review", self.tags("base"))

    def test_no_password_in_what_a_run_leaves(self):
        answer = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated())), "--tag", "review")
        password = self.site.server.password
        texts = [answer.output, answer.errors]
        texts += [
            path.read_text(errors="replace") for path in (self.site.directory / "work").rglob("*") if path.is_file() and path.stat().st_size < 1e6
        ]
        self.assertTrue(password)
        self.assertFalse([text for text in texts if password in text])


class FailClosedTest(SiteTest):
    def test_a_missing_gating_repository(self):
        self.fail_with(2, "has no repodata/repomd.xml", "plan", "--gating-repo", str(self.site.directory / "nowhere"))

    def test_a_gating_repository_whose_metadata_lost_a_package(self):
        gating = self.site.repository_of(gated())
        names = ["python3-nova-1:2.0-1.el9.noarch", "python3-neutron-1.0-1.el9.noarch"]
        packages = [{"nevra": nevra, "file": "x.rpm", "project": "p", "commit": "c"} for nevra in names]
        (gating / "gating.json").write_text(json.dumps({"packages": packages}))
        problem = "lists 1 package(s) that its metadata does not have: python3-neutron-1.0-1.el9.noarch"
        answer = self.fail_with(1, problem, "build", "--full", "--gating-repo", str(gating), "--tag", "x")
        self.assertEqual("failed", answer.receipt["status"])
        (gating / "gating.json").write_text(json.dumps({"packages": []}))
        self.fail_with(2, "packages is not a list of any package", "plan", "--gating-repo", str(gating))
        (gating / "gating.json").write_text(json.dumps({"packages": packages[:1]}))
        self.succeed("plan", "--gating-repo", str(gating))

    def test_a_missing_repository(self):
        self.site.write_profile(repositories=[{"id": "current", "baseurl": (self.site.directory / "gone").as_uri()}])
        answer = self.fail_with(1, "current", "build", "--full", "--tag", "x")
        self.assertEqual(answer.receipt["status"], "failed")

    def test_an_unreachable_repository(self):
        self.site.write_profile(repositories=[{"id": "current", "baseurl": "http://127.0.0.1:9/current"}])
        self.fail_with(3, "a recheck can help", "plan")

    def test_the_registry_is_down(self):
        self.site.server.stop()
        self.fail_with(3, "a recheck can help", "plan")

    def test_a_selection_that_fits_nothing(self):
        self.fail_with(2, "no image matches", "build", "nonesuch", "--tag", "x")

    def test_a_package_that_does_not_exist(self):
        self.site.write_recipes(RECIPES.replace("[python3-keystone]", "[python3-keyston]"))
        answer = self.fail_with(1, "python3-keyston", "build", "--full", "--tag", "x", "--floating-tag", "moved")
        status = {image["name"]: image["status"] for image in answer.receipt["images"]}
        self.assertEqual(status, {"base": "done", "keystone": "failed", "nova-base": "done", "nova-api": "done", "nova-compute": "done"})
        self.assertEqual(self.tags("base"), {"x"})
        self.assertTrue((self.site.directory / "work/logs/000_FAILED_keystone.log").exists())

    def test_a_failed_parent_skips_its_children(self):
        self.site.write_recipes(RECIPES.replace("[python3-nova]", "[python3-nowa]"))
        answer = self.fail_with(1, "python3-nowa", "build", "--full", "--tag", "x")
        child = answer.image("nova-api")
        self.assertEqual((child["status"], child["error"]["what"]), ("skipped", "parent nova-base failed"))

    def test_an_image_that_may_fail(self):
        self.site.write_profile(allowed_to_fail=["keystone"])
        self.site.write_recipes(RECIPES.replace("[python3-keystone]", "[python3-keyston]"))
        answer = self.fail_with(4, "keystone", "build", "--full", "--tag", "x", "--floating-tag", "moved")
        self.assertEqual(answer.receipt["status"], "partial")
        self.assertIn("moved", self.tags("base"))

    def test_bad_input_is_one_line_and_nothing_is_written(self):
        (self.site.tree / "base.yaml").write_text("base:\n  from: profile\n  packges: [x]\n")
        answer = self.fail_with(2, "base.yaml:3", "build", "--full", "--tag", "x")
        self.assertEqual(len(answer.errors.strip().splitlines()), 1)
        self.assertFalse((self.site.directory / "work").exists())

    def test_a_bad_tag(self):
        self.fail_with(2, "not a tag", "build", "--full", "--tag", "no/tag")


class SameDigestsTest(SiteTest):
    def test_two_clean_stores_and_registries_give_the_same_digests(self):
        gating = str(self.site.repository_of(gated()))
        self.publish()
        first = self.succeed("build", "--gating-repo", gating, "--tag", "review").digests()
        full = {name: self.site.client.head(f"site/{name}", "trunk1") for name in first}
        with tempfile.TemporaryDirectory() as folder:
            other = Site(Path(folder))
            try:
                answers = [
                    other.topcoat("build", "--full", "--tag", "trunk1", "--floating-tag", "current-passed-ci"),
                    other.topcoat("build", "--gating-repo", gating, "--tag", "review"),
                ]
                self.assertEqual([answer.code for answer in answers], [0, 0], answers)
                self.assertEqual(answers[0].digests(), full)
                self.assertEqual(answers[1].digests(), first)
            finally:
                other.close()


class KilledTest(SiteTest):
    def test_killed_at_ten_points_and_run_again_ends_the_same(self):
        self.publish()
        gating = str(self.site.repository_of(gated()))
        self.site.write_recipes(RECIPES.replace("packages: [basetool]", "packages: [basetool, python3-oslo]"))
        words = ["build", "--gating-repo", gating, "--floating-tag", "latest"]
        started = time.monotonic()
        whole = self.succeed(*words, "--tag", "whole", work="whole").digests()
        length = time.monotonic() - started
        chance = random.Random(20260101)
        for number in range(10):
            work = f"killed{number}"
            # A registry that has never seen this result: only the input tags of this attempt's own kill may help the rerun.
            self._forget(whole)
            command = [*self.site.command(*words, "--tag", f"run{number}", work=work)]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            try:
                child.wait(length * chance.uniform(0.2, 1.0))
            except subprocess.TimeoutExpired:
                pass
            child.send_signal(signal.SIGKILL)
            child.wait()
            answer = self.succeed(*words, "--tag", f"run{number}", work=work)
            self.assertEqual(answer.digests(), whole, f"kill number {number}")
            for name, digest in whole.items():
                self.assertEqual(self.site.client.head(f"site/{name}", "latest"), digest)
            self.assertEqual(self._mounts(), [], f"kill number {number}")

    def _forget(self, digests: dict[str, str]) -> None:
        for name, digest in digests.items():
            self.site.client.delete_manifest(f"site/{name}", digest)

    def _mounts(self) -> list[str]:
        return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.site.directory) in line]


class OneViewTest(SiteTest):
    def test_a_frozen_view_outlives_a_change_of_the_repository(self):
        view = self.site.directory / "view.json"
        self.publish()
        self.succeed("freeze", "--output", str(view))
        make_repository(self.site.current, packages(keystone="9.0"))
        self.assertNotIn("update", self.succeed("plan", "--view", str(view), "--format", "json").output.replace('"update_base"', ""))
        self.assertIn("python3-keystone-9.0-1.el9.noarch", self.succeed("plan", "--format", "json").output)

    def test_another_machine_does_not_quietly_use_another_state(self):
        view = self.site.directory / "view.json"
        self.succeed("freeze", "--output", str(view))
        make_repository(self.site.current, packages(keystone="9.0"))
        self.fail_with(1, "no longer in the state that was frozen", "plan", "--view", str(view), work="another")


class HotfixTest(SiteTest):
    def test_rpm_files_on_given_images(self):
        self.publish()
        folder = self.site.repository_of([spec for spec in packages(keystone="1.0.1") if "keystone" in spec.name], "fix")
        (rpm,) = sorted(folder.glob("*.rpm"))
        self.succeed("hotfix", "^keystone$", "--rpm", str(rpm), "--tag", "fixed")
        inventory = self.succeed("inventory", f"{self.site.server.host}/site/keystone:fixed")
        self.assertIn("python3-keystone-1.0.1-1.el9.noarch", inventory.output)
        self.assertEqual(self.tags("nova-api"), {"trunk1", "current-passed-ci"})
        self.fail_with(1, "in no image", "hotfix", "^base$", "--rpm", str(rpm), "--tag", "nowhere")
        self.fail_with(2, "is no binary RPM file", "hotfix", "^base$", "--rpm", str(self.site.tree), "--tag", "nowhere")

    def test_a_source_tree_on_given_images(self):
        self.publish()
        more = "%package -n python3-keystone-extra\nSummary: more\n%description -n python3-keystone-extra\nmore\n"
        spec = SPEC.replace("Version: 1.0", "Version: 2.0").replace("python3-foo", "python3-keystone").replace("Epoch: 1\n", "")
        spec = spec.replace("%prep", f"{more}%prep") + "%files -n python3-keystone-extra\n"
        source = tree(self.site.directory / "keystone-source", spec)
        answer = self.succeed("hotfix", "^keystone$", "--source", str(source), "--tag", "mine")
        self.assertIn("1 need not be in any", " ".join(answer.output.split()), "wherever the line breaks")
        self.assertIn("python3-keystone-2.0-0.", self.succeed("inventory", f"{self.site.server.host}/site/keystone:mine").output)
        self.fail_with(1, "no selected image takes a package", "hotfix", "^nova-api$", "--source", str(source), "--tag", "nowhere")
