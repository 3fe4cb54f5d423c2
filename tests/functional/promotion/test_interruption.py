"""A promotion that is cut at every single HTTP request in turn: whole old set or whole new set, and the tool says which."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import replace

from tests.functional.promotion.base import SetCase
from tests.functional.registry.base import QUICK
from tests.functional.registry.faults import Fault
from topcoat.errors import ContentError, TopcoatError
from topcoat.promotion import Control, HalfMovedError, Promoter, Request, Target
from topcoat.registry import Credentials, RegistryClient
from topcoat.registry.tls import Tls

ONCE = replace(QUICK, attempts=1)


class EveryRequest(SetCase):
    names = ("base", "nova-api")

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.sets = {tag: self.push_set(self.space, tag) for tag in ("one", "two")}
        self.spoiler = self.proxy()
        self.tls = Tls(self.spoiler.ca_file)
        self.credentials = Credentials.from_authfile(self.proxied_authfile(self.spoiler))
        # each promotion is another process to the lock, one that is dead when the next begins, as after a kill
        gone = subprocess.Popen(["true"])
        gone.wait()
        self.dead = gone.pid
        self.direct = self.client()

    def through_the_proxy(self, limits=ONCE, names: tuple[str, ...] = ()) -> Promoter:
        client = RegistryClient(self.spoiler.host, self.credentials, tls=self.tls, limits=limits)
        self.addCleanup(client.close)
        return Promoter([Target(self.place(self.space, self.spoiler.host, names), client, workers=2, pid=self.dead)])

    def show(self) -> dict[str, str | None]:
        return {name: self.direct.head(f"{self.space}/{name}", "floating") for name in self.names}

    def clear(self) -> None:
        """As if there had never been a promotion."""
        for name in self.names:
            self.direct.delete_tag(f"{self.space}/{name}", "floating")
        for left in self.direct.tags(f"{self.space}/topcoat-promotions"):
            self.direct.delete_tag(f"{self.space}/topcoat-promotions", left)

    def cut_everywhere(self, fault: Fault, *, for_ever: bool, limits=ONCE, first_ever: bool = False) -> dict[str, int]:
        """Cut request 1, 2, 3 ... until a promotion needs fewer requests than that; returns how often each state was left."""
        count = {"old": 0, "new": 0, "mixed": 0}
        source, other = "one", "two"
        if not first_ever:  # what was there before is not what is tried here
            self.through_the_proxy(QUICK).promote(Request(other, "floating", older=True))
        number = 0
        while True:
            number += 1
            if first_ever:
                self.clear()
            old = dict.fromkeys(self.names) if first_ever else self.sets[other]
            self.spoiler.forget()
            later = Fault(reset_before=True) if for_ever else None
            self.spoiler.rule = lambda request, n=number, later=later: fault if request.number == n else later if request.number > n else None
            error: TopcoatError | None = None
            try:
                self.through_the_proxy(limits).promote(Request(source, "floating", older=True))
            except TopcoatError as caught:
                error = caught
            reached = len(self.spoiler.seen) >= number
            self.spoiler.rule = lambda request: None
            shown = self.show()
            state = "new" if shown == self.sets[source] else "old" if shown == old else "mixed"
            count[state] += 1
            with self.subTest(number=number, state=state, error=str(error)):
                if error is None:
                    self.assertEqual("new", state, "it said promoted")
                elif isinstance(error, HalfMovedError):
                    self.assertTrue(for_ever, "one cut request must not leave the repair undone")
                else:
                    self.assertEqual("old", state, "it said that nothing moved, or that the previous set is back")
            with self.subTest(number=number, then="rerun"):
                outcome = self.through_the_proxy(QUICK).promote(Request(source, "floating", older=True))
                self.assertIn(outcome.state, ("promoted", "unchanged"))
                self.assertEqual(self.sets[source], self.show())
                self.assertIsNone(Control(self.direct, self.space).read("floating.pending"))
            if not reached:
                return count
            source, other = other, source

    def test_one_request_is_refused(self) -> None:
        count = self.cut_everywhere(Fault(status=500), for_ever=False)
        self.assertEqual(0, count["mixed"])
        self.assertGreater(count["old"], 10)

    def test_one_answer_is_lost(self) -> None:
        count = self.cut_everywhere(Fault(reset_after=True), for_ever=False)
        self.assertEqual(0, count["mixed"])

    def test_one_lost_answer_is_repaired_by_a_retry(self) -> None:
        count = self.cut_everywhere(Fault(reset_after=True), for_ever=False, limits=QUICK)
        self.assertEqual(0, count["old"] + count["mixed"])

    def test_the_registry_dies_at_each_request_and_the_next_run_repairs(self) -> None:
        self.cut_everywhere(Fault(reset_after=True), for_ever=True)

    def test_the_registry_dies_when_the_first_tag_has_moved_and_the_next_run_repairs(self) -> None:
        """Whatever way the threads run: one tag is new, the other old, and nobody is left to put that right but the next run."""
        self.through_the_proxy(QUICK).promote(Request("two", "floating", older=True))
        moved: list[int] = []

        def rule(request) -> Fault | None:  # type: ignore[no-untyped-def]
            if moved:
                return Fault(reset_before=True)
            if request.verb == "PUT" and request.target.endswith("/manifests/floating") and "/topcoat-promotions/" not in request.target:
                moved.append(request.number)
                return Fault(reset_after=True)
            return None

        self.spoiler.rule = rule
        with self.assertRaises(HalfMovedError):
            self.through_the_proxy().promote(Request("one", "floating", older=True))
        self.assertEqual(1, sum(digest == self.sets["one"][name] for name, digest in self.show().items()))
        self.spoiler.rule = lambda request: None
        self.through_the_proxy(QUICK).promote(Request("one", "floating", older=True))
        self.assertEqual(self.sets["one"], self.show())

    def test_the_first_promotion_ever_dies_at_each_request(self) -> None:
        self.cut_everywhere(Fault(reset_after=True), for_ever=True, first_ever=True)

    def test_a_rollback_dies_at_each_request_and_the_next_one_finishes_it(self) -> None:
        """Of a promotion of a part: what it had not moved must stay, whichever half of the work was done."""
        self.through_the_proxy(QUICK).promote(Request("two", "floating", older=True))
        part = {**self.sets["two"], "base": self.sets["one"]["base"]}
        number, finished = 0, False
        while not finished:
            number += 1
            self.through_the_proxy(QUICK, ("base",)).promote(Request("one", "floating", partial=True, older=True))
            self.assertEqual(part, self.show())
            self.spoiler.forget()
            self.spoiler.rule = lambda request, n=number: (
                Fault(reset_after=True) if request.number == n else Fault(reset_before=True) if request.number > n else None
            )
            with contextlib.suppress(TopcoatError):
                self.through_the_proxy().rollback("floating")
            finished = len(self.spoiler.seen) < number
            self.spoiler.rule = lambda request: None
            with self.subTest(number=number):
                with contextlib.suppress(ContentError):  # there is no earlier set when the first one had finished
                    self.through_the_proxy(QUICK).rollback("floating")
                self.assertEqual(self.sets["two"], self.show())
                self.assertEqual(self.sets["two"], Control(self.direct, self.space).read("floating").images.as_dict())
        self.assertGreater(number, 10)

    def test_a_promotion_of_a_part_dies_at_each_request(self) -> None:
        self.through_the_proxy(QUICK).promote(Request("two", "floating", older=True))
        part = {**self.sets["two"], "base": self.sets["one"]["base"]}
        number, finished = 0, False
        while not finished:
            number += 1
            self.through_the_proxy(QUICK).promote(Request("two", "floating", older=True))
            self.spoiler.forget()
            self.spoiler.rule = lambda request, n=number: (
                Fault(reset_after=True) if request.number == n else Fault(reset_before=True) if request.number > n else None
            )
            with contextlib.suppress(TopcoatError):
                self.through_the_proxy(ONCE, ("base",)).promote(Request("one", "floating", partial=True, older=True))
            finished = len(self.spoiler.seen) < number
            self.spoiler.rule = lambda request: None
            with self.subTest(number=number):
                self.through_the_proxy(QUICK, ("base",)).promote(Request("one", "floating", partial=True, older=True))
                self.assertEqual(part, self.show())
                record = Control(self.direct, self.space).read("floating")
                self.assertEqual(("one", part), (record.source, record.images.as_dict()))
                before = Control(self.direct, self.space).read("floating.previous")
                self.assertEqual(("two", self.sets["two"]), (before.source, before.images.as_dict()))
        self.assertGreater(number, 20)

    def test_two_registries_that_die_show_one_set_after_the_next_run(self) -> None:
        """Every third request, to save time: what each of them does in one registry is cut above."""
        spaces = (self.space, f"{self.space}-b")
        for tag in ("one", "two"):
            self.assertEqual(self.sets[tag], self.push_set(spaces[1], tag))

        def promoter(limits) -> Promoter:  # type: ignore[no-untyped-def]
            client = RegistryClient(self.spoiler.host, self.credentials, tls=self.tls, limits=limits)
            self.addCleanup(client.close)
            return Promoter([Target(self.place(space, self.spoiler.host), client, workers=2, pid=self.dead) for space in spaces])

        def show() -> list[dict[str, str | None]]:
            return [{name: self.direct.head(f"{space}/{name}", "floating") for name in self.names} for space in spaces]

        source, other = "one", "two"
        promoter(QUICK).promote(Request(other, "floating", older=True))
        number, finished, halves = 1, False, 0
        while not finished:
            self.spoiler.forget()
            self.spoiler.rule = lambda request, n=number: (
                Fault(reset_after=True) if request.number == n else Fault(reset_before=True) if request.number > n else None
            )
            error: TopcoatError | None = None
            try:
                promoter(ONCE).promote(Request(source, "floating", older=True))
            except TopcoatError as caught:
                error = caught
            finished = len(self.spoiler.seen) < number
            self.spoiler.rule = lambda request: None
            with self.subTest(number=number, error=str(error)):
                shown = show()
                halves += shown[0] != shown[1]
                if error is None:
                    self.assertEqual([self.sets[source]] * 2, shown, "it said promoted")
                elif not isinstance(error, HalfMovedError):
                    self.assertEqual([self.sets[other]] * 2, shown, "it said that nothing moved, or that the previous set is back")
                self.assertIn(promoter(QUICK).promote(Request(source, "floating", older=True)).state, ("promoted", "unchanged"))
                self.assertEqual([self.sets[source]] * 2, show())
            source, other = other, source
            number += 3
        self.assertGreater(halves, 0, "no cut fell between the two registries")
