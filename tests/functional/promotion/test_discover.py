"""What discover finds in a real registry, and that it needs no catalog and changes nothing."""

from __future__ import annotations

from tests.functional.promotion.base import SetCase
from tests.functional.registry.base import make_image, random_bytes
from tests.functional.registry.faults import Fault
from tests.functional.registry.faults import Request as Asked
from topcoat.adoption.found import FoundImage, in_references
from topcoat.errors import ContentError
from topcoat.lists import ListedImage, ResolvedList
from topcoat.model import ImageReference
from topcoat.promotion import Request
from topcoat.promotion.discover import Rule, discover, fill_labels, newest_version
from topcoat.publisher import Publisher

HASH = "1" * 40 + "_22222222"
OTHER = "3" * 40 + "_44444444"


class Discover(SetCase):
    names = ("nova-api", "nova-compute")

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.sets = {tag: self.push_set(self.space, tag) for tag in (HASH, OTHER)}

    def listed(self, tag: str, *more: ListedImage) -> ResolvedList:
        host = self.server.host
        images = tuple(ListedImage(name, f"{host}/{self.space}/{name}:{tag}", parameters=(f"{name}-image",)) for name in self.names)
        return ResolvedList("test", images + more)

    def look(self, tag: str, rule: Rule = Rule(), *more: ListedImage, **options):
        registries = self.registries()
        found = discover(self.listed(tag, *more), registries.client, rule, namespace=self.space, **options)
        client = registries.client(self.server.host)
        self.assertLessEqual(set(client.traffic.requests), {"GET", "HEAD"})
        self.seen = client
        return found

    def test_digests_behind_a_tag(self) -> None:
        found = self.look(HASH)
        self.assertEqual(self.sets[HASH], {entry.image.name: entry.digest for entry in found})
        self.assertEqual(f"{self.server.host}/{self.space}/nova-api@{self.sets[HASH]['nova-api']}", found[0].pinned)

    def test_a_head_that_lies_is_no_digest_and_no_copy(self) -> None:
        for name in self.names:
            Publisher(self.registries()).move_tag(f"{self.server.host}/{self.space}/{name}", self.sets[HASH][name], "floating")

        def rule(request: Asked) -> Fault | None:
            """As a cache that keeps answers to HEAD: what the tag showed before, or is to show."""
            if request.verb != "HEAD" or not request.target.endswith("/manifests/floating"):
                return None
            return Fault(headers={"docker-content-digest": self.sets[OTHER]["nova-api" if "nova-api" in request.target else "nova-compute"]})

        proxy = self.proxy(rule)
        registries = self.proxied(proxy)
        images = tuple(ListedImage(name, f"{proxy.host}/{self.space}/{name}:floating") for name in self.names)
        found = discover(ResolvedList("test", images), registries.client, Rule(), namespace=self.space)
        self.assertEqual(self.sets[HASH], {entry.image.name: entry.digest for entry in found})
        wanted = [FoundImage(ImageReference(proxy.host, f"{self.space}/{name}", "floating")) for name in self.names]
        self.assertEqual(list(self.sets[HASH].values()), [image.digest for image in in_references(wanted, registries.client)])
        for name in self.names:
            place = ImageReference(proxy.host, f"{self.space}/{name}", digest=self.sets[OTHER][name])
            self.assertFalse(Publisher(registries).copy(place, place.with_tag("floating")).unchanged)
        self.assertEqual(self.sets[OTHER], self.shown(self.space, "floating"))

    def test_the_hash_behind_a_moving_tag_by_record_and_by_digest(self) -> None:
        self.promoter(self.space).promote(Request(OTHER, "floating"))
        self.assertEqual({(OTHER, "record")}, {(entry.tag, entry.how) for entry in self.look("floating", Rule(hashes=True))})
        for name in self.names:  # moved by hand: the record does not know
            Publisher(self.registries()).move_tag(f"{self.server.host}/{self.space}/{name}", self.sets[HASH][name], "floating")
        self.assertEqual({(HASH, "digest")}, {(entry.tag, entry.how) for entry in self.look("floating", Rule(hashes=True))})
        with self.assertRaises(ContentError):
            self.look("floating", Rule(hashes=True, pattern="never"))

    def test_a_label_is_believed_only_with_the_digest(self) -> None:
        for name in self.names:
            image, blobs = make_image(random_bytes(name, 100), labels={"version": "1" * 40, "release": "22222222"})
            publisher = Publisher(self.registries())
            digest = publisher.publish(f"{self.server.host}/{self.space}/{name}", image, blobs, ["labelled"]).digest
        with self.assertRaises(ContentError) as caught:
            self.look("labelled", Rule(label="{version}_{release}"))
        self.assertIn("that tag is not this image", str(caught.exception))
        for name in self.names:
            digest = self.client().head(f"{self.space}/{name}", "labelled")
            Publisher(self.registries()).move_tag(f"{self.server.host}/{self.space}/{name}", digest, HASH)
        self.assertEqual({(HASH, "label")}, {(entry.tag, entry.how) for entry in self.look("labelled", Rule(label="{version}_{release}"))})

    def test_missing_images_are_told_apart(self) -> None:
        self.client().delete_tag(f"{self.space}/nova-api", HASH)
        found = {entry.image.name: entry.digest for entry in self.look(HASH)}
        self.assertEqual({"nova-api": None, "nova-compute": self.sets[HASH]["nova-compute"]}, found)

    def test_stable_tags_go_by_version_order(self) -> None:
        client = self.client()
        for name in self.names:
            manifest = client.manifest(f"{self.space}/{name}", HASH)
            for tag in ("1.9", "1.10", "1.10-2", "1.2", "latest"):
                client.put_manifest(f"{self.space}/{name}", tag, manifest.body, manifest.media_type, read_back=False)
        self.assertEqual({"1.10-2"}, {entry.tag for entry in self.look("x", Rule(stable=True))})

    def test_external_images_are_left_alone(self) -> None:
        outside = ListedImage("ceph", "quay.invalid/ceph/daemon:v1", external=True)
        self.assertEqual("quay.invalid/ceph/daemon:v1", self.look(HASH, Rule(), outside)[-1].pinned)

    def test_small_parts(self) -> None:
        self.assertEqual("v1.10", newest_version(["v1.9", "v1.10", "x"]))
        self.assertIsNone(newest_version(["latest"]))
        self.assertEqual("a_b", fill_labels("{x}_{y}", {"x": "a", "y": "b"}))
        self.assertEqual("a", fill_labels("x", {"x": "a"}))
        self.assertIsNone(fill_labels("{x}_{z}", {"x": "a"}))
