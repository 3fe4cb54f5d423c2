"""When a candidate may be promoted: named jobs that voted on exactly this hash, as data.

This module must never ask a server; it judges what it is given.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.trunk.dlrn import Vote

_KEYS = {"candidate", "required", "alternatives", "max_age_hours", "too_old", "informing", "attempts"}
_DOOR = Door(UsageError, "give a YAML file of promotion criteria")


JOB_KINDS = ("blocking", "informing")
JOB_STATES = ("passed", "failed", "missing", "again", "replaced")
"""What a history may say of a job: its ``JobState`` by name."""


class TooOld(enum.Enum):
    """What becomes of a candidate that is older than the limit."""

    FAIL = "fail"
    SKIP = "skip"
    ALLOW = "allow"


@dataclass(frozen=True)
class Criteria:
    """The rule for one floating name."""

    name: str
    candidate: str
    """The DLRN promotion name whose hashes are candidates."""
    required: tuple[str, ...]
    alternatives: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Required job -> jobs of which any may stand in for it."""
    max_age_hours: float | None = None
    too_old: TooOld = TooOld.FAIL
    informing: tuple[str, ...] = ()
    """Jobs whose votes are shown and never decide."""
    attempts: int = 1
    """How often a job may fail on one candidate before it counts as failed; until then it may be tried again."""


@dataclass(frozen=True)
class JobState:
    """What one job says about a candidate. ``kind`` is ``blocking`` or ``informing``.

    ``state`` is ``passed``, ``failed``, ``missing`` (no vote), ``again`` (failed, may be tried again) or ``replaced`` (``instead`` passed).
    """

    job: str
    kind: str
    state: str
    instead: str = ""
    attempts: tuple[Vote, ...] = ()
    """Every vote of it, oldest first."""


@dataclass(frozen=True)
class Verdict:
    """What the rule says about one candidate."""

    passed: bool
    missing: tuple[str, ...] = ()
    """Required jobs without any vote, of theirs or of an alternative."""
    failed: tuple[str, ...] = ()
    """Required jobs whose last vote, and that of every alternative, is a failure."""
    replaced: tuple[tuple[str, str], ...] = ()
    """(required job, alternative that passed in its place)."""
    too_old: bool = False
    again: tuple[str, ...] = ()
    """Required jobs that failed and may be tried again."""
    jobs: tuple[JobState, ...] = ()
    """Every job of the rule, blocking ones first."""

    @property
    def phase(self) -> str:
        """``accepted``, ``rejected`` (nothing but a new set or a person's word can change it) or ``pending``."""
        return "accepted" if self.passed else "rejected" if self.failed or self.too_old else "pending"

    @property
    def sentence(self) -> str:
        """For people."""
        if self.passed:
            stood_in = "".join(f", {other} in place of {job}" for job, other in self.replaced)
            return f"all required jobs passed{stood_in}"
        parts = []
        if self.too_old:
            parts.append("the candidate is too old")
        if self.missing:
            parts.append(f"no vote from {', '.join(self.missing)}")
        if self.again:
            parts.append(f"failed and may be tried again: {', '.join(self.again)}")
        if self.failed:
            parts.append(f"failed: {', '.join(self.failed)}")
        return "; ".join(parts)


def judge(criteria: Criteria, votes: Iterable[Vote], *, age_hours: float) -> Verdict:
    """Apply a rule. A job's last vote counts: a rerun repairs a failure, and a later failure takes a success back.

    :param age_hours: time since the candidate was named.
    """
    said: dict[str, list[Vote]] = {}
    for vote in sorted(votes, key=lambda one: one.time):
        said.setdefault(vote.job, []).append(vote)
    alternatives = dict(criteria.alternatives)
    jobs = [_state(job, "blocking", alternatives.get(job, ()), said, criteria.attempts) for job in criteria.required]
    jobs += [_state(job, "informing", (), said, criteria.attempts) for job in criteria.informing]
    blocking = jobs[: len(criteria.required)]
    missing, failed, again = (tuple(one.job for one in blocking if one.state == state) for state in ("missing", "failed", "again"))
    replaced = tuple((one.job, one.instead) for one in blocking if one.state == "replaced")
    old = criteria.max_age_hours is not None and age_hours > criteria.max_age_hours and criteria.too_old is not TooOld.ALLOW
    passed = bool(blocking) and all(one.state in ("passed", "replaced") for one in blocking) and not old
    return Verdict(passed, missing, failed, replaced, old, again, tuple(jobs))


def _state(job: str, kind: str, others: Iterable[str], said: Mapping[str, list[Vote]], most: int) -> JobState:
    own = said.get(job, [])
    names = [name for name in (job, *others) if name in said]
    good = next((name for name in names if said[name][-1].success), None)
    if good:
        return JobState(job, kind, "passed" if good == job else "replaced", "" if good == job else good, tuple(own))
    if not names:
        return JobState(job, kind, "missing")
    failures = max(sum(not vote.success for vote in said[name]) for name in names)
    return JobState(job, kind, "failed" if failures >= most else "again", "", tuple(own))


def load_criteria(path: Path) -> dict[str, Criteria]:
    """Read a criteria file: floating name -> rule.

    ::

        current-passed-ci:
          candidate: current
          required: [deploy-multinode, deploy-standalone]
          alternatives: { deploy-standalone: [deploy-standalone-rdo] }
          max_age_hours: 168
          too_old: skip
          informing: [deploy-arm]
          attempts: 2

    :raises UsageError: not such a file; names the key at fault.
    """
    where = str(path)
    document = _DOOR.yaml_file(path, "the file of criteria")
    if not isinstance(document, dict) or not document:
        raise UsageError("holds no rule", where=where, next_step="write '<floating name>: {candidate: ..., required: [...]}'")
    return {str(name): _rule(str(name), value, where) for name, value in document.items()}


def _rule(name: str, value: object, where: str) -> Criteria:
    if not isinstance(value, Mapping):
        raise UsageError(f"{name}: not a mapping", where=where, next_step="write candidate and required")
    unknown = set(value) - _KEYS
    if unknown:
        raise UsageError(f"{name}: unknown key {sorted(map(str, unknown))[0]!r}", where=where, next_step=f"known: {', '.join(sorted(_KEYS))}")
    required = _words(value.get("required"), f"{name}: required", where)
    if not required:
        raise UsageError(f"{name}: required names no job", where=where, next_step="a promotion without a required job would promote anything")
    alternatives = value.get("alternatives") or {}
    if not isinstance(alternatives, Mapping) or not set(alternatives) <= set(required):
        raise UsageError(f"{name}: alternatives must be a mapping of required jobs", where=where, next_step="each key must stand under required too")
    age = value.get("max_age_hours")
    if age is not None and (isinstance(age, bool) or not isinstance(age, int | float) or age <= 0):
        raise UsageError(f"{name}: max_age_hours is not a number of hours", where=where, next_step="write e.g. 168")
    try:
        too_old = TooOld(value.get("too_old", "fail"))
    except ValueError:
        raise UsageError(f"{name}: too_old is {value.get('too_old')!r}", where=where, next_step="write fail, skip or allow") from None
    informing = _words(value.get("informing") or [], f"{name}: informing", where)
    twice = set(informing) & set(required)
    if twice:
        raise UsageError(f"{name}: {sorted(twice)[0]} is required and informing", where=where, next_step="let it stand under one of them")
    attempts = value.get("attempts", 1)
    if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= 100:
        raise UsageError(f"{name}: attempts is not a number of attempts", where=where, next_step="write e.g. 2: the second failure counts")
    candidate = value.get("candidate")
    if not isinstance(candidate, str) or not candidate:
        raise UsageError(f"{name}: candidate is missing", where=where, next_step="name the DLRN promotion whose hashes are candidates")
    pairs = tuple((str(job), _words(others, f"{name}: alternatives of {job}", where)) for job, others in alternatives.items())
    return Criteria(name, candidate, required, pairs, age, too_old, informing, attempts)


def _words(value: object, what: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise UsageError(f"{what} is not a list of job names", where=where, next_step="write [job, job]")
    return tuple(value)
