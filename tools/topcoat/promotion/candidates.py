"""Which hash may be promoted next: the DLRN API is asked, the criteria judge.

This module must never move anything.
"""

from __future__ import annotations

from collections.abc import Callable

from topcoat.errors import ContentError
from topcoat.promotion.criteria import Criteria, TooOld, Verdict, judge
from topcoat.trunk import DlrnApi, DlrnPromotion

_MANY = 100


def verdict_on(api: DlrnApi, criteria: Criteria, candidate: DlrnPromotion, *, now: float) -> Verdict:
    """Judge one candidate by its votes. ``now`` is seconds since the epoch."""
    return judge(criteria, api.votes(candidate.votable), age_hours=(now - candidate.time) / 3600)


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
        raise ContentError(f"{candidate.tag} may not become {criteria.name}: {verdict.sentence}", next_step="wait for the jobs, or repair them")
    return verdict


def newest(api: DlrnApi, criteria: Criteria, *, now: float, say: Callable[[str], None] = lambda line: None) -> DlrnPromotion | None:
    """The newest candidate that meets the criteria and is newer than what has the name now; None when nothing is newer.

    :raises ContentError: there are newer candidates, none of them meets the criteria.
    """
    current = api.current(criteria.name)
    reasons = []
    for candidate in api.promotions(criteria.candidate, limit=_MANY):
        if current and (candidate.tag == current.tag or (candidate.time < current.time and candidate.hash == current.hash)):
            break
        verdict = verdict_on(api, criteria, candidate, now=now)
        if verdict.passed:
            return candidate
        say(f"{candidate.tag}: {verdict.sentence}")
        if verdict.too_old and criteria.too_old is TooOld.SKIP:
            # everything behind it is older still
            break
        reasons.append(f"{candidate.tag[:16]}: {verdict.sentence}")
    if reasons:
        raise ContentError(
            f"no candidate for {criteria.name} meets the criteria: {'; '.join(reasons[:5])}", next_step="wait for the jobs, or repair them"
        )
    return None
