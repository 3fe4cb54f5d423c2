"""Images of somebody else, without recipe and without a label of ours, through the whole life of a set."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from tests.functional.runs.site import Site, packages
from tests.functional.runs.test_main_job import SiteTest, gated
from tests.functional.runs.vendor import TAG, Vendor
from topcoat_demo.rpms import RpmSpec

NAMES = ("keystone", "nova-api", "nova-compute", "proxy")


class AdoptingSite(Site):
    """A site that has a list of images and not one recipe: no base image either."""

    RECIPES = "unused: {}\n\nunused: {}\n"

    def adopt(self, place: str) -> None:
        """The tree: every image with where its maker publishes it; ``place`` may hold ``{name}``. Empty: among the reference images."""
        (self.tree / "base.yaml").unlink(missing_ok=True)
        rows = [f"{name}: {{ adopted: {json.dumps(place.format(name=name)) if place else 'true'} }}\n" for name in NAMES]
        (self.tree / "openstack" / "nova.yaml").write_text("".join(rows))
        (self.tree / "lists").mkdir(exist_ok=True)
        (self.tree / "lists" / "deploy.yaml").write_text(json.dumps({"images": [{"image": name} for name in NAMES]}))

    def write_profile(self, **extra: object) -> None:
        super().write_profile(**extra)
        path = self.tree / "profiles" / "site.yaml"
        profile = json.loads(path.read_text())
        del profile["base"]
        path.write_text(json.dumps(profile))


class AdoptedTest(SiteTest):
    """The vendor's images lie in a namespace of their own; ours is empty at first."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.site = AdoptingSite(Path(folder.name))
        self.addCleanup(self.site.close)
        self.vendor = Vendor(self.site)
        self.addCleanup(self.vendor.close)
        self.site.adopt(f"{self.vendor.place('{name}')}:{TAG}")

    def inside(self, image: str, *arguments: str) -> str:
        """What rpm says inside an image that podman pulled anew."""
        access = ["--authfile", str(self.site.server.authfile), "--cert-dir", str(self.site.server.certificates)]
        with self.vendor.storage.unpacked("podman", f"docker://{self.site.server.host}/{image}", *access) as root:
            database = next(folder for folder in ("/usr/lib/sysimage/rpm", "/var/lib/rpm") if (root / folder.lstrip("/") / "rpmdb.sqlite").exists())
            words = ["rpm", "--root", str(root), "--dbpath", database, *arguments]
            return subprocess.run(words, capture_output=True, text=True, check=False).stdout


class WholeLife(AdoptedTest):
    def test_from_the_first_set_to_the_collection(self):
        self.vendor.publish()
        first = self.succeed("plan", "--format", "json")
        self.assertEqual({image["action"] for image in json.loads(first.output)["images"]}, {"reuse"})
        self.assertIn(f"taken from {self.vendor.place('proxy')}:{TAG}", first.output)

        # the first reference set is the vendor's, byte for byte, and is promoted with an inventory of each
        self.succeed("build", "--full", "--tag", "trunk1")
        self.succeed("promote", "--from", "trunk1")
        for name in ("keystone", "nova-api", "proxy"):
            self.assertEqual(self.site.client.head(f"site/{name}", "current-passed-ci"), self.site.client.head(f"vendor/{name}", TAG))
        index = self.site.client.manifest("vendor/nova-compute", TAG)
        self.assertIn(self.site.client.head("site/nova-compute", "current-passed-ci"), [child.digest for child in index.children])

        # a review: a library and a service, on a node that has seen nothing
        gating = str(self.site.repository_of(gated()))
        review = self.succeed("build", "--gating-repo", gating, "--tag", "review", work="fresh-node")
        self.assertEqual(review.actions(), {"keystone": "update", "nova-api": "update", "nova-compute": "update", "proxy": "reuse"})
        self.assertTrue(all(entry["covered"] for entry in review.receipt["coverage"]))
        for name in ("keystone", "nova-api", "nova-compute"):
            _, made = self.site.client.image(f"site/{name}", "review")
            _, below = self.site.client.image(f"site/{name}", "current-passed-ci")
            self.assertEqual(made.diff_ids[: len(below.diff_ids)], below.diff_ids)
            self.assertEqual(len(made.diff_ids) - len(below.diff_ids), 2, "files and package database")
            self.assertEqual(
                {key: value for key, value in made.config["config"].items() if key != "Labels"},
                {key: value for key, value in below.config["config"].items() if key != "Labels"},
            )
            self.assertEqual(made.labels["vendor"], name)
            self.assertIn("python3-oslo-1.1-1", self.inside(f"site/{name}:review", "-q", "python3-oslo"))
            self.assertEqual(self.inside(f"site/{name}:review", "-Va"), "")

        # promoted, moved on, and collected: nothing that is kept is lost
        self.succeed("promote", "--from", "review")
        again = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated("3.0", "1.2"))), "--tag", "next", work="another-node")
        self.assertEqual(again.image("nova-api")["base_digest"], self.site.client.head("vendor/nova-api", TAG), "never on an update layer")
        shown = json.loads(self.succeed("discover", "--format", "json").output)
        self.assertEqual({row["name"]: row["digest"] for row in shown["images"]}, {name: review.image(name)["digest"] for name in NAMES})
        for _ in range(2):
            self.succeed("gc", "--delete", "--older-than", "0", "--keep-newest", "0")
        for name in NAMES:
            self.assertEqual(self.site.client.head(f"site/{name}", "current-passed-ci"), review.image(name)["digest"])
            kept = review.image("proxy")["digest"] if name == "proxy" else None
            self.assertEqual(self.site.client.head(f"site/{name}", "next"), kept, "what the promoted set holds stays under any name")
        for name in NAMES:  # their maker withdraws them
            self.site.client.delete_manifest(f"vendor/{name}", self.site.client.head(f"vendor/{name}", TAG))
        last = self.succeed("build", "--gating-repo", gating, "--tag", "last", work="last-node")
        self.assertEqual(last.digests(), review.digests())

    def test_a_library_of_the_trunk_is_an_update(self):
        self.vendor.publish()
        self.succeed("build", "--full", "--tag", "trunk1", "--floating-tag", "current-passed-ci")
        from topcoat_demo.rpms import make_repository

        make_repository(self.site.current, packages(oslo="1.5"))
        plan = json.loads(self.succeed("plan", "--format", "json").output)
        self.assertEqual(
            {image["name"]: image["reason"] for image in plan["images"]},
            {"keystone": "rpm-upgrade", "nova-api": "rpm-upgrade", "nova-compute": "rpm-upgrade", "proxy": "unchanged"},
        )

    def test_another_image_of_the_maker_replaces_the_promoted_one(self):
        self.vendor.publish()
        self.succeed("build", "--full", "--tag", "trunk1", "--floating-tag", "current-passed-ci")
        digest = self.vendor.push(self.vendor.image("keystone", ["basetool"], ["python3-oslo", "python3-keystone"], user="7"), "keystone", "2024.2")
        # a moved tag reaches reviews with the next full run only; a digest in the tree is a change under test
        self.vendor.push("localhost/keystone-1", "keystone")
        kept = json.loads(self.succeed("plan", "--format", "json", "^keystone$").output)["images"][0]
        self.assertNotEqual(kept["reference"], digest)
        anew = json.loads(self.succeed("plan", "--full", "--format", "json", "^keystone$").output)["images"][0]
        self.assertEqual((anew["reference"], anew["action"]), (self.site.client.head("vendor/keystone", TAG), "reuse"))
        tree = self.site.tree / "openstack" / "nova.yaml"
        tree.write_text(tree.read_text().replace(f"keystone:{TAG}", f"keystone@{digest}"))
        pinned = json.loads(self.succeed("plan", "--format", "json", "^keystone$").output)["images"][0]
        self.assertEqual((pinned["reference"], pinned["action"]), (digest, "reuse"))


class Base(AdoptedTest):
    def test_without_a_base_image_there_is_none_to_look_after(self):
        self.assertIn("nothing to look after", self.succeed("base").output)
        tree = self.site.tree / "openstack" / "nova.yaml"
        tree.write_text(tree.read_text() + "ours: { from: profile, packages: [basetool], entrypoint: [/usr/bin/basetool] }\n")
        self.fail_with(2, "has no base, and ours starts from it", "base")


class AmongTheReferences(AdoptedTest):
    """The site's own namespace holds what somebody else publishes there."""

    def setUp(self):
        super().setUp()
        self.vendor.namespace = "site"
        self.site.adopt("")

    def test_a_namespace_without_recipes(self):
        self.vendor.publish("current-passed-ci")
        review = self.succeed("build", "--gating-repo", str(self.site.repository_of(gated())), "--tag", "review", "--floating-tag", "moved")
        self.assertEqual(review.actions(), {"keystone": "update", "nova-api": "update", "nova-compute": "update", "proxy": "reuse"})
        self.succeed("promote", "--from", "review")
        place = f"{self.site.server.host}/site"
        pinned = {name: f"{place}/{name}@{review.image(name)['digest']}" for name in NAMES}
        variables = self.succeed("discover", "--output-format", "env").output
        self.assertEqual(variables, "".join(f"{name.replace('-', '_').upper()}_IMAGE={reference}\n" for name, reference in sorted(pinned.items())))
        # the operators' keys: one image is in no tree, and another is not in the registry
        keys = {"novaAPIImage": "nova-api", "keystoneAPIImage": "keystone", "novaConductorImage": "nova-conductor"}
        rows = [{"image": image, "parameters": [key]} for key, image in keys.items()]
        (self.site.tree / "lists" / "keys.yaml").write_text(json.dumps({"subset": True, "images": rows, "left_out": {"apacheImage": "not ours"}}))
        words = ("discover", "--list", "keys", "--output-format", "openstackversion")
        self.fail_with(1, "1 keys of the list have no image in this tree: novaConductorImage", *words)
        answer = self.succeed(*words, "--present-only", "--name", "mine")
        images = yaml.safe_load(answer.output)["spec"]["customContainerImages"]
        self.assertEqual(images, {"keystoneAPIImage": pinned["keystone"], "novaAPIImage": pinned["nova-api"]})
        for key in ("novaConductorImage (no image of it here)", "apacheImage (not ours)"):
            self.assertIn(f"left to the deployer's default: {key}", answer.errors)

    def test_what_is_nowhere_is_one_clear_line(self):
        self.vendor.push(self.vendor.without_rpm("proxy"), "proxy", "current-passed-ci")
        self.fail_with(1, "there is no recipe to build it from: it is adopted", "plan")

    def test_an_image_built_on_an_updated_one_is_its_own(self):
        """Labels are inherited: the one that names the image below our layer speaks of the image that the vendor built on."""
        self.vendor.publish("current-passed-ci")
        self.succeed("build", "--gating-repo", str(self.site.repository_of(gated())), "--tag", "review")
        access = ["--authfile", str(self.site.server.authfile), "--cert-dir", str(self.site.server.certificates)]
        below = self.vendor.storage.run("buildah", "pull", "--quiet", *access, f"docker://{self.vendor.place('keystone')}:review")
        own = RpmSpec("vendor-addon", "1.0")
        digest = self.vendor.push(
            self.vendor.image("keystone", [own], below=below, database="/usr/lib/sysimage/rpm"), "keystone", "current-passed-ci"
        )
        library = str(self.site.repository_of([spec for spec in packages(oslo="1.2") if "oslo" in spec.name]))
        answer = self.succeed("build", "--gating-repo", library, "--tag", "two", "^keystone$", work="fresh")
        self.assertEqual(answer.image("keystone")["base_digest"], digest)
        self.assertIn("vendor-addon-1.0-1", self.inside("site/keystone:two", "-qa"))
        self.assertIn("python3-oslo-1.2-1", self.inside("site/keystone:two", "-qa"))


class Sabotage(AdoptedTest):
    def spoiled(self, name: str, spoil: object) -> None:
        """The vendor's set with one image spoiled in a layer of its own."""
        self.vendor.publish()
        with self.vendor.changed(f"localhost/{name}-0") as (container, root):
            spoil(root)  # type: ignore[operator]
            identity = self.vendor.storage.run("buildah", "commit", "--quiet", container, "localhost/spoiled")
        self.vendor.push(identity, name)

    def test_a_database_that_cannot_be_read(self):
        self.spoiled("nova-api", lambda root: (root / "var/lib/rpm/rpmdb.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 8000))
        answer = self.fail_with(1, "is damaged", "plan")
        self.assertIn("nova-api", answer.errors)

    def test_a_database_that_was_removed_is_not_an_image_without_rpm(self):
        def remove(root: Path) -> None:
            for path in (root / "var/lib/rpm").iterdir():
                path.unlink()

        self.spoiled("nova-api", remove)
        answer = self.fail_with(1, "no rpm database", "plan")
        self.assertIn("nova-api", answer.errors)

    def test_a_recipe_on_an_image_without_rpm(self):
        self.vendor.publish()
        tree = self.site.tree / "openstack" / "nova.yaml"
        tree.write_text(tree.read_text() + "ours: { from: proxy, packages: [basetool], entrypoint: [/usr/bin/basetool] }\n")
        self.fail_with(1, "holds no rpm database, so nothing can be installed on it", "build", "--tag", "one", "^ours$")

    def test_a_recipe_on_an_adopted_image(self):
        self.vendor.publish()
        tree = self.site.tree / "openstack" / "nova.yaml"
        tree.write_text(tree.read_text() + "ours: { from: nova-compute, packages: [python3-keystone], entrypoint: [/usr/bin/keystone] }\n")
        gating = str(self.site.repository_of([spec for spec in gated() if "api" not in spec.name]))
        answer = self.succeed("build", "--gating-repo", gating, "--tag", "one", "^ours$", "--floating-tag", "current-passed-ci")
        self.assertEqual(answer.actions(), {"nova-compute": "update", "ours": "build"})
        self.assertEqual(answer.image("ours")["base_digest"], answer.image("nova-compute")["digest"])
        # its parent's update layer is none of its own
        again = self.succeed("build", "--gating-repo", gating, "--tag", "two", "^ours$", work="fresh")
        self.assertEqual(again.actions(), {"nova-compute": "reuse", "ours": "reuse"})

    def test_the_maker_has_removed_an_image(self):
        self.vendor.publish()
        self.site.adopt(f"{self.vendor.place('{name}')}:gone")
        self.fail_with(1, "there is no image", "plan")


if __name__ == "__main__":
    unittest.main()
