"""Which hash may be promoted next: the DLRN API is asked, the criteria judge.

This module must never move anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from topcoat.errors import ContentError
from topcoat.trunk import DlrnApi, DlrnPromotion
from topcoat.trunk.criteria import Criteria, TooOld, Verdict, judge

_MANY = 100
_AHEAD = 3600.0
"""Seconds that the clocks of voters and of whoever names candidates may be ahead of ours."""


class NotMetError(ContentError):
    """A candidate that does not meet the criteria; it carries the verdict."""

    def __init__(self, what: str, candidate: DlrnPromotion, verdict: Verdict, *, next_step: str = "wait for the jobs, or repair them") -> None:
        super().__init__(what, next_step=next_step)
        self.candidate = candidate
        self.verdict = verdict


class SupersededError(ContentError):
    """A candidate beside which a newer one meets the criteria too."""


def verdict_on(api: DlrnApi, criteria: Criteria, candidate: DlrnPromotion, *, now: float) -> Verdict:
    """Judge one candidate by its votes. ``now`` is seconds since the epoch.

    The last vote of a job counts, so a success with a date that has not come would outlive every failure after it: it is passed over. And a candidate
    with such a date would never grow too old: nobody knows its age.
    """
    votes = [vote for vote in api.votes(candidate.votable) if not _is_ahead(vote.time, now) or not vote.success]
    return judge(criteria, votes, age_hours=math.inf if _is_ahead(candidate.time, now) else (now - candidate.time) / 3600)


def _is_ahead(moment: float, now: float) -> bool:
    """Has this moment not come, on any clock that goes?"""
    return moment > now + _AHEAD


def by_tag(api: DlrnApi, criteria: Criteria, tag: str) -> DlrnPromotion:
    """The candidate with this image tag, or, when it was promoted before, that promotion.

    :raises ContentError: DLRN knows no such candidate.
    """
    found = api.find(tag, names=(criteria.candidate, criteria.name))
    if found is None:
        raise ContentError(
            f"{api.url} has no candidate {tag} under the name {criteria.candidate}", next_step="promote a hash that DLRN calls a candidate"
        )
    return found


def require(api: DlrnApi, criteria: Criteria, candidate: DlrnPromotion, *, now: float) -> Verdict:
    """The verdict on a candidate that somebody named.

    :raises ContentError: it does not meet the criteria; says why.
    """
    verdict = verdict_on(api, criteria, candidate, now=now)
    if not verdict.passed:
        raise NotMetError(f"{candidate.tag} may not become {criteria.name}: {verdict.sentence}", candidate, verdict)
    return verdict


def require_newest(api: DlrnApi, criteria: Criteria, candidate: DlrnPromotion, *, now: float) -> None:
    """What somebody named must be the newest candidate that meets the criteria; one with a date that has not come is newer than nothing.

    :raises SupersededError: a newer one does.
    """
    for other in api.promotions(criteria.candidate, limit=_MANY):
        if _is_ahead(other.time, now):
            continue
        if other.time <= candidate.time or other.tag == candidate.tag:
            return
        if verdict_on(api, criteria, other, now=now).passed:
            raise SupersededError(
                f"{candidate.tag} is superseded: {other.tag} is newer and meets the criteria of {criteria.name} too",
                next_step=f"promote {other.tag}; --older promotes this one on purpose",
            )


def newest(api: DlrnApi, criteria: Criteria, *, now: float, say: Callable[[str], None] = lambda line: None) -> DlrnPromotion | None:
    """The newest candidate that meets the criteria and is newer than what has the name now; None when nothing is newer.

    :raises ContentError: there are newer candidates, none of them meets the criteria.
    """
    current = api.current(criteria.name)
    reasons: list[str] = []
    first: tuple[DlrnPromotion, Verdict] | None = None
    for candidate in api.promotions(criteria.candidate, limit=_MANY):
        if current and (candidate.tag == current.tag or (candidate.time < current.time and candidate.hash == current.hash)):
            break
        verdict = verdict_on(api, criteria, candidate, now=now)
        ahead = _is_ahead(candidate.time, now)  # it would be the newest for as long as its date says
        if verdict.passed and not ahead:
            return candidate
        problem = "named at a time that has not come" if ahead else verdict.sentence
        say(f"{candidate.tag}: {problem}")
        first = first or (candidate, verdict)
        if verdict.too_old and not ahead and criteria.too_old is TooOld.SKIP:
            # everything behind it is older still
            break
        reasons.append(f"{candidate.tag[:16]}: {problem}")
    if reasons and first:
        raise NotMetError(f"no candidate for {criteria.name} meets the criteria: {'; '.join(reasons[:5])}", *first)
    return None
