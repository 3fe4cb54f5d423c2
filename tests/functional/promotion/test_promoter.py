"""Promotion of whole sets in real registries."""

from __future__ import annotations

import threading

from tests.functional.promotion.base import NAMES, SetCase
from tests.functional.registry.base import make_image
from tests.functional.registry.faults import Fault
from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.model import labels
from topcoat.model.receipt import ImageResult, Receipt
from topcoat.promotion import Control, Promoted, Promoter, Request, SetRecord, Target
from topcoat.publisher import Publisher
from topcoat.registry import oci


class Whole(SetCase):
    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.old = self.push_set(self.space, "old")
        self.new = self.push_set(self.space, "new")

    def test_a_set_moves_without_a_byte_of_a_layer(self) -> None:
        client = self.client()
        outcome = Promoter([Target(self.place(self.space), client)]).promote(Request("old", "floating"))
        self.assertEqual(("promoted", 3, 3), (outcome.state, outcome.images, outcome.moved))
        self.assertEqual(self.old, self.shown(self.space, "floating"))
        self.assertLessEqual(client.traffic.blob_bytes_sent, 2)  # the empty configuration {} of records
        self.assertEqual(0, client.traffic.blob_bytes_received)
        self.assertEqual(0, client.traffic.mounts)

    def test_a_second_run_changes_nothing(self) -> None:
        self.promoter(self.space).promote(Request("old", "floating"))
        client = self.client()
        outcome = Promoter([Target(self.place(self.space), client)]).promote(Request("old", "floating"))
        self.assertEqual(("unchanged", 0), (outcome.state, outcome.moved))
        self.assertEqual(1, client.traffic.requests["PUT"])  # the lock

    def test_the_previous_set_is_recorded_and_comes_back(self) -> None:
        self.promoter(self.space).promote(Request("old", "floating"))
        self.promoter(self.space).promote(Request("new", "floating"))
        self.assertEqual(self.new, self.shown(self.space, "floating"))
        record = Control(self.client(), self.space).read("floating")
        self.assertEqual(("new", "old", self.old), (record.source, record.previous_source, record.previous.as_dict()))
        would = self.promoter(self.space).rollback("floating", dry_run=True)
        self.assertEqual(("would-promote", 3), (would.state, would.moved))
        self.assertEqual(self.new, self.shown(self.space, "floating"))
        outcome = self.promoter(self.space).rollback("floating")
        self.assertEqual(("rolled-back", "old"), (outcome.state, outcome.source))
        self.assertEqual(self.old, self.shown(self.space, "floating"))
        with self.assertRaises(ContentError):
            self.promoter(self.space).rollback("floating")

    def test_dry_run_writes_nothing(self) -> None:
        client = self.client()
        outcome = Promoter([Target(self.place(self.space), client)]).promote(Request("old", "floating"), dry_run=True)
        self.assertEqual(("would-promote", 3), (outcome.state, outcome.moved))
        self.assertEqual(0, sum(client.traffic.requests[verb] for verb in ("PUT", "POST", "PATCH", "DELETE")))

    def test_an_image_without_the_hash_stops_everything(self) -> None:
        self.client().delete_tag(f"{self.space}/nova-api", "new")
        with self.assertRaises(ContentError) as caught:
            self.promoter(self.space).promote(Request("new", "floating"))
        self.assertIn("nova-api", str(caught.exception))
        self.assertEqual(dict.fromkeys(NAMES), self.shown(self.space, "floating"))

    def test_a_missing_inventory_stops_everything(self) -> None:
        tag = oci.referrers_tag(self.new["nova-compute"])
        self.client().delete_tag(f"{self.space}/nova-compute", tag)
        with self.assertRaises(ContentError) as caught:
            self.promoter(self.space).promote(Request("new", "floating"))
        self.assertIn("inventory", str(caught.exception))
        self.assertEqual(dict.fromkeys(NAMES), self.shown(self.space, "floating"))
        self.promoter(self.space).promote(Request("new", "floating", inventories=False))

    def test_a_lost_layer_stops_everything(self) -> None:
        client = self.client()
        manifest = client.manifest(f"{self.space}/nova-api", "new")
        lost = manifest.blobs[-1].digest.partition(":")[2]
        data = self.server.storage / f"docker/registry/v2/blobs/sha256/{lost[:2]}/{lost}/data"
        data.rename(data.with_suffix(".away"))
        with self.assertRaises(ContentError) as caught:
            self.promoter(self.space).promote(Request("new", "floating"))
        self.assertIn(f"nova-api: sha256:{lost}", str(caught.exception))
        self.assertEqual(dict.fromkeys(NAMES), self.shown(self.space, "floating"))

    def test_criteria_that_are_not_met_stop_everything(self) -> None:
        def refuse() -> None:
            raise ContentError("no vote from deploy")

        with self.assertRaises(ContentError):
            self.promoter(self.space).promote(Request("new", "floating"), allowed=refuse)
        self.assertEqual(dict.fromkeys(NAMES), self.shown(self.space, "floating"))

    def test_dlrn_is_told_last_and_its_failure_brings_the_tags_back(self) -> None:
        self.promoter(self.space).promote(Request("old", "floating"))
        seen = []

        def fail() -> None:
            seen.append(self.shown(self.space, "floating"))
            raise InfrastructureError("DLRN is away")

        with self.assertRaises(InfrastructureError) as caught:
            self.promoter(self.space).promote(Request("new", "floating"), announce=fail)
        self.assertEqual([self.new], seen)
        self.assertIn("previous set again", str(caught.exception))
        self.assertEqual(self.old, self.shown(self.space, "floating"))
        self.assertEqual("old", Control(self.client(), self.space).read("floating").source)

    def test_ctrl_c_brings_the_tags_back(self) -> None:
        self.promoter(self.space).promote(Request("old", "floating"))

        def interrupt() -> None:
            raise KeyboardInterrupt

        with self.assertRaises(TopcoatError) as caught:
            self.promoter(self.space).promote(Request("new", "floating"), announce=interrupt)
        self.assertIn("interrupted", str(caught.exception))
        self.assertEqual(self.old, self.shown(self.space, "floating"))

    def test_an_index_survives(self) -> None:
        client = self.client()
        children = []
        for architecture in ("amd64", "arm64"):
            image, blobs = make_image(architecture.encode() * 50, architecture=architecture)
            published = Publisher(self.registries()).publish(f"{self.server.host}/{self.space}/nova-api", image, blobs)
            platform = (("architecture", architecture), ("os", "linux"))
            manifest = client.manifest(f"{self.space}/nova-api", published.digest)
            children.append(oci.Descriptor(manifest.media_type, manifest.digest, len(manifest.body), platform=platform))
        digest = client.put_manifest(f"{self.space}/nova-api", "new", oci.index_manifest(children), oci.OCI_INDEX)
        self.promoter(self.space).promote(Request("new", "floating", inventories=False))
        self.assertEqual(digest, client.head(f"{self.space}/nova-api", "floating"))
        self.assertTrue(client.manifest(f"{self.space}/nova-api", "floating").is_index)

    def test_an_index_whose_child_is_for_another_platform_moves_nothing(self) -> None:
        client, path = self.client(), f"{self.space}/nova-api"
        image, blobs = make_image(b"amd64" * 50, architecture="amd64")
        child = client.manifest(path, Publisher(self.registries()).publish(f"{self.server.host}/{path}", image, blobs).digest)
        entries = [
            oci.Descriptor(child.media_type, child.digest, len(child.body), platform=(("architecture", architecture), ("os", "linux")))
            for architecture in ("amd64", "arm64")
        ]
        client.put_manifest(path, "new", oci.index_manifest(entries), oci.OCI_INDEX)
        with self.assertRaisesRegex(ContentError, f"nova-api: {child.digest} is for linux/amd64 and stands there for linux/arm64"):
            self.promoter(self.space).promote(Request("new", "floating", inventories=False))
        self.assertIsNone(client.head(path, "floating"))

    def test_an_image_that_was_copied_over_another_of_the_set_moves_nothing(self) -> None:
        client, publisher = self.client(), Publisher(self.registries())
        for label, problem in (("base", "nova-api shows base"), ("", "")):
            image, blobs = make_image(label.encode() * 50 + b"x")
            image = oci.with_labels(image, {labels.IMAGE: label}) if label else image
            for name in ("base", "nova-api"):
                publisher.publish(f"{self.server.host}/{self.space}/{name}", image, blobs, ["new"])
            with self.subTest(label):
                request = Request("new", "floating", inventories=False)
                if problem:
                    with self.assertRaisesRegex(ContentError, problem):
                        self.promoter(self.space).promote(request)
                    self.assertIsNone(client.head(f"{self.space}/nova-api", "floating"))
                else:  # of somebody else, and meant to be there twice
                    self.assertEqual("promoted", self.promoter(self.space).promote(request).state)

    def test_a_name_is_not_promoted_to_itself(self) -> None:
        with self.assertRaisesRegex(UsageError, "promoted to itself"):
            self.promoter(self.space).promote(Request("new", "new"))
        self.assertIsNone(Control(self.client(), self.space).read("new"))

    def receipt(self, digests: dict[str, str], status: str = "done") -> Receipt:
        images = tuple(ImageResult(name, "done", "build", "new-image", "", digest=digest) for name, digest in digests.items())
        return Receipt("demo", "new", status, 0.0, 1.0, images)

    def test_the_receipt_must_be_what_the_registry_shows(self) -> None:
        for digests, status, word in (
            (self.old, "done", "the receipt says"),
            ({name: self.new[name] for name in NAMES[1:]}, "done", "not in the receipt"),
            ({**self.new, "other": self.new["base"]}, "done", "not in the set"),
            (self.new, "failed", "ended as"),
        ):
            with self.subTest(word=word), self.assertRaises(ContentError) as caught:
                self.promoter(self.space).promote(Request("new", "floating", self.receipt(digests, status)))
            self.assertIn(word, str(caught.exception))
        self.assertEqual("promoted", self.promoter(self.space).promote(Request("new", "floating", self.receipt(self.new))).state)

    def test_an_image_that_left_the_list_is_still_rolled_back(self) -> None:
        self.promoter(self.space).promote(Request("old", "floating"))
        self.promoter(self.space).promote(Request("new", "floating"))
        self.promoter(self.space, NAMES[:1]).rollback("floating")
        self.assertEqual(self.old, self.shown(self.space, "floating"))


class Part(SetCase):
    """A weekly rebuild promotes one class of images; the record of the floating tag still names all of them."""

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.old = self.push_set(self.space, "old")
        self.new = self.push_set(self.space, "new")
        self.promoter(self.space).promote(Request("old", "floating"))
        self.mixed = {**self.old, "base": self.new["base"]}

    def part(self, **options: object) -> Promoted:
        return self.promoter(self.space, ("base",)).promote(Request("new", "floating", partial=True), **options)  # type: ignore[arg-type]

    def record(self) -> SetRecord:
        found = Control(self.client(), self.space).read("floating")
        assert found
        return found

    def test_the_others_stay_and_all_come_back(self) -> None:
        self.assertEqual(("promoted", 1), (self.part().state, self.part().images))
        self.assertEqual(self.mixed, self.shown(self.space, "floating"))
        self.assertEqual(("new", self.mixed), (self.record().source, self.record().images.as_dict()))
        self.assertEqual({f"{self.space}/{name}" for name in NAMES}, {repository for _, repository in self.record().repositories})
        self.promoter(self.space, ("base",)).rollback("floating")
        self.assertEqual((self.old, self.old), (self.shown(self.space, "floating"), self.record().images.as_dict()))

    def test_a_failure_after_the_record_was_written_brings_the_record_back(self) -> None:
        def fail() -> None:
            self.assertEqual(self.mixed, self.record().images.as_dict())
            raise InfrastructureError("DLRN is away")

        with self.assertRaises(InfrastructureError):
            self.part(announce=fail)
        self.assertEqual((self.old, self.old), (self.shown(self.space, "floating"), self.record().images.as_dict()))

    def test_a_promoter_that_died_after_the_record_was_written_had_finished(self) -> None:
        promoter = self.promoter(self.space, ("base",))
        promoter._forget = lambda target, name: None  # type: ignore[method-assign]  # as if it had been killed there
        promoter.promote(Request("new", "floating", partial=True))
        self.assertIsNotNone(Control(self.client(), self.space).read("floating.pending"))
        again = self.part()
        self.assertEqual("unchanged", again.state)
        self.assertIn("was complete", again.recovered[0])
        self.assertEqual(self.mixed, self.record().images.as_dict())


class Two(SetCase):
    def test_two_promoters_never_interleave(self) -> None:
        names = ("a", "b", "c")
        sets = {tag: self.push_set("race", tag, names) for tag in ("one", "two", "three")}
        barrier = threading.Barrier(3)
        results: list[str] = []

        def run(tag: str) -> None:
            promoter = Promoter([Target(self.place("race", names=names), self.client())])
            barrier.wait()
            try:
                results.append(promoter.promote(Request(tag, "floating", wait_seconds=30)).state)
            except InfrastructureError as error:
                results.append(str(error))

        threads = [threading.Thread(target=run, args=(tag,)) for tag in sets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(["promoted"] * 3, results)
        shown = self.shown("race", "floating", names)
        self.assertIn(shown, list(sets.values()))
        record = Control(self.client(), "race").read("floating")
        self.assertEqual(shown, record.images.as_dict())
        self.assertEqual(sets[record.previous_source], record.previous.as_dict())

    def test_who_does_not_wait_is_told_who_is_at_work(self) -> None:
        self.push_set("held", "one", ("a",))
        with Control(self.client(), "held").lock("floating"), self.assertRaises(InfrastructureError) as caught:
            self.promoter("held", ("a",)).promote(Request("one", "floating"))
        self.assertIn("being promoted by process", str(caught.exception))
        self.assertEqual("promoted", self.promoter("held", ("a",)).promote(Request("one", "floating")).state)


class Places(SetCase):
    def test_two_registries_move_as_one(self) -> None:
        # two namespaces stand for two registries: the promoter sees two places either way
        first, second = self.push_set("place-a", "one"), self.push_set("place-b", "one")
        self.assertEqual(first, second)
        targets = [Target(self.place(space), self.client()) for space in ("place-a", "place-b")]
        self.assertEqual(6, Promoter(targets).promote(Request("one", "floating")).moved)
        new = self.push_set("place-a", "two")
        with self.assertRaises(ContentError):
            Promoter(targets).promote(Request("two", "floating"))  # the second place does not hold it
        for space in ("place-a", "place-b"):
            self.assertEqual(first, self.shown(space, "floating"))

        def copy(manifests) -> None:
            from topcoat.model import ImageReference

            for name, manifest in manifests.items():
                Publisher(self.registries()).copy(
                    ImageReference(self.server.host, f"place-a/{name}", digest=manifest.digest),
                    ImageReference(self.server.host, f"place-b/{name}", "two"),
                )

        Promoter(targets).promote(Request("two", "floating"), prepare=copy)
        for space in ("place-a", "place-b"):
            self.assertEqual(new, self.shown(space, "floating"))

    def test_a_failure_in_the_second_registry_brings_the_first_back(self) -> None:
        first = self.push_set("pair-a", "one")
        self.push_set("pair-b", "one")
        targets = [Target(self.place(space), self.client()) for space in ("pair-a", "pair-b")]
        Promoter(targets).promote(Request("one", "floating"))
        self.push_set("pair-a", "two")
        self.push_set("pair-b", "two")
        move = targets[1].move

        def fail(tag: str, digests: dict[str, str]) -> None:
            if tag == "floating" and len(digests) > 1:
                raise InfrastructureError("the second registry is away")
            move(tag, digests)

        targets[1].move = fail
        with self.assertRaises(InfrastructureError):
            Promoter(targets).promote(Request("two", "floating"))
        for space in ("pair-a", "pair-b"):
            self.assertEqual(first, self.shown(space, "floating"))


class NoRightToDelete(SetCase):
    OPTIONS = {"storage": {"delete": {"enabled": False}}}

    def test_a_registry_that_deletes_nothing_is_no_obstacle(self) -> None:
        sets = {tag: self.push_set("undeletable", tag) for tag in ("one", "two")}
        for tag in ("one", "two"):
            self.assertEqual("promoted", self.promoter("undeletable").promote(Request(tag, "floating")).state)
        self.assertEqual(sets["two"], self.shown("undeletable", "floating"))
        self.promoter("undeletable").rollback("floating")
        self.assertEqual(sets["one"], self.shown("undeletable", "floating"))

    def test_nor_is_a_login_without_that_right(self) -> None:
        proxy = self.proxy(lambda request: Fault(status=403) if request.verb == "DELETE" else None)
        sets = {tag: self.push_set("forbidden", tag) for tag in ("one", "two")}
        client = self.proxied(proxy).client(proxy.host)
        for tag in ("one", "two"):
            Promoter([Target(self.place("forbidden", proxy.host), client)]).promote(Request(tag, "floating"))
        self.assertEqual(sets["two"], self.shown("forbidden", "floating"))
