"""Moves a floating tag of a whole set of images from one state to another: all of them, or none.

This module must never report a state that it has not read from the registry.

Order: lock; undo what a killed promotion left; read; check everything; write down what will be done; move and read back; write the record; tell
DLRN; forget what was written down. Whatever fails after the first move brings every tag back. What cannot be brought back (the registry is gone)
stays written down in the registry, and the next promotion, from any machine, begins by undoing it.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.model import Digest
from topcoat.model.receipt import Receipt
from topcoat.promotion.control import PENDING, PREVIOUS, Lock
from topcoat.promotion.history import History
from topcoat.promotion.sets import ImageSet, SetRecord, check_receipt
from topcoat.promotion.target import Target
from topcoat.registry import Manifest

SCHEMA = "https://topcoat.dev/schemas/promotion/1"


@dataclass(frozen=True)
class Request:
    """What is to be promoted."""

    source: str
    """Tag whose images are promoted: a trunk hash or a buildset."""
    name: str
    """Floating tag."""
    receipt: Receipt | None = None
    inventories: bool = True
    """Each image must have its inventory attached."""
    wait_seconds: float = 0.0
    """How long to wait for another promoter of the same name."""
    partial: bool = False
    """The images are a part of what the floating tag stands for (a weekly rebuild of one class): the others stay in its record."""
    older: bool = False
    """The tag may go back to an older set."""
    entry: str = ""
    """Id of the history's entry that tells how it came here."""


@dataclass
class Promoted:
    """What became of it. ``state`` is ``promoted``, ``unchanged``, ``would-promote``, ``rolled-back`` or ``unknown``."""

    state: str
    source: str
    name: str
    images: int = 0
    moved: int = 0
    places: list[str] = field(default_factory=list)
    previous_source: str = ""
    changes: list[dict[str, str | None]] = field(default_factory=list)
    """Per image and place ``{"image", "place", "from", "to"}``."""
    recovered: list[str] = field(default_factory=list)
    """Sentences about what an earlier, broken promotion had left."""
    seconds: float = 0.0
    record: dict[str, object] | None = None
    """The set that the name stands for now, as its record in the registry says it; None where nothing was promoted."""
    before: dict[str, object] | None = None
    """The set that it stood for until now, likewise."""
    entry: str = ""
    """Id of the history's entry about this."""

    def as_dict(self) -> dict[str, object]:
        """For output and receipts."""
        return {"schema": SCHEMA, **self.__dict__, "seconds": round(self.seconds, 3)}

    def text(self) -> str:
        """For people."""
        where = ", ".join(self.places)
        moved = f"{self.moved} of {self.images} images moved in {where}, {self.seconds:.1f} s"
        lines = list(self.recovered)
        if self.state == "would-promote":
            lines += [f"{row['image']}: {row['from'] or '(none)'} -> {row['to'] or '(removed)'}" for row in self.changes]
            lines.append(f"would move {self.name} of {self.moved} images to {self.source} in {where}")
        elif self.state == "unchanged":
            lines.append(f"{self.name} is {self.source} already, {self.images} images in {where}")
        elif self.state == "rolled-back":
            lines.append(f"{self.name} is back at {self.source}, {moved}")
        else:
            before = f" (was {self.previous_source})" if self.previous_source else ""
            lines.append(f"{self.name} is {self.source} now{before}: {moved}")
        return "\n".join(lines)


class Promoter:
    """Promotes in one or several registries as one step."""

    def __init__(self, targets: Sequence[Target], *, say: Callable[[str], None] = lambda line: None) -> None:
        """:param targets: the first is the one that the source tag is read from; the others must hold the same digests."""
        self._targets = list(targets)
        self._say = say

    # ---- promote ----------------------------------------------------------------------------------------------------------------------------

    def promote(
        self,
        request: Request,
        *,
        allowed: Callable[[], None] = lambda: None,
        examine: Callable[[Mapping[str, Manifest]], None] = lambda manifests: None,
        prepare: Callable[[Mapping[str, Manifest]], None] = lambda manifests: None,
        announce: Callable[[], None] = lambda: None,
        dry_run: bool = False,
    ) -> Promoted:
        """Promote.

        :param allowed: raises when the criteria are not met; called under the lock, before anything is moved.
        :param examine: raises when something in the set may not be promoted; called under the lock, before anything is moved.
        :param prepare: brings the set into further registries; called after the source was read, before it is checked there.
        :param announce: tells DLRN; called last, its failure brings the tags back.
        :raises TopcoatError: nothing was moved, or everything was brought back; the text says which. ``HalfMovedError`` when it could not be.
        """
        begin = time.monotonic()
        if request.source == request.name:
            raise UsageError(f"{request.name} is to be promoted to itself", next_step="name the set by a tag of its own, such as a trunk hash")
        outcome = Promoted("unknown", request.source, request.name, places=[str(target.place) for target in self._targets])
        with contextlib.ExitStack() as stack:
            locks: list[Lock] = []
            if not dry_run:
                for target in sorted(self._targets, key=lambda target: str(target.place)):
                    locks.append(stack.enter_context(target.control.lock(request.name, wait=request.wait_seconds, say=self._say)))
                outcome.recovered = self.recover(request.name)
            manifests = self._targets[0].manifests(request.source)
            wanted = {image: manifest.digest for image, manifest in manifests.items()}
            if request.receipt:
                aliases = dict(self._targets[0].place.aliases)
                check_receipt(request.receipt, {image: digest for image, digest in wanted.items() if image not in aliases})
            outcome.images = len(wanted)
            shown = {target: target.digests(request.name) for target in self._targets}
            outcome.changes = [
                {"image": image, "place": str(target.place), "from": shown[target][image], "to": wanted[image]}
                for target in self._targets
                for image in sorted(wanted)
                if shown[target][image] != wanted[image]
            ]
            outcome.moved = len(outcome.changes)
            records = {target: target.control.read(request.name) for target in self._targets}
            known = next((record for record in records.values() if record), None)
            outcome.previous_source = known.source if known else ""
            first = records[self._targets[0]]
            outcome.before = first.as_dict() if first else None
            outcome.seconds = time.monotonic() - begin
            if outcome.changes and not request.older:
                self._require_newer(request, wanted, shown[self._targets[0]])
            allowed()
            examine(manifests)
            if dry_run:
                outcome.state = "would-promote" if outcome.changes else "unchanged"
                return outcome
            if not outcome.changes and all(record and record.source == request.source for record in records.values()):
                announce()  # an earlier run may have ended between the tags and DLRN; both are no-ops when done
                outcome.state, outcome.record = "unchanged", known.as_dict() if known else None
                return outcome
            prepare(manifests)
            for target in self._targets:
                target.check(manifests, inventories=request.inventories)
            for lock in locks:
                lock.require()
            written = self._apply(request, wanted, shown, records, announce)
            outcome.state, outcome.record = "promoted", written[self._targets[0]].as_dict()
        outcome.seconds = time.monotonic() - begin
        return outcome

    def _require_newer(self, request: Request, wanted: Mapping[str, Digest], shown: Mapping[str, Digest | None]) -> None:
        """A floating tag moves forward only, unless somebody says otherwise.

        The registry's own record speaks first: what was promoted before the present set is older. Else the newest of the images that would move is
        compared with the newest of those that they would replace.

        :raises ContentError: the candidate is older.
        """
        target = self._targets[0]
        before = target.control.read(request.name + PREVIOUS)
        current = target.control.read(request.name)
        back = before is not None and current is not None and before.source == request.source != current.source
        if current is not None and not back and request.source != current.source:
            # deeper than one step back only the history knows
            back = History(target.control).promoted_before(request.name, request.source, current.time) is not None
        moves = {image: digest for image, digest in wanted.items() if shown[image] not in (None, digest) and image not in dict(target.place.aliases)}
        ours, theirs = target.newest(moves), target.newest({image: digest for image, digest in shown.items() if digest and image in moves})
        if back:
            cause = f"{request.name} showed it before it showed {current.source if current else 'the present set'}"
        elif ours and theirs and ours < theirs:
            cause = f"its newest image is of {ours}, that of the present set of {theirs}"
        else:
            return
        raise OlderError(
            f"{request.source} is older than what {request.name} shows: {cause}",
            next_step="promote a newer set; --rollback brings the set before back, --older goes back to this one on purpose",
        )

    def _apply(
        self,
        request: Request,
        wanted: Mapping[str, Digest],
        shown: Mapping[Target, Mapping[str, Digest | None]],
        records: Mapping[Target, SetRecord | None],
        announce: Callable[[], None],
    ) -> dict[Target, SetRecord]:
        """Move everything, or nothing; the records that were written. Nothing may fail any more once it is done."""
        plans = {target: self._record(request, target, wanted, shown[target], records[target]) for target in self._targets}
        begun: list[Target] = []
        written: dict[Target, SetRecord] = {}
        try:
            for target, plan in plans.items():
                begun.append(target)
                target.control.write(request.name + PENDING, plan)
            for target in plans:
                moves = {image: digest for image, digest in wanted.items() if shown[target][image] != digest}
                self._say(f"{target.place}: moving {request.name} of {len(moves)} images")
                target.move(request.name, moves)
            for target, plan in plans.items():
                before = records[target]
                if before and before.source != request.source:
                    target.control.write(request.name + PREVIOUS, before)
                written[target] = plan.over(before) if request.partial else plan
                target.control.write(request.name, written[target])
            announce()
        except BaseException as error:
            self._undo(request.name, plans, begun, records, error)
            raise
        for target in self._targets:
            self._forget(target, request.name)
        return written

    def _record(
        self, request: Request, target: Target, wanted: Mapping[str, Digest], shown: Mapping[str, Digest | None], before: SetRecord | None
    ) -> SetRecord:
        return SetRecord(
            request.name,
            request.source,
            ImageSet.of(wanted),
            target.place.repositories,
            ImageSet.of({image: digest for image, digest in shown.items() if digest is not None}),
            before.source if before else "",
            round(time.time(), 3),
            who(),
            request.entry,
        )

    # ---- undo and recover -------------------------------------------------------------------------------------------------------------------

    def _undo(
        self,
        name: str,
        plans: Mapping[Target, SetRecord],
        begun: Iterable[Target],
        records: Mapping[Target, SetRecord | None],
        error: BaseException,
    ) -> None:
        """After a failure: every tag back to what it showed. Raises in place of ``error`` with the truth about the outcome."""
        problems: list[str] = []
        for target in begun:
            try:
                problems += self._restore(target, plans[target], records[target])
            except TopcoatError as failed:
                problems.append(f"{target.place}: {failed.what}")
        said = error.what if isinstance(error, TopcoatError) else f"interrupted ({type(error).__name__})"
        if problems:
            raise HalfMovedError(
                f"promotion of {name} failed ({said}) and bringing the old set back failed too: {'; '.join(problems[:5])}",
                next_step=f"run the promotion again when the registry answers: it begins by bringing {name} into one state",
            ) from error
        kind = type(error) if isinstance(error, ContentError) else InfrastructureError
        raise kind(f"promotion of {name} failed: {said}; every tag shows the previous set again", next_step="run the promotion again") from error

    def _restore(self, target: Target, plan: SetRecord, before: SetRecord | None) -> list[str]:
        """Bring one place back to ``plan.previous`` and its record to ``before``, then forget the plan."""
        problems = target.restore(plan.name, plan.previous.as_dict(), plan.images.as_dict())
        if problems:
            return [f"{target.place}: {problem}" for problem in problems]
        current = target.control.read(plan.name)
        if current and current.is_result_of(plan):
            if before:
                target.control.write(plan.name, before)
            else:
                target.control.clear(plan.name)
        target.control.clear(plan.name + PENDING)
        return []

    def _forget(self, target: Target, name: str) -> None:
        """The promotion is done; a note that cannot be removed does no harm, the next run sees that the record is the same and drops it."""
        with contextlib.suppress(TopcoatError):
            target.control.clear(name + PENDING)

    def recover(self, name: str) -> list[str]:
        """Bring what a killed promotion left into one state. The caller holds the lock.

        Where its record was already written in every place, the promotion was complete and stays; else every place goes back to the set before.

        :returns: sentences about what was found and done.
        """
        plans = {target: target.control.read(name + PENDING) for target in self._targets}
        pending = {target: plan for target, plan in plans.items() if plan}
        if not pending:
            return []
        records = {target: target.control.read(name) for target in pending}
        complete = len(pending) == len(plans) and all(record and record.is_result_of(pending[target]) for target, record in records.items())
        done = []
        for target, plan in pending.items():
            if complete:
                self._forget(target, name)
                done.append(f"{target.place}: an earlier promotion of {plan.source} to {name} was complete but not signed off")
                continue
            known = Target(_place_of(target, plan), target.client)
            record = records[target]
            if record and not record.is_result_of(plan) and _shows(known, record, plan):
                # nothing is half moved: the promotion never began, or its plan came back (a copy, a backup) when others had ended
                self._forget(target, name)
                done.append(f"{target.place}: a promotion of {plan.source} to {name} by {plan.by} moved nothing that is not as its record says")
                continue
            problems = self._restore(known, plan, self._before(known, plan))
            if problems:
                raise HalfMovedError(
                    f"an earlier promotion to {name} was killed, and bringing the old set back failed: {'; '.join(problems[:5])}",
                    next_step="run again when the registry answers",
                )
            done.append(f"{target.place}: a promotion of {plan.source} to {name} by {plan.by} was cut off; the set before it is back")
        for line in done:
            self._say(line)
        return done

    def _before(self, target: Target, plan: SetRecord) -> SetRecord | None:
        """The record that stood before a cut-off promotion."""
        current = target.control.read(plan.name)
        if current is None or not current.is_result_of(plan):
            return current
        previous = target.control.read(plan.name + PREVIOUS)
        return previous if previous and previous.images.holds(plan.previous) else None

    # ---- roll back by hand --------------------------------------------------------------------------------------------------------------------

    def rollback(self, name: str, *, dry_run: bool = False, wait_seconds: float = 0.0) -> Promoted:
        """Bring the set back that was there before the last promotion.

        :raises ContentError: there is no earlier set.
        """
        begin = time.monotonic()
        outcome = Promoted("unknown", "", name, places=[str(target.place) for target in self._targets])
        with contextlib.ExitStack() as stack:
            if not dry_run:
                for target in sorted(self._targets, key=lambda target: str(target.place)):
                    stack.enter_context(target.control.lock(name, wait=wait_seconds, say=self._say))
                outcome.recovered = self.recover(name)
            records = {target: (target.control.read(name), target.control.read(name + PREVIOUS)) for target in self._targets}
            for target, (current, previous) in records.items():
                if not current or not previous:
                    raise ContentError(f"{target.place} has no set before {name}", next_step="promote an older hash by its tag instead")
                outcome.source, outcome.previous_source = previous.source, current.source
                outcome.changes += [
                    {"image": image, "place": str(target.place), "from": digest, "to": previous.images.as_dict().get(image)}
                    for image, digest in current.images.digests
                    if previous.images.as_dict().get(image) != digest
                ]
            outcome.moved, outcome.images = len(outcome.changes), len(next(iter(records.values()))[0].images.digests)  # type: ignore[union-attr]
            if dry_run:
                outcome.state = "would-promote"
                return outcome
            for target, (current, previous) in records.items():
                assert current and previous
                known = Target(_place_of(target, current), target.client)
                target.control.write(name + PENDING, current)
                problems = known.restore(name, previous.images.as_dict(), current.images.as_dict())
                if problems:
                    raise HalfMovedError(f"rolling {name} back failed: {'; '.join(problems[:5])}", next_step="run the rollback again")
                target.control.write(name, previous)
                target.control.clear(name + PREVIOUS)
                self._forget(target, name)
        outcome.state = "rolled-back"
        outcome.seconds = time.monotonic() - begin
        return outcome


class OlderError(ContentError):
    """A set that is older than what the name shows."""


class HalfMovedError(InfrastructureError):
    """Tags may show two sets at once, and the registry did not let us repair it now. What to repair is written down in the registry."""

    def __init__(self, what: str, *, next_step: str) -> None:
        super().__init__(what, retriable=False, next_step=next_step)


def _shows(target: Target, record: SetRecord, plan: SetRecord) -> bool:
    """Whether the floating tag of every image that a record or a plan names shows what the record says, and none where it says nothing."""
    wanted = record.images.as_dict()
    named = wanted.keys() | plan.images.as_dict().keys()
    names = {image: place for one in (plan, record) for image, place in one.repositories if image in named}
    return Target(replace(target.place, repositories=tuple(sorted(names.items()))), target.client).digests(record.name) == {
        image: wanted.get(image) for image in names
    }


def _place_of(target: Target, plan: SetRecord):  # type: ignore[no-untyped-def]
    """The place with the repositories that a record names: images may have left the list since."""
    from topcoat.promotion.target import Place

    return Place(target.place.host, target.place.namespace, plan.repositories, target.place.aliases)


def who() -> str:
    """The person, machine and process that does it, for records."""
    with contextlib.suppress(KeyError, OSError):
        return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"
    return f"{socket.gethostname()}:{os.getpid()}"
