"""``topcoat update``: images of others, by an ordinary user, without an engine and without a pull."""

import json
import subprocess

from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from tests.functional.updater.world import World, rpm
from topcoat.model import ImageRepository
from topcoat.registry import Image
from topcoat_demo import signing
from topcoat_demo.rpms import File, RpmSpec, make_repository

# A user of this kind has no capability anywhere, and still reads the checkout wherever it lies.
ORDINARY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
OLD = [RpmSpec("tool", "1", files=(File("/usr/bin/tool", "1"),)), RpmSpec("data", "1", files=(File("/opt/data", "1"),))]
NEW = [RpmSpec("tool", "2", files=(File("/usr/bin/tool", "2"),), requires=("library",)), RpmSpec("library", "1", files=(File("/usr/lib/l", "l"),))]


class GivenImages(SiteTest):
    def setUp(self):
        super().setUp()
        self.one, self.other = self.site.base("others/one", OLD), self.site.base("two", OLD[:1])

    def update(self, *words: str, code: int = 0, user: tuple[str, ...] = ORDINARY, work: str = "given"):
        command = [*user, *self.site.command("update", *words, work=work)]
        # neither a recipe tree nor a profile is needed
        for option in ("--recipes", "--profile"):
            at = command.index(option)
            del command[at : at + 2]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.site.directory, timeout=600)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done

    def image(self, name: str, tag: str = "current-passed-ci") -> str:
        return f"{self.site.server.host}/{name}:{tag}"

    def test_an_ordinary_user_updates_images_of_others(self):
        repository = str(self.site.repository_of(NEW, "given"))
        shown = self.update(self.image("others/one"), self.image("two"), "--repo", repository, "--tag", "new", "--format", "json")
        receipt = json.loads(shown.stdout)
        self.assertEqual({image["name"]: image["method"] for image in receipt["images"]}, {"others/one": "composed", "two": "composed"})
        self.assertEqual(receipt["status"], "done")
        for name, base in (("others/one", self.one), ("two", self.other)):
            digest = self.site.client.head(name, "new")
            _, image = self.site.client.image(name, digest)
            self.assertEqual(image.layers[: len(base.image.layers)], base.image.layers)
            with World.tree(self.site, name, digest) as root:
                self.assertEqual((root / "usr/bin/tool").read_text(), "2")
                self.assertEqual({"tool-2-1.el9.noarch", "library-1-1.el9.noarch"} - set(rpm(root, "-qa").split()), set())
                self.assertEqual([line for line in rpm(root, "-Va", check=False).splitlines() if " c " not in line], [])
                rpm(root, "--verifydb")
        again = self.update(self.image("two"), "--repo", repository, "--tag", "again", "--format", "json", work="elsewhere")
        self.assertEqual({image["method"] for image in json.loads(again.stdout)["images"]}, {"found"})
        self.assertEqual(self.site.client.head("two", "again"), self.site.client.head("two", "new"))

    def test_what_needs_a_scriptlet_is_refused_with_the_reason_and_root_can_do_it(self):
        loud = [RpmSpec("tool", "2", files=(File("/usr/bin/tool", "2"),), post="touch /opt/ran")]
        words = (self.image("two"), "--repo", str(self.site.repository_of(loud, "loud")), "--tag", "new")
        refused = self.update(*words, code=1)
        self.assertIn("two: its update cannot be composed: tool has a scriptlet (%post)", refused.stderr)
        self.assertIn("run it as root with --update-way auto", refused.stderr)
        self.assertIsNone(self.site.client.head("two", "new"))
        for tag, problem in (("sha256-" + "1" * 64, "kept for what lies beside"), ("-x", "not a tag")):
            self.assertIn(problem, self.update(*words[:-1], tag, code=2).stderr)
        self.assertIn("run it as root", self.update(*words, "--update-way", "composed", code=1, user=()).stderr)
        self.update(*words, user=())
        with World.tree(self.site, "two", self.site.client.head("two", "new")) as root:
            self.assertTrue((root / "opt/ran").exists())

    def test_an_image_of_another_architecture_needs_no_machine_of_it(self):
        image = Image({**self.other.image.config, "architecture": "arm64"}, self.other.image.layers)
        here = ImageRepository(self.site.server.host, "two")
        self.site.publisher.publish(here, image, {layer.digest: here for layer in image.layers}, ["arm"])
        new = RpmSpec("tool", "2", arch="aarch64", files=(File("/usr/bin/tool", "2"),))
        words = ("--repo", str(self.site.repository_of([new], "arm")), "--tag", "new-arm", "--arch", "aarch64", "--format", "json")
        (line,) = json.loads(self.update(self.image("two", "arm"), *words).stdout)["images"]
        self.assertEqual((line["method"], line["changes"][0]["new"]), ("composed", "tool-2-1.el9.aarch64"))
        with World.tree(self.site, "two", self.site.client.head("two", "new-arm")) as root:
            self.assertEqual((root / "usr/bin/tool").read_text(), "2")

    def test_with_a_key_every_package_must_be_signed_by_it(self):
        key = self.site.directory / "KEY"
        key.write_text(signing.DEMO.armored())
        words = (self.image("two"), "--tag", "new", "--key", str(key))
        for name, signer, reason in (
            ("unsigned", None, "is not signed, and the profile requires it"),
            ("foreign", signing.key("nobody"), "is signed by the unknown key"),
        ):
            refused = self.update(*words, "--repo", str(make_repository(self.site.directory / name, NEW, signer=signer)), code=1)
            self.assertIn(reason, refused.stderr)
            self.assertIsNone(self.site.client.head("two", "new"))
        self.update(*words, "--repo", str(make_repository(self.site.directory / "signed", NEW, signer=signing.DEMO)))
        self.assertTrue(self.site.client.head("two", "new"))

    def test_nothing_new_is_a_tag_and_nothing_else(self):
        done = self.update(self.image("two"), "--repo", str(self.site.repository_of(OLD, "same")), "--tag", "new", "--format", "json")
        (image,) = json.loads(done.stdout)["images"]
        self.assertEqual((image["action"], image["bytes_pushed"], image["digest"]), ("reuse", 0, self.other.digest))
        self.assertEqual(self.site.client.head("two", "new"), self.other.digest)

    def test_mistakes_are_one_line(self):
        repository = str(self.site.repository_of(NEW, "given"))
        for words, code, text in (
            ((self.image("absent"), "--repo", repository), 1, "does not exist"),
            ((self.image("two"), self.image("two", "other"), "--repo", repository), 2, "two of the images lie in one repository"),
            ((self.image("two"), "elsewhere.example.org/two:x", "--repo", repository), 2, "several registries"),
            ((self.image("two"), "--repo", str(self.site.directory / "nowhere")), 1, "repo-1"),
            ((self.image("two"), "--repo", repository, "--arch", "aarch64"), 1, "linux/arm64"),
        ):
            with self.subTest(text):
                done = self.update(*words, "--tag", "new", code=code)
                self.assertIn(text, done.stderr)

    def test_a_set_of_ours_takes_packages_by_the_same_command(self):
        self.publish()
        repository = str(self.site.repository_of([spec for spec in packages(keystone="2.0") if "keystone" in spec.name]))
        done = self.update(self.image("site/keystone"), "--repo", repository, "--tag", "mine", "--format", "json")
        (image,) = json.loads(done.stdout)["images"]
        self.assertEqual((image["method"], image["base_digest"]), ("composed", self.site.client.head("site/keystone", "current-passed-ci")))
