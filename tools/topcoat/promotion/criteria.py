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
from topcoat.trunk import Vote

_KEYS = {"candidate", "required", "alternatives", "max_age_hours", "too_old"}
_DOOR = Door(UsageError, "give a YAML file of promotion criteria")


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
        if self.failed:
            parts.append(f"failed: {', '.join(self.failed)}")
        return "; ".join(parts)


def judge(criteria: Criteria, votes: Iterable[Vote], *, age_hours: float) -> Verdict:
    """Apply a rule. A job's last vote counts: a rerun repairs a failure, and a later failure takes a success back.

    :param age_hours: time since the candidate was named.
    """
    last: dict[str, Vote] = {}
    for vote in votes:
        if vote.job not in last or vote.time >= last[vote.job].time:
            last[vote.job] = vote
    alternatives = dict(criteria.alternatives)
    missing, failed, replaced = [], [], []
    for job in criteria.required:
        if job in last and last[job].success:
            continue
        instead = next((other for other in alternatives.get(job, ()) if other in last and last[other].success), None)
        if instead:
            replaced.append((job, instead))
        elif any(name in last for name in (job, *alternatives.get(job, ()))):
            failed.append(job)
        else:
            missing.append(job)
    old = criteria.max_age_hours is not None and age_hours > criteria.max_age_hours and criteria.too_old is not TooOld.ALLOW
    return Verdict(not (missing or failed or old), tuple(missing), tuple(failed), tuple(replaced), old)


def load_criteria(path: Path) -> dict[str, Criteria]:
    """Read a criteria file: floating name -> rule.

    ::

        current-passed-ci:
          candidate: current
          required: [deploy-multinode, deploy-standalone]
          alternatives: { deploy-standalone: [deploy-standalone-rdo] }
          max_age_hours: 168
          too_old: skip

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
    candidate = value.get("candidate")
    if not isinstance(candidate, str) or not candidate:
        raise UsageError(f"{name}: candidate is missing", where=where, next_step="name the DLRN promotion whose hashes are candidates")
    pairs = tuple((str(job), _words(others, f"{name}: alternatives of {job}", where)) for job, others in alternatives.items())
    return Criteria(name, candidate, required, pairs, age, too_old)


def _words(value: object, what: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise UsageError(f"{what} is not a list of job names", where=where, next_step="write [job, job]")
    return tuple(value)
