"""The jobs of the template for a project whose site has nothing but a namespace of images that somebody else has built."""

from __future__ import annotations

import json
import shutil

from tests.functional.roles import inventories
from tests.functional.roles.test_provider import TAG, ProviderCase
from tests.functional.runs.test_adopted import NAMES, AdoptingSite
from tests.functional.runs.vendor import TAG as THEIRS
from tests.functional.runs.vendor import Vendor


class Adopted(ProviderCase):
    """The tree is what ``topcoat adopt`` wrote; the images are plain buildah's."""

    SITE = AdoptingSite

    @classmethod
    def publish(cls) -> dict[str, str]:
        cls.vendor = Vendor(cls.site)
        cls.addClassCleanup(cls.vendor.close)
        cls.vendor.publish()
        for path in (cls.site.tree / "base.yaml", cls.site.tree / "openstack" / "nova.yaml"):
            path.unlink()
        place = f"{cls.site.server.host}/{cls.vendor.namespace}"
        answer = cls.site.topcoat("adopt", "--from", place, "--tag", THEIRS, "--output", str(cls.site.tree), "--format", "json")
        assert answer.code == 0, answer.errors
        return {image["name"]: image["digest"] for image in json.loads(answer.output)["images"]}

    def test_a_review_with_depends_on_from_sources_to_consumers(self) -> None:
        self.assertEqual(set(self.reference), set(NAMES))
        zuul = inventories.depends_on()
        self.sources(zuul)
        run = self.job(zuul, "base/pre", "provider/pre", "provider/run")
        self.job(zuul, "provider/post", "base/post")
        receipt = json.loads((self.work / "receipt.json").read_text())
        actions = {image["name"]: (image["action"], image["reason"]) for image in receipt["images"]}
        updated = ("update", "rpm-gated")
        self.assertEqual(actions, {"keystone": updated, "nova-api": updated, "nova-compute": updated, "proxy": ("reuse", "unchanged")})
        self.assertTrue(all(entry["covered"] for entry in receipt["coverage"]))
        self.assertEqual({image["base_digest"] for image in receipt["images"] if image["name"] == "nova-api"}, {self.reference["nova-api"]})
        artifacts = {artifact["metadata"]["image"]: artifact for artifact in run.zuul["artifacts"]}  # type: ignore[union-attr,index]
        self.assertEqual(artifacts["proxy"]["url"], f"docker://{self.site.server.host}/review/proxy:{TAG}")
        self.assertEqual(set(artifacts), set(NAMES))

        handed_on = {**zuul, "artifacts": [{**artifact, "job": "container-images-provider"} for artifact in run.zuul["artifacts"]]}  # type: ignore[union-attr]
        storage = ["--storage-root", str(self.folder / "storage"), "--storage-runroot", str(self.folder / "run")]
        pulled = self.job(handed_on, "consumer/pre", "consumer/run", "consumer/post", consume_images_arguments=storage)
        self.assertIn("0 images proved in running containers", pulled.output)

        # what a change ahead has made is the start of the next, also on a node that has seen none of it, and in another namespace than the reference
        behind = {**inventories.depends_on(), "buildset": "c" * 32, "artifacts": handed_on["artifacts"]}
        for folder in ("cache", "repositories"):
            self.forget(folder)
        self.job(behind, "provider/pre", "provider/run")
        again = json.loads((self.work / "receipt.json").read_text())
        self.assertEqual(
            {image["name"]: image["digest"] for image in again["images"]}, {image["name"]: image["digest"] for image in receipt["images"]}
        )

    def forget(self, folder: str) -> None:
        """Remove a folder of the work folder, as on a fresh node."""
        for path in self.work.rglob(folder):
            if path.is_dir():
                shutil.rmtree(path)

    def test_the_periodic_job_takes_every_image_anew(self) -> None:
        zuul = inventories.periodic()
        self.sources(zuul)
        run = self.job(zuul, "base/pre", "provider/pre", "provider/run", "provider/post", "base/post", plan_images_full=True)
        receipt = json.loads((self.work / "receipt.json").read_text())
        self.assertEqual({image["action"] for image in receipt["images"]}, {"reuse"})
        self.assertEqual(len(run.zuul["artifacts"]), len(NAMES) + 1, "the images and the page")  # type: ignore[arg-type]
