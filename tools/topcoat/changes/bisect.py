"""Which of the packages that changed between a good and a bad set is guilty: what to try next, and what the trials have said.

This module must never believe that one package is guilty alone before a trial has shown it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

OUTCOMES = ("good", "bad", "skip")
_MOST_ASKED = 12
"""How often the solver is asked for one step: its answers cost seconds."""

Closure = Callable[[frozenset[str]], "frozenset[str] | None"]
"""What really moves when some source packages must; None: that cannot be installed."""


@dataclass(frozen=True)
class Trial:
    """One step: these source packages were those of the bad set, all others those of the good one."""

    applied: frozenset[str]
    outcome: str


@dataclass(frozen=True)
class Suspects:
    """What the trials have said so far."""

    suspects: tuple[str, ...]
    innocent: frozenset[str]
    """Packages that were in a good trial."""


def standing(changed: Sequence[str], trials: Iterable[Trial]) -> Suspects:
    """Every package of a good trial is innocent; in a bad one the guilty is among those that were applied."""
    suspects, innocent = set(changed), set[str]()
    for trial in trials:
        if trial.outcome == "good":
            innocent |= trial.applied
            suspects -= trial.applied
        elif trial.outcome == "bad":
            suspects &= trial.applied
    return Suspects(tuple(name for name in changed if name in suspects), frozenset(innocent))


def next_trial(changed: Sequence[str], trials: Sequence[Trial], closure: Closure) -> frozenset[str] | None:
    """The packages to apply in the next step: the innocent ones and about half of the suspects, as the solver allows.

    :returns: None when the suspects cannot be told apart any further.
    """
    now = standing(changed, trials)
    if len(now.suspects) < 2:
        return None
    tried = {trial.applied for trial in trials}
    half = len(now.suspects) / 2
    best: tuple[float, frozenset[str]] | None = None
    asked = 0
    for part in _parts(now.suspects):
        if asked == _MOST_ASKED:
            break
        asked += 1
        # first on top of what is known to do no harm, then alone: an innocent package may be what does not fit
        applied = closure(now.innocent | part) or closure(part)
        hit = applied & set(now.suspects) if applied else frozenset()
        if applied is None or not hit or len(hit) == len(now.suspects) or applied in tried:
            continue
        distance = abs(len(hit) - half)
        if best is None or distance < best[0]:
            best = distance, applied
        if distance < 1:
            break
    return best[1] if best else None


def confirmation(trials: Sequence[Trial], guilty: str, closure: Closure) -> frozenset[str] | None:
    """The last step: the guilty package with nothing but what it needs; None when that was tried, or cannot be installed."""
    applied = closure(frozenset((guilty,)))
    return None if applied is None or applied in {trial.applied for trial in trials} else applied


def _parts(suspects: Sequence[str]) -> Iterable[frozenset[str]]:
    """Parts to ask for, nearest to a half first, from either end."""
    count = len(suspects)
    sizes = sorted(range(1, count), key=lambda size: (abs(2 * size - count), size))
    for size in sizes:
        yield frozenset(suspects[:size])
        yield frozenset(suspects[-size:])
