"""Where a floating name stands: the sets that were tried under it, what became of each, and what keeps the next one from being promoted.

This module must never ask a server: it folds what the history tells and what the votes say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from topcoat.promotion.history import Entry, Hold, JobNote, notes
from topcoat.promotion.sets import SetRecord
from topcoat.trunk import DlrnPromotion
from topcoat.trunk.criteria import Criteria, Verdict

PHASES = {
    "pending": "jobs have still to vote, or one that failed may be tried again",
    "ready": "it meets the criteria, and the next promotion takes it",
    "promoting": "tags are moving, or a promotion was killed while they did; the next one repairs that first",
    "promoted": "the name shows it, or showed it until a newer set came",
    "rejected": "a required job failed as often as it may, or the set is too old; only a new set or a person's word changes that",
    "superseded": "a newer set took its place before it was promoted",
    "older": "it is older than what the name shows, and nobody asked to go back",
    "held": "somebody holds the name, so nothing is promoted to it",
    "failed": "the promotion itself broke off, and the tags show the set before",
    "rolled back": "it was promoted, and the name went back to the set before it",
}
"""Every phase of a set, with what it means."""
FINISHED = ("promoted", "rejected", "failed", "rolled back")
"""Phases that count as an outcome: a set that waits, or was passed by, says nothing about the state of the stream."""
WAITING = ("pending", "ready", "held", "failed", "promoting")
RECENT = 5
"""When none of so many finished sets was promoted, people must look."""


@dataclass(frozen=True)
class SetStanding:
    """One set in one stream. Times are seconds since the epoch."""

    source: str
    phase: str
    time: float
    """When it became a candidate, or was first tried."""
    last: float = 0.0
    """When something was last said about it."""
    attempts: int = 0
    """How often somebody tried to promote it."""
    override: str = ""
    by: str = ""
    sentence: str = ""
    jobs: tuple[JobNote, ...] = ()
    promoted: Entry | None = None
    """The entry of its last promotion."""
    entries: tuple[Entry, ...] = field(default=(), compare=False)
    """Everything the history tells of it, newest first."""

    def named(self, *states: str) -> tuple[JobNote, ...]:
        """Its required jobs in one of these states."""
        return tuple(job for job in self.jobs if job.kind == "blocking" and job.state in states)


@dataclass(frozen=True)
class Missing:
    """A required job that keeps the next set waiting, and what it said of the sets before, newest first: (source, state, address)."""

    job: str
    state: str
    url: str
    before: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Stream:
    """One floating name."""

    name: str
    sets: tuple[SetStanding, ...]
    """Newest first."""
    current: SetRecord | None = None
    begun: SetRecord | None = None
    """A promotion that moves tags now, or was killed while it did."""
    hold: Hold | None = None
    criteria: Criteria | None = None
    entries: tuple[Entry, ...] = ()
    """What happened to the name, newest first."""

    @property
    def queue(self) -> tuple[SetStanding, ...]:
        """Sets that may still be promoted, the next one first."""
        return tuple(one for one in self.sets if one.phase in WAITING)

    @property
    def ahead(self) -> SetStanding | None:
        """The newest set that something can be said of: what is to be done next is about it."""
        return next((one for one in self.sets if one.phase in (*WAITING, "promoted", "rejected")), None)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What the newest set that is not yet promoted still misses; nothing when the newest one is promoted."""
        ahead = self.ahead
        if ahead is None or ahead.phase == "promoted":
            return ()
        before = [one for one in self.sets if one.time < ahead.time][:RECENT]
        return tuple(
            Missing(
                job.job,
                job.state,
                job.url,
                tuple((one.source, other.state, other.url) for one in before for other in one.jobs if other.job == job.job),
            )
            for job in ahead.named("missing", "again", "failed")
        )

    @property
    def alarm(self) -> str:
        """A sentence when none of the last sets that came to an end was promoted; empty when all is well."""
        finished = [one for one in self.sets if one.phase in FINISHED]
        if len(finished) < RECENT or any(one.phase == "promoted" for one in finished[:RECENT]):
            return ""
        return f"None of the last {RECENT} sets was promoted."

    @property
    def advice(self) -> tuple[str, str]:
        """(what to do next in one sentence, the command for it; empty where nothing is to be done)."""
        if self.begun:
            return f"A promotion of {self.begun.source} has begun and not ended. If nobody is at work, promote again: that repairs it first.", ""
        if self.hold:
            return f"Held by {self.hold.by} since {self.hold.since}: {self.hold.reason}. When that is over:", f"topcoat hold {self.name} --release"
        ahead = self.ahead
        if ahead is None:
            return "Nothing was promoted yet, and nothing waits.", ""
        again = f"topcoat promote --from {ahead.source} --to {self.name}"
        if ahead.phase == "promoted":
            return "Nothing waits: the newest set is promoted.", ""
        if ahead.phase in ("ready", "held"):
            return f"{ahead.source} meets the criteria; the next run promotes it.", again
        if ahead.phase == "failed":
            return f"The promotion of {ahead.source} broke off: {ahead.sentence}. When the cause is away:", again
        waits, may, bad = (", ".join(job.job for job in ahead.named(state)) for state in ("missing", "again", "failed"))
        if ahead.phase == "pending":
            parts = [f"waits for {waits}"] * bool(waits) + [f"may be tried again: {may}"] * bool(may)
            return f"{ahead.source} {'; '.join(parts) or ahead.sentence}. Start what misses, or wait.", ""
        what = (
            f"{ahead.source} is rejected: {f'failed {bad}' if bad else ahead.sentence}. Repair that in the next set, or pass over it with a reason:"
        )
        return what, f'{again} --override "REASON"'


def stand(
    name: str,
    entries: Sequence[Entry],
    *,
    current: SetRecord | None = None,
    begun: SetRecord | None = None,
    hold: Hold | None = None,
    criteria: Criteria | None = None,
    candidates: Sequence[tuple[DlrnPromotion, Verdict]] = (),
) -> Stream:
    """Fold the history of a name, and the verdicts on candidates, into one line a set.

    :param entries: newest first. :param candidates: with what the criteria say of each now.
    """
    verdicts = {candidate.tag: (candidate, verdict) for candidate, verdict in reversed(candidates)}
    told: dict[str, list[Entry]] = {}
    gone = _rolled_back(entries)
    for entry in entries:
        if entry.source and entry.kind in ("promotion", "rollback"):
            told.setdefault(entry.source, []).append(entry)
    found = [
        _one(source, tuple(told.get(source, ())), *verdicts.get(source, (None, None)), begun=begun, left=gone.get(source, 0.0))
        for source in dict.fromkeys((*verdicts, *told))
    ]
    if current and current.source not in (one.source for one in found):  # promoted longer ago than the history was read, or before there was one
        found.append(SetStanding(current.source, "promoted", current.time, current.time, by=current.by))
    found.sort(key=lambda one: (-one.time, one.source))
    return Stream(name, tuple(_passed_by(found)), current, begun, hold, criteria, tuple(entries))


def _rolled_back(entries: Iterable[Entry]) -> dict[str, float]:
    """Source -> when the name last went back from it."""
    found: dict[str, float] = {}
    for entry in entries:
        if entry.kind == "rollback" and entry.state == "rolled-back":
            found[entry.previous_source] = max(entry.time, found.get(entry.previous_source, 0.0))
    return found


def _one(
    source: str, entries: tuple[Entry, ...], candidate: DlrnPromotion | None, verdict: Verdict | None, *, begun: SetRecord | None, left: float
) -> SetStanding:
    tried = [entry for entry in entries if entry.kind == "promotion"]
    promoted = next((entry for entry in tried if entry.state == "promoted"), None)
    newest = promoted or (tried[0] if tried else None)
    jobs = newest.jobs if newest else ()
    sentence = newest.sentence if newest else ""
    phase = {"begun": "promoting"}.get(newest.state, newest.state) if newest else "promoted" if entries else "pending"
    if verdict and not promoted:
        jobs, sentence = notes(verdict.jobs), verdict.sentence
        if not verdict.passed:
            phase = verdict.phase
        elif phase in ("pending", "rejected"):
            phase = "ready"
    if promoted and left > promoted.time:
        phase = "rolled back"
    if begun and begun.source == source:
        phase = "promoting"
    first = candidate.time if candidate else min((entry.time for entry in entries), default=0.0)
    return SetStanding(
        source,
        phase,
        first,
        max((entry.last for entry in entries), default=first),
        sum(entry.times for entry in tried),
        next((entry.override for entry in tried if entry.override), ""),
        newest.by if newest else "",
        sentence,
        jobs,
        promoted,
        entries,
    )


def _passed_by(newest_first: Iterable[SetStanding]) -> Iterable[SetStanding]:
    """A set that waits behind one that was promoted is not going to be."""
    promoted = False
    for one in newest_first:
        yield replace(one, phase="superseded") if promoted and one.phase in ("pending", "ready", "held") else one
        promoted = promoted or one.phase == "promoted"


def neighbours(sets: Iterable[SetStanding]) -> Mapping[str, str]:
    """Promoted source -> the source that the name showed before it."""
    return {one.source: one.promoted.previous_source for one in sets if one.promoted and one.promoted.previous_source}
