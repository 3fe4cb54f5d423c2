"""What is kept and what may go, decided from what was read.

This module must never contact a registry; when in doubt it keeps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from topcoat.model import Digest

_ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(?:\.[A-Za-z0-9._-]+)?")
"""The stand-in tag for referrers (distribution-spec 1.1, "Referrers Tag Schema"), and those of cosign: ``.sig``, ``.att``, ``.sbom``."""
_ATTACHED_ELSEWHERE = re.compile(r"(?!sha256-)[a-z0-9]+(?:[+._-][a-z0-9]+)*-[0-9a-f]{64}(?:\.[A-Za-z0-9._-]+)?")
"""The same for manifests with a digest of another kind, ``sha512`` for example, of which such a tag has the first 64 digits."""


@dataclass(frozen=True)
class KeepRules:
    """Why something is kept. Ages are seconds."""

    tags: frozenset[str] = frozenset()
    """Exact tags: floating names, open buildsets."""
    patterns: tuple[re.Pattern[str], ...] = ()
    """Tags that match one of these as a whole."""
    younger_than: float = 14 * 86400.0
    """Tags that the registry shows for less than this."""
    grace: float = 3600.0
    """Between the removal of its last tag and the deletion of a manifest."""
    newest: int = 2
    """So many of the newest unprotected tags are kept in each repository, however old."""


@dataclass(frozen=True)
class RepositoryState:
    """One repository as it was read."""

    name: str
    tags: Mapping[str, Digest]
    needed: Mapping[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    """Digest -> digests of the same repository that it needs: children of an index, the manifest below an update layer."""

    absent: frozenset[Digest] = frozenset()
    """Needed ones that the repository did not hold when it was read."""


@dataclass(frozen=True)
class RepositoryPlan:
    """What is done to one repository."""

    name: str
    kept: Mapping[str, str]
    """Tag -> why."""
    untag: tuple[str, ...]
    delete: tuple[Digest, ...]
    """Manifests that no kept tag, record or kept manifest needs."""
    kept_digests: frozenset[Digest] = frozenset()


def subject_of(tag: str) -> Digest | None:
    """The manifest that a tag of something attached belongs to, None for any other tag."""
    match = _ATTACHED.fullmatch(tag)
    return Digest(f"sha256:{match[1]}") if match else None


def decide(
    state: RepositoryState,
    rules: KeepRules,
    *,
    recorded: frozenset[Digest],
    first_seen: Mapping[str, float],
    now: float,
    due: frozenset[Digest] = frozenset(),
) -> RepositoryPlan:
    """Decide for one repository.

    :param recorded: digests that promotion records (current, previous, at work) name for it.
    :param due: digests that an earlier collection, perhaps one that was cut off, took the tags from longer ago than the time of grace.
    :param first_seen: tag -> seconds since the epoch when it was first seen; a tag that is missing was never seen before, so it is new.
    """
    kept: dict[str, str] = {}
    old: list[str] = []
    for tag, digest in sorted(state.tags.items()):
        if subject_of(tag):
            continue
        if tag in rules.tags:
            kept[tag] = "named"
        elif any(pattern.fullmatch(tag) for pattern in rules.patterns):
            kept[tag] = "pattern"
        elif _ATTACHED_ELSEWHERE.fullmatch(tag):
            kept[tag] = "attached"  # to a manifest that is known by another digest here
        elif digest in recorded:
            kept[tag] = "promoted set"
        elif now - first_seen.get(tag, now) < rules.younger_than:
            kept[tag] = "young"
        else:
            old.append(tag)
    old.sort(key=lambda tag: (first_seen.get(tag, now), tag))
    for tag in old[len(old) - min(rules.newest, len(old)) :]:
        kept[tag] = "newest"
    alive = _closure({state.tags[tag] for tag in kept} | recorded, state.needed)
    untag = [tag for tag in old if tag not in kept]
    for tag in sorted(state.tags):
        subject = subject_of(tag)
        if subject and subject in alive:
            kept[tag] = "attached"
        elif subject and (subject in due or any(state.tags[other] == subject for other in untag)):
            untag.append(tag)  # goes with what it is attached to
        elif subject:
            kept[tag] = "its image has no tag"  # an upload may be under way: attached first, tagged last
    # an index of attached artifacts that stays needs its artifacts
    alive = _closure(alive | {state.tags[tag] for tag in kept}, state.needed)
    gone = _closure({state.tags[tag] for tag in untag}, state.needed)
    return RepositoryPlan(state.name, kept, tuple(untag), tuple(sorted(gone - alive)), frozenset(alive))


def _closure(start: set[Digest] | frozenset[Digest], needed: Mapping[Digest, tuple[Digest, ...]]) -> frozenset[Digest]:
    found: set[Digest] = set()
    todo = list(start)
    while todo:
        digest = todo.pop()
        if digest not in found:
            found.add(digest)
            todo.extend(needed.get(digest, ()))
    return frozenset(found)
