"""What happens to images after review: published by digest, promoted, discovered, collected, exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import unittest

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.functional.promotion.test_base_image import GOOD, layer
from tests.functional.registry.base import make_image
from tests.functional.roles import inventories
from tests.functional.roles.test_provider import TAG, ProviderCase
from tests.functional.signing.authorities import Authorities, token
from tests.functional.signing.base import PASSPHRASE, sealed
from topcoat.model import ImageReference
from topcoat.registry import Registries
from topcoat.signing import PublicKey, bundles, problems

LIST = """\
description: images of the small site
images:
  - {image: nova-api, parameters: [ContainerNovaApiImage], services: ["OS::TripleO::Services::NovaApi"]}
  - {image: keystone, parameters: [ContainerKeystoneImage]}
"""


class Lifecycle(ProviderCase):
    def setUp(self) -> None:
        super().setUp()
        host = self.site.server.host
        self.zuul = inventories.gate()
        self.zuul["artifacts"] = [
            {
                "name": f"site/{name}:current-passed-ci",
                "url": f"docker://{host}/site/{name}:current-passed-ci",
                "metadata": {"type": "container_image", "repository": f"site/{name}", "tag": "current-passed-ci", "image": name, "digest": digest},
            }
            for name, digest in self.reference.items()
        ]
        self.namespace = f"published-{self.id().rpartition('.')[2].replace('_', '-')}"
        self.variables |= {"topcoat_namespace": self.namespace, "publish_images_destination": f"{host}/{self.namespace}"}
        self.job(self.zuul, "base/pre")

    def tags(self, name: str) -> set[str]:
        """Tags of one published image, without those of attached artifacts."""
        return {tag for tag in self.site.client.tags(f"{self.namespace}/{name}") if not tag.startswith("sha256-")}

    def test_publish_promote_discover_collect(self) -> None:
        run = self.job(self.zuul, "publish/run")
        for name, digest in self.reference.items():
            self.assertEqual(self.site.client.head(f"{self.namespace}/{name}", TAG), digest, name)
        self.assertNoSecret(run)

        arguments = {"promote_images_from": TAG, "promote_images_to": "tested", "promote_images_arguments": ["--without-inventories"]}
        also = [f"{self.site.server.host}/{self.namespace}-mirror"]
        run = self.job(self.zuul, "promote/run", **arguments, promote_images_also=also)
        for name, digest in self.reference.items():
            for space in (self.namespace, f"{self.namespace}-mirror"):
                self.assertEqual(self.site.client.head(f"{space}/{name}", "tested"), digest, name)
        self.assertTrue((self.work / "logs/promotion.json").is_file())
        self.assertNoSecret(run)

        lists = self.site.tree / "lists"
        lists.mkdir(exist_ok=True)
        (lists / "deploy.yaml").write_text(LIST)
        self.job(self.zuul, "discover/run", discover_images_tag="tested")
        environment = yaml.safe_load((self.work / "logs/lists/environment.yaml").read_text())
        expected = f"{self.site.server.host}/{self.namespace}/keystone@{self.reference['keystone']}"
        self.assertEqual(environment["parameter_defaults"]["ContainerKeystoneImage"], expected)

        self.job(self.zuul, "garbage/run", collect_garbage_older_than=0, collect_garbage_arguments=["--keep-newest", "0"])
        self.assertEqual(self.tags("keystone"), {TAG, "tested"}, "by default nothing is removed")

    def test_a_promotion_with_a_key_signs_and_leaves_no_key_behind(self) -> None:
        self.job(self.zuul, "publish/run")
        key = ec.generate_private_key(ec.SECP256R1())
        public = self.folder / "signing.pub"
        public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        secret = {"key": sealed(key, PASSPHRASE), "passphrase": PASSPHRASE}
        arguments = {"promote_images_from": TAG, "promote_images_to": "tested", "promote_images_arguments": ["--without-inventories"]}
        run = self.job(self.zuul, "promote/run", promote_images_signing=secret, **arguments)
        self.assertNoSecret(run)
        for text in (PASSPHRASE, secret["key"].splitlines()[1]):
            self.assertNotIn(text, run.output)
        self.assertFalse((self.work / "signing").exists())
        registries = Registries(self.site.server.authfile, self.site.server.ca_file)
        for name in self.reference:
            reference = ImageReference.parse(f"{self.site.server.host}/{self.namespace}/{name}:tested")
            self.assertEqual([], problems(registries, reference, PublicKey.from_file(public)), name)

    def test_a_promotion_as_zuul_leaves_no_token_behind(self) -> None:
        self.job(self.zuul, "publish/run")
        (self.folder / "authorities").mkdir()
        with Authorities(self.folder / "authorities") as authorities:
            services = {"promote_images_fulcio": authorities.url, "promote_images_timestamp_authority": f"{authorities.url}/stamp"}
            arguments = {"promote_images_from": TAG, "promote_images_to": "tested", "promote_images_arguments": ["--without-inventories"]}
            run = self.job(self.zuul, "promote/run", promote_images_token=token(), **services, **arguments)
        self.assertNotIn(token(), run.output)
        self.assertFalse((self.work / "signing").exists())
        for name, digest in self.reference.items():
            self.assertEqual(1, len(self.site.client.referrers(f"{self.namespace}/{name}", digest, bundles.MEDIA_TYPE)), name)

    def test_promotion_of_a_set_with_a_hole_is_refused(self) -> None:
        self.job(self.zuul, "publish/run")
        self.site.client.delete_manifest(f"{self.namespace}/keystone", self.reference["keystone"])
        arguments = {"promote_images_from": TAG, "promote_images_to": "tested", "promote_images_arguments": ["--without-inventories"]}
        run = self.job(self.zuul, "promote/run", check=False, **arguments)
        self.assertNotEqual(run.code, 0)
        self.assertIn("keystone", run.output)
        self.assertNotIn("tested", self.tags("nova-api"))

    def test_external_images_are_copied_by_digest(self) -> None:
        references = [f"{self.site.server.host}/tiny:current-passed-ci"]
        self.job(self.zuul, "external/run", copy_external_images_references=references)
        self.assertEqual(self.site.client.head(f"{self.namespace}/tiny", "current-passed-ci"), self.site.tiny.digest)

    def push_base(self, *paths: str, filler: int = 5000) -> str:
        """What upstream shows under the tag of the base."""
        image, blobs = make_image(layer(*paths, filler=filler))
        return self.site.publisher.publish(f"{self.site.server.host}/upstream/base", image, blobs, ["stream"]).digest

    def test_a_new_base_is_proposed_and_a_bad_one_is_not(self) -> None:
        def git(*words: str) -> str:
            return subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True, text=True).stdout.strip()

        old, host = self.push_base(*GOOD), self.site.server.host
        tree = self.folder / "recipes"
        shutil.copytree(self.site.tree, tree)
        profile = tree / "profiles/site.yaml"
        base = {"image": f"{host}/upstream/base:stream", "digest": old, "mirror": f"{host}/{self.namespace}/base-images"}
        profile.write_text(yaml.safe_dump({**json.loads(profile.read_text()), "base": base}))
        for words in (("init", "-q"), ("add", "-A"), ("-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "site")):
            git(*words)
        variables = {"topcoat_recipes": str(tree), "refresh_base_image_commit": True}
        before = git("rev-parse", "HEAD")

        self.job(self.zuul, "base-refresh/run", **variables)
        self.push_base(*GOOD[1:])
        run = self.job(self.zuul, "base-refresh/run", check=False, **variables)
        self.assertNotEqual(run.code, 0)
        self.assertIn("it has no shell", run.output)
        self.assertEqual((before, ""), (git("rev-parse", "HEAD"), git("status", "--porcelain")))

        new = self.push_base(*GOOD, filler=5001)
        run = self.job(self.zuul, "base-refresh/run", **variables)
        self.assertNoSecret(run)
        self.assertEqual(yaml.safe_load(profile.read_text())["base"], {**base, "digest": new})
        self.assertEqual((before, "profiles/site.yaml"), (git("rev-parse", "HEAD~1"), git("show", "--format=", "--name-only", "HEAD")))
        for digest in (old, new):
            self.assertEqual(self.site.client.head(f"{self.namespace}/base-images", digest), digest)

    def test_an_export_is_a_git_repository(self) -> None:
        self.job(self.zuul, "distgit/run")
        self.assertTrue((self.work / "distgit" / ".git").is_dir())
        self.assertTrue(list((self.work / "distgit").rglob("Containerfile")))


if __name__ == "__main__":
    unittest.main()
