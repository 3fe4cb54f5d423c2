"""Finds the source package that makes a good set bad: each step puts a part of what changed as update layers on the good set and runs a command.

This module must never build an image, and never forget a step: what was tried is written down before the next is begun.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from topcoat import process
from topcoat.changes.bisect import Trial, confirmation, next_trial, standing
from topcoat.errors import ContentError, UsageError
from topcoat.model import Action, Profile, Recipe, Repository, RunOptions, RunRequest
from topcoat.registry import Registries
from topcoat.report.changelog import versions
from topcoat.runs.planning import decide
from topcoat.runs.run import run
from topcoat.sets import bisect_packages, bisect_steps, comparison, compose
from topcoat.sets.bisect_steps import SCHEMA, Step
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader

MOVING = ("updated", "downgraded", "new", "rebuilt")
"""Kinds of changes that can be put on a good set; what is gone, or only in other images, is the recipes' doing."""
_SKIP = 125


@dataclass(frozen=True)
class Wish:
    """What is asked for."""

    good: NamedSet
    bad: NamedSet
    command: str
    """Exit code 0: the set is good; 125: it cannot be told; any other: it is bad."""
    packages: Sequence[str] = ()
    """Further repositories, folders or URLs, where packages of the two sets may lie."""
    timeout: float = 3600.0
    restart: bool = False


class Bisection:
    """One search."""

    def __init__(
        self,
        wish: Wish,
        reader: SetReader,
        registries: Registries,
        profile: Profile,
        recipes: Mapping[str, Recipe],
        options: RunOptions,
        *,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """:param options: how runs are carried out; their tag and files are those of each step.

        :raises UsageError: the command is none.
        """
        self._wish = wish
        try:
            self._command = shlex.split(wish.command)
        except ValueError as error:
            raise UsageError(f"not a command: {wish.command!r}: {error}", next_step="close its quotes") from None
        if not self._command:
            raise UsageError("the command is empty", next_step="name the program that tells good from bad")
        self._reader = reader
        self._registries = registries
        self._profile = profile
        self._recipes = recipes
        self._options = options
        self._say = say
        words = f"{compose.tag_of(wish.good.digests)} {compose.tag_of(wish.bad.digests)} {wish.command}"
        self._key = hashlib.sha256(words.encode()).hexdigest()[:16]
        self._folder = options.work / "bisect" / self._key
        self._closures: dict[frozenset[str], frozenset[str] | None] = {}

    def run(self) -> dict[str, Any]:
        """Search until the guilty package is found, or those that are left cannot be told apart.

        :returns: the document.
        :raises ContentError: no package changed, packages of the sets are in no repository, or the recipes are not those of the good set.
        """
        shape = comparison.document(self._reader, self._wish.good, self._wish.bad, self._profile, changelog=True)
        rows = {row["source"]: row for row in shape["packages"] if row["kind"] in MOVING}
        changed = sorted(rows)
        if not changed:
            raise ContentError(
                f"no package differs that could be guilty: {shape['headline']}", next_step="look at recipes and images: topcoat changes"
            )
        further = tuple(
            Repository(f"packages-{number}", place if "://" in place else Path(place).absolute().as_uri())
            for number, place in enumerate(self._wish.packages)
        )
        self._packages = bisect_packages.collect(
            self._reader,
            self._wish.good,
            self._wish.bad,
            changed,
            (*self._profile.repositories, *further),
            folder=self._folder / "packages",
            cache=self._options.work / "repositories",
        )
        composed = compose.compose(self._wish.good, {}, self._reader, self._registries)
        self._good = compose.publish(composed, self._registries, self._profile).tag
        self._offer = self._packages.write_offer(self._folder / "offered")
        kept = (self._registries.client(self._profile.registry), self._profile.namespace, f"bisect-{self._key}")
        steps = [] if self._wish.restart else bisect_steps.load(*kept)
        self._say(f"{len(changed)} source packages changed; {len(steps)} steps were made before")
        while (applied := self._next(changed, steps)) is not None:
            steps.append(self._step(len(steps) + 1, applied, changed, steps))
            bisect_steps.save(*kept, steps)
            last = steps[-1]
            self._say(f"step {last.number}: {len(last.applied)} of {len(changed)} applied, {last.outcome}; {last.suspects} left")
        return self._document(shape, rows, changed, steps)

    # ---- steps --------------------------------------------------------------------------------------------------------------------------------

    def _next(self, changed: Sequence[str], steps: Sequence[Step]) -> frozenset[str] | None:
        trials = bisect_steps.trials(steps)
        left = standing(changed, trials).suspects
        if len(left) == 1:
            # a bad trial must have been seen with it alone; else the two sets may differ in something that is no package
            return confirmation(trials, left[0], self._closure)
        return next_trial(changed, trials, self._closure)

    def _step(self, number: int, applied: frozenset[str], changed: Sequence[str], steps: Sequence[Step]) -> Step:
        begin = time.monotonic()
        tag = f"bisect-{hashlib.sha256(' '.join((self._good, *sorted(applied))).encode()).hexdigest()[:24]}"
        folder = self._folder / f"step-{number}"
        options = replace(self._options, tag=tag, receipt=folder / "receipt.json", logs=folder / "logs", check_coverage=False, bills=())
        receipt = run(self._request(applied), options, registries=self._registries, progress_mode="quiet", stream=sys.stderr)
        seconds = time.monotonic() - begin
        touched = sum(image.action == Action.UPDATE.value for image in receipt.images)
        code, ran = self._judge(tag, options.receipt, folder / "command.log")
        outcome = "good" if code == 0 else "skip" if code == _SKIP else "bad"
        left = standing(changed, [*bisect_steps.trials(steps), Trial(applied, outcome)]).suspects
        return Step(number, sorted(applied), outcome, code, tag, touched, round(seconds, 2), round(ran, 2), len(left))

    def _judge(self, tag: str, receipt: Path, log: Path) -> tuple[int, float]:
        """Run the command; (exit code, seconds)."""
        begin = time.monotonic()
        log.unlink(missing_ok=True)
        told = {
            "TOPCOAT_TAG": tag,
            "TOPCOAT_RECEIPT": str(receipt),
            "TOPCOAT_REGISTRY": self._profile.registry,
            "TOPCOAT_NAMESPACE": self._profile.namespace,
        }
        env = {**os.environ, **told}
        done = process.run(self._command, timeout=self._wish.timeout, log=log, env=env, check=False)
        return done.code, time.monotonic() - begin

    def _request(self, applied: frozenset[str]) -> RunRequest:
        repository = self._folder / "applied"
        self._packages.write_repository(self._packages.with_applied(applied), repository)
        profile = replace(
            self._profile, repositories=(Repository("bisect", self._offer, updates=False),), reference_registry="", reference_namespace=""
        )
        names = tuple(name for name in self._recipes if name in self._wish.good.images)
        return RunRequest(profile, self._recipes, names, self._good, gating_repository=str(repository))

    def _closure(self, wanted: frozenset[str]) -> frozenset[str] | None:
        """What the solver moves when these must move.

        :raises UsageError: an image would have to be built.
        """
        if wanted not in self._closures:
            self._closures[wanted] = self._solved(wanted)
        return self._closures[wanted]

    def _solved(self, wanted: frozenset[str]) -> frozenset[str] | None:
        try:
            decision = decide(self._request(wanted), registries=self._registries, work=self._options.work)
        except ContentError:
            return None  # these do not go together
        with decision.snapshot:
            built = [image.name for image in decision.plan.images if image.action is Action.BUILD]
            if built:
                raise UsageError(
                    f"{len(built)} images would be built, not updated: the recipes are not those of the good set ({', '.join(built[:5])})",
                    next_step="check the recipes out as they were when the good set was made",
                )
            moved = {str(change.new) for image in decision.plan.images for change in image.changes if change.new}
        sources = self._packages.moved(moved)
        return sources if sources >= wanted else None

    def _document(
        self, shape: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], changed: Sequence[str], steps: Sequence[Step]
    ) -> dict[str, Any]:
        trials = bisect_steps.trials(steps)
        left = standing(changed, trials).suspects
        alone = [trial for trial in trials if len(left) == 1 and trial.outcome == "bad" and set(left) == trial.applied & set(changed)]
        return {
            "schema": SCHEMA,
            "good": self._wish.good.as_dict(),
            "bad": self._wish.bad.as_dict(),
            "command": self._wish.command,
            "changed": len(changed),
            "steps": [step.__dict__ for step in steps],
            "guilty": [dict(rows[name]) for name in left],
            "sentence": _sentence(left, rows, bool(alone), trials),
            "recipes": list(shape["recipes"]),
        }


def _sentence(left: Sequence[str], rows: Mapping[str, Mapping[str, Any]], alone: bool, trials: Sequence[Trial]) -> str:
    if not any(trial.outcome == "bad" for trial in trials):
        return "No step was bad: the packages alone do not make the set bad; look at recipes and images."
    if not left:
        before = standing(sorted(rows), trials[:-1]).suspects
        return f"{', '.join(before)} is guilty only together with something else that changed: alone it is good."
    if len(left) > 1:
        return f"One of {len(left)} is guilty, and they cannot be told apart: {', '.join(left)}."
    return f"{left[0]} {versions(rows[left[0]]['moves'][0])} is guilty{', alone on the good set' if alone else ', together with what it needs'}."
