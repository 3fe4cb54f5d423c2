"""The streams of a registry: what became of the sets that were tried under each floating name, and what those that were promoted hold.

This module must never write anything, and never need an image: what a promotion wrote down is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

from topcoat.errors import ContentError, TopcoatError
from topcoat.model import Profile
from topcoat.process.each import each
from topcoat.promotion import Control, Entry, History, candidates
from topcoat.promotion.control import PENDING
from topcoat.promotion.standing import Stream, stand
from topcoat.registry import Registries
from topcoat.sets.holdings import Held, RecordedSet, parts
from topcoat.sets.named import of_record
from topcoat.sets.reading import SetReader
from topcoat.trunk import Criteria, DlrnApi, DlrnPromotion, Verdict

_PARALLEL = 8
_CANDIDATES = 20


def read(
    registries: Registries,
    profile: Profile,
    *,
    newest: int,
    rules: Mapping[str, Criteria] | None = None,
    api: DlrnApi | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Stream]:
    """Every stream of the profile's namespace: names with a history, a record or a rule.

    :param newest: so many entries of the history of each are read.
    :param rules: criteria by name. :param api: asked for candidates and votes of the names with a rule.
    :raises TopcoatError: the registry cannot be read. What DLRN does not say is said once and left out.
    """
    rules = rules or {}
    control = Control(registries.client(profile.registry), profile.namespace)
    history = History(control)
    ids = history.ids()
    names = sorted({*ids, *control.floating_names(), *rules})

    def told(name: str, one: str) -> Entry | None:
        try:
            return history.read(name, one)
        except ContentError as error:  # of a later version, or damaged: it hides no other
            say(f"the entry {one} of the history of {name} cannot be read: {error.what}")
            return None

    def one(name: str) -> Stream:
        return stand(
            name,
            [entry for entry in each(ids.get(name, ())[:newest], lambda one: told(name, one), workers=_PARALLEL) if entry],
            current=control.read(name),
            begun=control.read(name + PENDING),
            hold=history.hold(name),
            criteria=rules.get(name),
            candidates=_verdicts(api, rules[name], say) if api and name in rules else (),
        )

    return [one(name) for name in names]


def _verdicts(api: DlrnApi, rule: Criteria, say: Callable[[str], None]) -> list[tuple[DlrnPromotion, Verdict]]:
    now = time.time()
    try:
        found: dict[str, DlrnPromotion] = {}
        for candidate in islice(api.history(rule.candidate), 5 * _CANDIDATES):
            found.setdefault(candidate.tag, candidate)
            if len(found) == _CANDIDATES:
                break
        return [(candidate, candidates.verdict_on(api, rule, candidate, now=now)) for candidate in found.values()]
    except TopcoatError as error:
        say(f"{rule.name}: what DLRN says of candidates is not known: {error.what}")
        return []


def recorded(stream: Stream, registries: Registries, profile: Profile) -> list[RecordedSet]:
    """The sets that the name showed, in the order in which they came: one for each promotion."""
    promoted = [entry for entry in reversed(stream.entries) if entry.kind == "promotion" and entry.state == "promoted" and entry.record]
    history = History(Control(registries.client(profile.registry), profile.namespace))

    def one(entry: Entry) -> RecordedSet:
        assert entry.record is not None
        return RecordedSet(stream.name, entry, of_record(entry.record, profile.registry, entry.source, history.about(entry)))

    return each(promoted, one, workers=_PARALLEL)


def holdings(sets: Iterable[RecordedSet], reader: SetReader, *, say: Callable[[str], None] = lambda line: None) -> list[Held]:
    """The sets with what they hold; one of which that is not known any more is said and left out."""
    found = []
    for one in sets:
        try:
            facts = reader.facts(one.named)
        except ContentError as error:
            say(f"what {one.entry.source} held is not known any more: {error.what}")
            continue
        found.append(Held(one, facts, parts(facts)))
    return found
