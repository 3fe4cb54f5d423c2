"""A registry that lies, loses or refuses in the middle: a promotion, a collection and a run's floating tags never say what is not so."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
import unittest.mock
from types import SimpleNamespace

from tests.functional.promotion.base import NAMES, SetCase
from tests.functional.registry.base import make_image, random_bytes
from tests.functional.registry.faults import Fault, Request
from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.garbage import Collector, KeepRules
from topcoat.model import ImageReference, labels
from topcoat.promotion import Control, Entry, HalfMovedError, History, Promoter, Target
from topcoat.promotion import Request as Promotion
from topcoat.promotion.history import new_id
from topcoat.publisher import Publisher
from topcoat.registry import digest_of, oci
from topcoat.registry.oci import referrers_tag
from topcoat.runs.execute import _move

AMD64 = (("architecture", "amd64"), ("os", "linux"))
UNKNOWN = (("architecture", "unknown"), ("os", "unknown"))


class Lying(SetCase):
    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.old, self.new = self.push_set(self.space, "old"), self.push_set(self.space, "new")
        self.promoter(self.space).promote(Promotion("old", "floating"))

    def through(self, rule, names: tuple[str, ...] = NAMES, aliases: tuple[tuple[str, str], ...] = ()) -> Promoter:
        """A promoter behind a proxy."""
        proxy = self.proxy(rule)
        place = dataclasses.replace(self.place(self.space, proxy.host, names), aliases=aliases)
        return Promoter([Target(place, self.proxied(proxy).client(proxy.host))])

    def path(self, name: str, tag: str) -> str:
        return f"/{self.space}/{name}/manifests/{tag}"

    def test_head_that_lies_about_a_floating_tag_changes_nothing(self) -> None:
        for answer in (Fault(status=404), Fault(headers={"docker-content-digest": "sha256:" + "0" * 64})):
            with self.subTest(answer.status):

                def rule(request: Request, answer: Fault = answer) -> Fault | None:
                    return answer if request.verb == "HEAD" and request.target.endswith("/manifests/floating") else None

                self.assertEqual("promoted", self.through(rule).promote(Promotion("new", "floating")).state)
                self.assertEqual(self.new, self.shown(self.space, "floating"))
                self.promoter(self.space).rollback("floating")
                self.assertEqual(self.old, self.shown(self.space, "floating"))

    def test_get_that_lies_after_the_move_is_told_as_what_it_is(self) -> None:
        moved = []

        def rule(request: Request) -> Fault | None:
            if request.target.endswith(self.path("nova-api", "floating")):
                if request.verb == "PUT":
                    moved.append(request)
                elif request.verb == "GET" and moved:
                    return Fault(status=404)
            return None

        with self.assertRaises(HalfMovedError) as caught:
            self.through(rule).promote(Promotion("new", "floating"))
        self.assertNotIn("shows the previous set again", str(caught.exception))
        self.assertIn("contradict", f"{caught.exception} {caught.exception.__cause__}{getattr(caught.exception.__cause__, 'next_step', '')}")
        self.assertEqual(3, caught.exception.exit_code)
        # and the next one, when the registry tells the truth again, begins by bringing it into one state
        outcome = self.promoter(self.space).promote(Promotion("new", "floating"))
        self.assertTrue(outcome.recovered)
        self.assertEqual(self.new, self.shown(self.space, "floating"))

    def test_a_record_a_plan_or_a_hold_that_is_listed_and_not_sent_moves_nothing(self) -> None:
        control = Control(self.client(), self.space)
        History(control).set_hold("floating", "two breaks it", "x")
        record = control.read("floating")
        control.write("floating.pending", record)
        for part in ("floating", "floating.pending", "floating.hold"):
            with self.subTest(part):

                def absent(request: Request, part: str = part) -> Fault | None:
                    return Fault(status=404) if request.verb == "GET" and request.target.endswith(f"/topcoat-promotions/manifests/{part}") else None

                proxy = self.proxy(absent)
                lying = Control(self.proxied(proxy).client(proxy.host), self.space)
                with self.assertRaisesRegex(InfrastructureError, "lists the tag"):
                    History(lying).hold("floating") if part.endswith("hold") else lying.read(part)
                if not part.endswith("hold"):
                    with self.assertRaisesRegex(InfrastructureError, "lists the tag"):
                        self.through(absent).promote(Promotion("new", "floating"))
                self.assertEqual(self.old, self.shown(self.space, "floating"))

    def test_a_record_of_another_name_is_none_of_this_one(self) -> None:
        control = Control(self.client(), self.space)
        self.promoter(self.space).promote(Promotion("old", "other"))
        self.promoter(self.space).promote(Promotion("new", "other"))
        for tag, action in (
            ("floating.pending", lambda: self.promoter(self.space).promote(Promotion("new", "floating"))),
            ("floating.previous", lambda: self.promoter(self.space).rollback("floating")),
            ("floating", lambda: self.promoter(self.space).rollback("floating")),
        ):
            with self.subTest(tag):
                before = control.documents.manifest(tag)
                copied = control.read("other.previous" if tag.endswith("previous") else "other")
                control.write(tag, copied)
                with self.assertRaisesRegex(ContentError, f":{tag} is a record of 'other'") as caught:
                    action()
                self.assertIn("delete that tag", caught.exception.next_step)
                self.assertEqual((self.old, self.new), (self.shown(self.space, "floating"), self.shown(self.space, "other")))
                control.documents.clear(tag, "x")
                if before:
                    self.client().put_manifest(control.repository, tag, before.body, before.media_type)

    def test_a_plan_that_came_back_when_others_had_ended_moves_nothing(self) -> None:
        control = Control(self.client(), self.space)
        stale = dataclasses.replace(control.read("floating"), previous=control.read("floating").images.nothing(), time=1.0)
        self.push_set(self.space, "newest")
        self.promoter(self.space).promote(Promotion("new", "floating"))
        control.write("floating.pending", stale)
        with self.assertRaisesRegex(ContentError, "no vote"):

            def refuse() -> None:
                raise ContentError("no vote")

            self.promoter(self.space).promote(Promotion("newest", "floating"), allowed=refuse)
        self.assertEqual(self.new, self.shown(self.space, "floating"))
        self.assertEqual(("new", None), (control.read("floating").source, control.read("floating.pending")))
        outcome = self.promoter(self.space).promote(Promotion("newest", "floating"))
        self.assertEqual(("promoted", []), (outcome.state, outcome.recovered))

    def test_an_entry_of_another_names_history_is_none_of_this_one(self) -> None:
        history = History(Control(self.client(), self.space))
        entry = history.write(Entry(new_id("new", 1.0), "other", "promotion", "promoted", source="new", time=1.0, last=1.0, by="x"))
        documents = Control(self.client(), self.space).documents
        documents.write(f"floating.history-{entry.id}", "x", {labels.HISTORY: entry.to_json()})
        for read in (lambda: history.newest("floating", 1), lambda: history.promoted_before("floating", "new", 9.0)):
            with self.assertRaisesRegex(ContentError, "history of floating is that of 'other'"):
                read()

    def test_what_is_below_an_index_in_an_index_is_checked_and_statements_need_no_inventory(self) -> None:
        client, path = self.client(), f"{self.space}/nova-api"
        image = client.manifest(path, "new")
        lost = json.dumps({**image.document, "layers": [{**image.document["layers"][0], "digest": "sha256:" + "5" * 64}]}).encode()
        statement = oci.artifact_manifest("application/vnd.in-toto+json", (image.blobs[0],))
        client.put_manifest(path, digest_of(statement), statement, oci.OCI_MANIFEST)
        for below, problem in ((image.body, ""), (lost, "is missing")):
            # registries take an index without looking, and this one's garbage collection is of another kind
            with self.subTest(problem):
                answers = {digest_of(below): (oci.OCI_MANIFEST, below)}
                inner = oci.index_manifest([oci.Descriptor(oci.OCI_MANIFEST, digest_of(below), len(below), platform=AMD64)])
                answers[digest_of(inner)] = (oci.OCI_INDEX, inner)
                entries = [
                    oci.Descriptor(oci.OCI_INDEX, digest_of(inner), len(inner)),
                    oci.Descriptor(oci.OCI_MANIFEST, digest_of(statement), len(statement), platform=UNKNOWN),
                ]
                outer = oci.index_manifest(entries)
                answers["new"] = (oci.OCI_INDEX, outer)

                def rule(request: Request, answers: dict[str, tuple[str, bytes]] = answers) -> Fault | None:
                    head, _, target = request.target.rpartition("/")
                    if request.verb != "GET" or not head.endswith(f"/{path}/manifests") or target not in answers:
                        return None
                    kind, body = answers[target]
                    return Fault(status=200, headers={"content-type": kind}, body=body)

                proxy = self.proxy(rule)
                target = Target(self.place(self.space, proxy.host), self.proxied(proxy).client(proxy.host))
                if problem:
                    with self.assertRaisesRegex(ContentError, problem):
                        target.check(target.manifests("new"), inventories=True)
                else:
                    target.check(target.manifests("new"), inventories=True)

    def test_a_lock_that_was_lost_moves_nothing(self) -> None:
        control = Control(self.client(), self.space)

        def lose(_manifests: object) -> None:
            for tag in self.client().tags(control.repository):
                if ".lock-" in tag:
                    self.client().delete_tag(control.repository, tag)

        with self.assertRaisesRegex(InfrastructureError, "lock on floating was lost"):
            self.promoter(self.space).promote(Promotion("new", "floating"), prepare=lose)
        self.assertEqual(self.old, self.shown(self.space, "floating"))
        self.assertEqual("promoted", self.promoter(self.space).promote(Promotion("new", "floating")).state)

    def test_a_lock_lasts_as_long_as_its_process_works(self) -> None:
        control = Control(self.client(), self.space)
        with unittest.mock.patch("topcoat.promotion.control.LOCK_SECONDS", 0.3), control.lock("floating") as lock:
            first = lock.owner
            while lock.owner == first:
                time.sleep(0.05)
            lock.require()
            with self.assertRaises(InfrastructureError):
                self.promoter(self.space).promote(Promotion("new", "floating"))
        self.assertEqual([], [tag for tag in self.client().tags(control.repository) if ".lock-" in tag])

    def test_a_lock_of_a_clock_that_is_wrong_is_named_by_its_tag(self) -> None:
        control = Control(self.client(), self.space)
        with unittest.mock.patch("topcoat.promotion.control.LOCK_SECONDS", 1e9), control.lock("floating") as lock:
            pass_on = lock.tag
            with unittest.mock.patch("topcoat.promotion.control.LOCK_SECONDS", 900.0), self.assertRaises(InfrastructureError) as caught:
                self.promoter(self.space).promote(Promotion("new", "floating"))
        self.assertIn(f"delete the tag {self.server.host}/{control.repository}:{pass_on}", caught.exception.next_step)

    def test_a_process_of_another_container_of_this_machine_is_not_taken_for_dead(self) -> None:
        control = Control(self.client(), self.space)
        with control.lock("floating") as lock:
            assert lock.owner
            text = json.dumps(dataclasses.asdict(lock.owner))
            there = "import json, sys; from topcoat.promotion.control import Owner; print(Owner(**json.loads(sys.argv[1])).is_dead(0.0))"
            for words, dead in (([], "False"), (["unshare", "--pid", "--fork", "--mount-proc"], "False")):
                said = subprocess.run([*words, sys.executable, "-c", there, text], capture_output=True, text=True, check=True)
                self.assertEqual(dead, said.stdout.strip())
            gone = dataclasses.replace(lock.owner, pid=2**22 + 1)
            self.assertTrue(gone.is_dead(0.0))

    def test_a_blob_that_was_cut_off_on_the_registrys_disk_stops_everything(self) -> None:
        blob = self.client().manifest(f"{self.space}/nova-api", "new").blobs[-1]
        value = blob.digest.partition(":")[2]
        data = self.server.storage / f"docker/registry/v2/blobs/sha256/{value[:2]}/{value}/data"
        self.addCleanup(data.write_bytes, data.read_bytes())  # other tests of this registry hold the same blob
        data.write_bytes(data.read_bytes()[: blob.size // 2])
        with self.assertRaisesRegex(ContentError, f"nova-api: {blob.digest} has {blob.size // 2} bytes instead of {blob.size}") as caught:
            self.promoter(self.space).promote(Promotion("new", "floating"))
        self.assertTrue(caught.exception.next_step)
        self.assertEqual(self.old, self.shown(self.space, "floating"))

    def test_a_tag_does_not_go_back_unless_somebody_says_so(self) -> None:
        self.promoter(self.space).promote(Promotion("new", "floating"))
        with self.assertRaisesRegex(ContentError, "old is older than what floating shows") as caught:
            self.promoter(self.space).promote(Promotion("old", "floating"))
        self.assertIn("--older", caught.exception.next_step)
        self.assertEqual(self.new, self.shown(self.space, "floating"))
        self.promoter(self.space).promote(Promotion("old", "floating", older=True))
        self.assertEqual(self.old, self.shown(self.space, "floating"))

    def test_what_lies_inside_says_which_set_is_older(self) -> None:
        publisher = Publisher(self.registries())
        for tag, created in (("of-may", "2026-05-01T00:00:00Z"), ("of-june", "2026-06-01T02:00:00+02:00")):
            for name in NAMES:
                image, blobs = make_image(random_bytes("shared", 3000), random_bytes((name, tag), 1000))
                image = dataclasses.replace(image, config={**image.config, "created": created})
                publisher.publish(f"{self.server.host}/{self.space}/{name}", image, blobs, [tag])
        promoter = self.promoter(self.space)
        promoter.promote(Promotion("of-june", "floating", inventories=False))
        for dry in (False, True):
            with self.assertRaisesRegex(ContentError, "2026-05-01T00:00:00Z.*2026-06-01T00:00:00Z"):
                promoter.promote(Promotion("of-may", "floating", inventories=False), dry_run=dry)

    def test_an_old_name_that_refuses_moves_nothing(self) -> None:
        publisher = Publisher(self.registries())
        for tag, sets in (("new", self.new), ("floating", self.old)):
            source = ImageReference(self.server.host, f"{self.space}/nova-api", digest=sets["nova-api"])
            publisher.copy(source, ImageReference(self.server.host, f"{self.space}/api-of-nova", tag))

        def rule(request: Request) -> Fault | None:
            return Fault(status=500) if request.verb == "PUT" and "api-of-nova" in request.target else None

        names, aliases = (*NAMES, "api-of-nova"), (("api-of-nova", "nova-api"),)
        with self.assertRaisesRegex(InfrastructureError, "every tag shows the previous set again"):
            self.through(rule, names, aliases).promote(Promotion("new", "floating"))
        self.assertEqual({**self.old, "api-of-nova": self.old["nova-api"]}, self.shown(self.space, "floating", names))
        self.through(lambda request: None, names, aliases).promote(Promotion("new", "floating"))
        self.assertEqual({**self.new, "api-of-nova": self.new["nova-api"]}, self.shown(self.space, "floating", names))

    def test_floating_tags_of_a_run_move_all_or_none(self) -> None:
        puts = []

        def rule(request: Request) -> Fault | None:
            if request.verb == "PUT" and request.target.endswith("/manifests/floating"):
                puts.append(request.target)
                return Fault(status=400, body=b"no") if len(puts) == 2 else None
            return None

        proxy = self.proxy(rule)
        registries = self.proxied(proxy)
        works = SimpleNamespace(client=registries.client)
        done = {
            name: SimpleNamespace(stored=SimpleNamespace(host=proxy.host, repository=f"{self.space}/{name}", digest=digest))
            for name, digest in self.new.items()
        }
        with self.assertRaisesRegex(TopcoatError, "every tag shows again what it showed") as caught:
            _move(works, done, {}, ["next", "floating"])
        self.assertTrue(caught.exception.next_step)
        self.assertEqual(self.old, self.shown(self.space, "floating"))
        self.assertEqual(dict.fromkeys(NAMES), self.shown(self.space, "next"))
        self.assertEqual(("next", "floating"), _move(works, done, {}, ["next", "floating"]))
        self.assertEqual(self.new, self.shown(self.space, "floating"))

    # ---- collections ------------------------------------------------------------------------------------------------------------------------

    RULES = KeepRules(tags=frozenset({"other"}), younger_than=0, newest=0)

    def collect(self, rule=lambda request: None, *, later: float = 10.0, rules: KeepRules = RULES):
        proxy = self.proxy(rule)
        collector = Collector(self.proxied(proxy).client(proxy.host), self.space)
        return collector.collect([f"{self.space}/{name}" for name in NAMES], rules, dry_run=False, now=time.time() + later)

    def everything(self) -> dict[str, tuple[str, ...]]:
        return {name: self.client().tags(f"{self.space}/{name}") for name in NAMES}

    def test_a_tag_that_came_meanwhile_saves_its_manifest_whatever_head_says_of_it(self) -> None:
        client, path = self.client(), f"{self.space}/nova-api"
        spare = self.push_set(self.space, "spare")["nova-api"]
        self.collect()
        self.assertNotIn("spare", client.tags(path))
        body = client.manifest(path, spare)
        listed = []

        def rule(request: Request) -> Fault | None:
            if request.verb == "GET" and f"/{path}/tags/list" in request.target:
                listed.append(request)
                if len(listed) == 2:  # the first is of the reading, this one of the deletion
                    client.put_manifest(path, "again", body.body, body.media_type)
            return Fault(status=404) if request.verb == "HEAD" and request.target.endswith("/manifests/again") else None

        self.assertIn(f"{path}@{spare}", self.collect(rule, later=7200).spared)
        self.assertEqual(spare, client.shown(path, "again"))

    def test_an_image_of_a_kept_index_that_a_collection_lost_is_told(self) -> None:
        client, path = self.client(), f"{self.space}/nova-api"
        child = client.manifest(path, "new")
        entry = oci.Descriptor(oci.OCI_MANIFEST, child.digest, len(child.body), platform=AMD64)
        client.put_manifest(path, "kept", oci.index_manifest([entry]), oci.OCI_INDEX)
        client.delete_tag(path, "new")
        taken = []

        def rule(request: Request) -> Fault | None:
            if request.verb == "PUT" and "/topcoat-promotions/manifests/topcoat-gc.seen" in request.target and not taken:
                taken.append(client.delete_manifest(path, child.digest))  # as a registry does that deletes more than it was asked to
            return None

        rules = KeepRules(tags=frozenset({"kept"}), younger_than=0, newest=0)
        with self.assertRaisesRegex(ContentError, child.digest):
            self.collect(rule, rules=rules)

    def test_a_lock_that_is_listed_and_cannot_be_had_may_be_held(self) -> None:
        before = self.shown(self.space, "floating")
        with Control(self.client(), self.space).lock("floating"):

            def absent(request: Request) -> Fault | None:
                return Fault(status=404) if request.verb in ("GET", "HEAD") and f"/manifests/{theirs}" in request.target else None

            theirs = next(tag for tag in self.client().tags(f"{self.space}/topcoat-promotions") if ".lock-" in tag)
            with self.assertRaisesRegex(InfrastructureError, "somebody may be promoting floating") as caught:
                self.through(absent).promote(Promotion("new", "floating"))
            self.assertIn("delete that tag", caught.exception.next_step)
        self.assertEqual(before, self.shown(self.space, "floating"))
        self.assertEqual("promoted", self.promoter(self.space).promote(Promotion("new", "floating")).state)

    def test_an_entry_of_the_history_that_cannot_be_had_may_say_that_a_set_is_older(self) -> None:
        self.push_set(self.space, "newest")
        for source in ("new", "newest"):
            self.promoter(self.space).promote(Promotion(source, "floating"))
        before = self.shown(self.space, "floating")
        entry = Entry(new_id("old", 1.0), "floating", "promotion", "promoted", source="old", time=1.0, last=1.0, by="x")
        History(Control(self.client(), self.space)).write(entry)
        oldest = f"floating.history-{entry.id}"

        def absent(request: Request) -> Fault | None:
            return Fault(status=404) if request.verb in ("GET", "HEAD") and request.target.endswith(f"/manifests/{oldest}") else None

        with self.assertRaisesRegex(InfrastructureError, "answers 404") as caught:
            self.through(absent).promote(Promotion("old", "floating"))
        self.assertIn("contradict", caught.exception.next_step)
        self.assertEqual(before, self.shown(self.space, "floating"))

    def test_a_record_that_cannot_be_had_stops_a_collection(self) -> None:
        before = self.everything()

        def absent(request: Request) -> Fault | None:
            return Fault(status=404) if request.verb == "GET" and request.target.endswith("/topcoat-promotions/manifests/floating") else None

        def unlisted(request: Request) -> Fault | None:
            wanted = "/topcoat-promotions/tags/list" in request.target
            return Fault(status=200, headers={"content-type": "application/json"}, body=b'{"name": "x", "tags": []}') if wanted else None

        def hidden_tag(request: Request) -> Fault | None:
            return Fault(status=404) if request.verb in ("GET", "HEAD") and request.target.endswith(self.path("nova-api", "old")) else None

        named = KeepRules(tags=frozenset({"floating"}), younger_than=0, newest=0)
        for rule in (absent, unlisted, hidden_tag):
            with self.subTest(rule.__name__):
                with self.assertRaisesRegex(InfrastructureError, "list") as caught:
                    self.collect(rule, rules=named)
                self.assertIn("contradict", caught.exception.next_step)
                self.assertEqual(before, self.everything())

    def test_a_collection_that_was_cut_off_at_an_attached_list_is_finished_by_the_next(self) -> None:
        spare = self.push_set(self.space, "spare")
        tag = referrers_tag(spare["base"])

        def rule(request: Request) -> Fault | None:
            return Fault(status=500) if request.verb in ("PUT", "DELETE") and request.target.endswith(f"/base/manifests/{tag}") else None

        with self.assertRaises(InfrastructureError):
            self.collect(rule)
        self.assertNotIn("spare", self.client().tags(f"{self.space}/base"))
        self.assertIn(tag, self.client().tags(f"{self.space}/base"))
        for hours in (2, 4):
            self.collect(later=hours * 3600.0)
        self.assertNotIn(tag, self.client().tags(f"{self.space}/base"))
        self.assertIsNone(self.client().head(f"{self.space}/base", spare["base"]))
        self.assertEqual(self.old, self.shown(self.space, "floating"))

    def test_signatures_of_cosign_stay_with_what_they_sign(self) -> None:
        spare = self.push_set(self.space, "spare")
        publisher, paths = Publisher(self.registries()), {}
        for digest in (self.old["base"], spare["base"]):
            image, blobs = make_image(digest.encode())
            for kind in ("sig", "att", "sbom"):
                publisher.publish(f"{self.server.host}/{self.space}/base", image, blobs, [f"{referrers_tag(digest)}.{kind}"])
                paths[digest, kind] = f"{referrers_tag(digest)}.{kind}"
        self.collect()
        self.collect(later=7200.0)
        left = set(self.client().tags(f"{self.space}/base"))
        for (digest, _kind), tag in paths.items():
            self.assertEqual(digest == self.old["base"], tag in left, tag)
