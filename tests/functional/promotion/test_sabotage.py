"""A registry that lies, loses or refuses in the middle: a promotion, a collection and a run's floating tags never say what is not so."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

from tests.functional.promotion.base import NAMES, SetCase
from tests.functional.registry.base import make_image, random_bytes
from tests.functional.registry.faults import Fault, Request
from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.garbage import Collector, KeepRules
from topcoat.promotion import HalfMovedError, Promoter, Target
from topcoat.promotion import Request as Promotion
from topcoat.publisher import Publisher
from topcoat.registry.oci import referrers_tag
from topcoat.runs.execute import _move


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
            publisher.retag(self.server.host, f"{self.space}/nova-api", sets["nova-api"], f"{self.space}/api-of-nova", tag)

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
