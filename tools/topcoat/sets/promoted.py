"""What follows a promotion: what the set holds is written beside its entry of the history, and how it differs from the set before is said.

This module must never undo or fail a promotion: the tags have moved, and what cannot be said is a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from topcoat.errors import TopcoatError
from topcoat.model import Profile
from topcoat.model.profile import platform_of
from topcoat.promotion import History, Promoted, SetRecord
from topcoat.registry import Registries
from topcoat.sets import comparison, contents
from topcoat.sets.named import of_promotion, of_record
from topcoat.sets.reading import SetReader


def settle(
    outcome: Promoted, histories: Sequence[History], reader: SetReader, registries: Registries, profile: Profile, *, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Write down what a promoted set holds, in every place, and compare it with the set before.

    :returns: the comparison with changelogs; None where it could not be made, nothing was promoted, or nothing was there before.
    """
    if outcome.state != "promoted" or outcome.record is None:
        return None
    host, _, namespace = outcome.places[0].partition("/")
    record = SetRecord.from_dict(outcome.record)
    try:
        before = of_promotion(SetRecord.from_dict(outcome.before), registries, host, namespace) if outcome.before else None
        after = of_record(record, host)
        facts = reader.facts(after, *([before] if before else []))
        several = [platform_of(one.name) for one in profile.architectures]
        others = {platform: reader.of_platform(platform).facts(after) for platform in several if platform != profile.platform}
        written = contents.pack(facts, profile.platform if several else "", others)
        for history in histories:
            entry = history.read(outcome.name, outcome.entry)
            if entry:
                history.write(entry, written)
        after = of_record(record, host, contents=written)
        return comparison.document(reader, before, after, profile, changelog=True) if before else None
    except TopcoatError as error:
        say(f"the promotion is done; what the set holds could not be written down or compared: {error.what}")
        return None
