"""Garbage collection in a real registry."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from tests.functional.promotion.base import SetCase
from tests.functional.registry.base import make_image, random_bytes
from topcoat.errors import ContentError
from topcoat.garbage import Collector, KeepRules
from topcoat.garbage.rules import subject_of
from topcoat.garbage.scope import repositories_of
from topcoat.model import Base, ImageReference, Profile, beside
from topcoat.promotion import Request
from topcoat.publisher import Publisher
from topcoat.registry import append_layer, digest_of, with_labels
from topcoat.registry.oci import OCI_INDEX, OCI_LAYER_GZIP, Descriptor, index_manifest, referrers_tag
from topcoat.registry.tagged import TaggedDocuments

OLD = KeepRules(tags=frozenset({"open-1"}), younger_than=0, newest=0)
LATER = 10.0


class Collecting(SetCase):
    names = ("base", "nova-api")

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.paths = [f"{self.space}/{name}" for name in self.names]

    def collect(self, rules: KeepRules = OLD, **options):
        return Collector(self.client(), self.space).collect(self.paths, rules, now=time.time() + LATER, **options)

    def test_promoted_sets_and_open_buildsets_stay_the_rest_goes(self) -> None:
        sets = {tag: self.push_set(self.space, tag) for tag in ("hash-1", "hash-2", "hash-3", "hash-4", "open-1", "closed-1")}
        for tag in ("hash-1", "hash-2", "hash-3"):
            self.promoter(self.space).promote(Request(tag, "floating"))
        would = self.collect()
        self.assertTrue(would.dry_run)
        expected = {f"{path}:{tag}" for path in self.paths for tag in ("hash-1", "hash-4", "closed-1")}
        # the artifacts attached to what goes go with it
        subjects = {sets[tag][name] for name in self.names for tag in ("hash-1", "hash-4", "closed-1")}
        attached = {f"{path}:{tag}" for path in self.paths for tag in self.client().tags(path) if subject_of(tag) in subjects}
        self.assertLess({f"{self.space}/base:{referrers_tag(sets['hash-1']['base'])}"}, attached)
        self.assertEqual(expected | attached, set(would.untagged))
        self.assertIn("closed-1", self.client().tags(self.paths[0]))

        done = self.collect(dry_run=False)
        self.assertEqual(set(would.untagged), set(done.untagged))
        self.assertEqual((sorted(would.condemned), []), (sorted(done.condemned), done.deleted))
        later = Collector(self.client(), self.space).collect(self.paths, OLD, dry_run=False, now=time.time() + 7200)
        self.assertEqual(sorted(done.condemned), sorted(later.deleted))
        client = self.client()
        for name, path in zip(self.names, self.paths, strict=True):
            self.assertEqual({"hash-2", "hash-3", "open-1", "floating"}, {tag for tag in client.tags(path) if not tag.startswith("sha256-")})
            for tag in ("hash-1", "hash-4", "closed-1"):
                self.assertIsNone(client.head(path, sets[tag][name]))
            for tag in ("hash-2", "hash-3", "open-1"):
                self.assertEqual({"inventory": name.encode()}, Publisher(self.registries()).inventory(f"{self.server.host}/{path}", sets[tag][name]))
        self.promoter(self.space).rollback("floating")
        self.assertEqual(sets["hash-2"], self.shown(self.space, "floating"))

    def test_a_set_that_moved_in_parts_stays_whole_under_its_old_names_too(self) -> None:
        sets = {tag: self.push_set(self.space, tag) for tag in ("daily", "weekly-1", "weekly-2", "weekly-3")}
        self.promoter(self.space).promote(Request("daily", "floating"))
        for tag in ("weekly-1", "weekly-2", "weekly-3"):
            self.promoter(self.space, ("base",)).promote(Request(tag, "floating", partial=True))
        old_name = f"{self.space}/api-of-nova"
        digest = sets["daily"]["nova-api"]
        source = ImageReference(self.server.host, f"{self.space}/nova-api", digest=digest)
        for tag in ("floating", "closed-1"):
            Publisher(self.registries()).copy(source, ImageReference(self.server.host, old_name, tag))
        image, blobs = make_image(random_bytes("older", 500))
        Publisher(self.registries()).publish(f"{self.server.host}/{old_name}", image, blobs, ["closed-2"])
        self.paths.append(old_name)
        self.collect(dry_run=False, aliases={old_name: f"{self.space}/nova-api"})
        self.assertEqual({"base": sets["weekly-3"]["base"], "nova-api": digest}, self.shown(self.space, "floating"))
        tags = {path: {tag for tag in self.client().tags(path) if not tag.startswith("sha256-")} for path in self.paths}
        base, api = self.paths[:2]
        self.assertEqual({base: {"floating", "weekly-2", "weekly-3"}, api: {"floating", "daily"}, old_name: {"floating", "closed-1"}}, tags)

    def test_a_kept_image_that_does_not_answer_afterwards_is_an_error(self) -> None:
        self.push_set(self.space, "open-1")
        self.push_set(self.space, "closed-1")
        client = self.client()
        lost = client.manifest(self.paths[1], "open-1").blobs[-1].digest
        data = self.server.storage / f"docker/registry/v2/blobs/sha256/{lost[7:9]}/{lost[7:]}/data"
        data.rename(data.with_suffix(".away"))
        with self.assertRaises(ContentError) as caught:
            self.collect(dry_run=False)
        self.assertIn(f"{self.paths[1]}@{lost}", str(caught.exception))
        data.with_suffix(".away").rename(data)
        self.assertEqual(self.collect(dry_run=False).checked, self.collect(dry_run=False).kept)

    def test_packages_that_are_kept_beside_the_images_are_never_looked_at(self) -> None:
        self.push_set(self.space, "review-1")
        client = self.client()
        for name in (beside.KEPT, beside.CHANGELOGS, "left-the-tree"):
            TaggedDocuments(client, f"{self.space}/{name}").write("november", "application/vnd.topcoat.kept.v1+json", {})
        profile = Profile("test", "demo", "9", "x86_64", Base("x/y"), (), self.server.host, self.space)
        found = repositories_of(client, profile, self.names, (), say=self.fail)
        self.assertEqual(sorted((f"{self.space}/left-the-tree", f"{self.space}/{beside.RUNS}", *self.paths)), found)

    def test_a_dry_run_writes_nothing(self) -> None:
        self.push_set(self.space, "one")
        client = self.client()
        Collector(client, self.space).collect(self.paths, OLD, now=time.time() + LATER)
        self.assertLessEqual(set(client.traffic.requests), {"GET", "HEAD"})

    def test_a_tag_is_as_old_as_the_collection_knows_it(self) -> None:
        # images made long ago under a tag of today: the date inside would be wrong
        self.push_set(self.space, "review-1")
        rules = KeepRules(younger_than=100.0, newest=0)
        first = Collector(self.client(), self.space).collect(self.paths, rules, dry_run=False, now=1000.0)
        self.assertEqual([], first.untagged)
        self.push_set(self.space, "review-2")
        second = Collector(self.client(), self.space).collect(self.paths, rules, dry_run=False, now=1101.0)
        self.assertEqual({f"{path}:review-1" for path in self.paths}, {entry for entry in second.untagged if "sha256-" not in entry})

    def test_a_digest_that_a_kept_tag_shares_only_loses_the_tag(self) -> None:
        digests = self.push_set(self.space, "open-1")
        for name, digest in digests.items():
            Publisher(self.registries()).move_tag(f"{self.server.host}/{self.space}/{name}", digest, "closed-1")
        done = self.collect(dry_run=False)
        self.assertEqual({f"{path}:closed-1" for path in self.paths}, set(done.untagged))
        self.assertEqual([], done.condemned)
        self.assertEqual(digests, self.shown(self.space, "open-1"))

    def test_the_manifest_below_an_update_layer_stays(self) -> None:
        image, blobs = make_image(random_bytes("below", 1000))
        publisher = Publisher(self.registries())
        name = f"{self.server.host}/{self.space}/base"
        below = publisher.publish(name, image, blobs, ["closed-1"]).digest
        layer = b"update"
        above = with_labels(
            append_layer(image, Descriptor(OCI_LAYER_GZIP, digest_of(layer), len(layer)), digest_of(layer), created_by="x"),
            {"io.topcoat.update-base": below},
        )
        publisher.publish(name, above, {digest_of(layer): layer}, ["open-1"])
        done = self.collect(dry_run=False)
        self.assertEqual([f"{self.space}/base:closed-1"], done.untagged)
        self.assertEqual([], done.condemned)
        self.assertEqual(below, self.client().head(f"{self.space}/base", below))

    def test_what_an_index_needs_stays_and_an_index_that_comes_meanwhile_saves_its_images(self) -> None:
        client, publisher = self.client(), Publisher(self.registries())
        path, name = self.paths[0], f"{self.server.host}/{self.paths[0]}"
        entries = {}
        for arch in ("amd64", "arm64", "s390x"):
            image, blobs = make_image(random_bytes(arch, 500), architecture=arch)
            published = publisher.publish(name, image, blobs, [f"closed-{arch}"])
            publisher.attach_inventory(name, published.digest, {"inventory": arch.encode()})
            entries[arch] = replace(client.manifest(path, published.digest).descriptor, platform=(("architecture", arch), ("os", "linux")))
        client.put_manifest(path, "open-1", index_manifest([entries["amd64"], entries["arm64"]]), OCI_INDEX)

        def inventories() -> set[str]:
            return {arch for arch, entry in entries.items() if client.referrers(path, entry.digest)}

        first = self.collect(dry_run=False)
        self.assertLessEqual({f"{path}:closed-{arch}" for arch in entries}, set(first.untagged))
        self.assertEqual([f"{path}@{entries['s390x'].digest}"], [one for one in first.condemned if one.endswith(entries["s390x"].digest)])
        self.assertEqual({"amd64", "arm64"}, inventories())
        client.delete_tag(path, "open-1")
        client.put_manifest(path, "closed-2", index_manifest([entries["amd64"], entries["arm64"]]), OCI_INDEX)
        self.collect(dry_run=False)
        # both images of the index are condemned; before they are deleted a new set takes one of them
        late = Collector(client, self.space)
        deleting, took = late._delete_entry, []

        def push_then_delete(entry: str) -> bool:
            if not took:
                took.append(client.put_manifest(path, "open-1", index_manifest([entries["arm64"]]), OCI_INDEX))
            return deleting(entry)

        late._delete_entry = push_then_delete  # type: ignore[method-assign]
        done = Collector.collect(late, self.paths, OLD, dry_run=False, now=time.time() + 7200)
        self.assertIn(f"{path}@{entries['arm64'].digest}", done.spared)
        self.assertIn(f"{path}@{entries['amd64'].digest}", done.deleted)
        self.assertEqual(entries["arm64"].digest, client.head(path, entries["arm64"].digest))
        self.assertIsNone(client.head(path, entries["amd64"].digest))
        self.assertEqual({"inventory": b"arm64"}, publisher.inventory(name, entries["arm64"].digest))
        self.assertEqual({"arm64"}, inventories())

    def test_500_tags_while_someone_pushes(self) -> None:
        client = self.client()
        publisher = Publisher(self.registries())
        for number in range(25):
            image, blobs = make_image(random_bytes(("many", number), 200))
            for path in self.paths:
                body = publisher.publish(f"{self.server.host}/{path}", image, blobs, [f"old-{number}-0"]).digest
                manifest = client.manifest(path, body)
                for copy in range(1, 10):
                    client.put_manifest(path, f"old-{number}-{copy}", manifest.body, manifest.media_type, read_back=False)
        self.assertEqual(500, sum(len(client.tags(path)) for path in self.paths))
        stop = threading.Event()
        pushed: list[tuple[str, str, str]] = []

        def push() -> None:
            number = 0
            other = Publisher(self.registries())
            while not stop.is_set():
                path = self.paths[number % 2]
                if number % 3:  # a new image
                    image, blobs = make_image(random_bytes(("fresh", number), 200))
                else:  # a review that changes nothing gets its tag on an old image
                    image, blobs = make_image(random_bytes(("many", number % 25), 200))
                digest = other.publish(f"{self.server.host}/{path}", image, blobs, [f"new-{number}"]).digest
                pushed.append((path, f"new-{number}", digest))
                number += 1

        thread = threading.Thread(target=push)
        thread.start()
        try:
            rules = KeepRules(younger_than=5.0, newest=0)
            collector = Collector(self.client(), self.space)
            collector._first_seen = lambda: {f"old-{number}-{copy}": 0.0 for number in range(25) for copy in range(10)}
            done = collector.collect(self.paths, rules, dry_run=False)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(500, len(done.untagged))
        self.assertGreater(len(pushed), 3)
        for path, tag, digest in pushed:
            self.assertEqual(digest, client.head(path, tag), f"{path}:{tag}")
            for blob in client.manifest(path, digest, cached=False).blobs:
                self.assertTrue(client.has_blob(path, blob.digest))
