"""Finds the source package that makes a good set bad: each step puts a part of what changed as update layers on the good set and runs a command.

This module must never build an image, and never forget a step: what was tried is written down before the next is begun.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from topcoat import gating, process
from topcoat.changes import ImageFacts
from topcoat.changes.bisect import OUTCOMES, Trial, confirmation, next_trial, standing
from topcoat.changes.compare import source_of
from topcoat.documents import Door
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.gating.createrepo import CreateRepo
from topcoat.gating.repository import GatedPackage, publish
from topcoat.model import Action, ImageReference, Nevra, Profile, Recipe, Repository, RunOptions, RunRequest
from topcoat.process.files import link_or_copy, write_whole
from topcoat.registry import Registries
from topcoat.report.changelog import versions
from topcoat.rpm import repositories
from topcoat.runs.planning import decide
from topcoat.runs.references import update_base
from topcoat.runs.run import run
from topcoat.sets import comparison, compose
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader

SCHEMA = "https://topcoat.dev/schemas/bisect/1"
MOVING = ("updated", "downgraded", "new", "rebuilt")
"""Kinds of changes that can be put on a good set; what is gone, or only in other images, is the recipes' doing."""
_SKIP = 125
_DOOR = Door(UsageError, "start anew with --restart")


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


@dataclass
class Step:
    """One step, as it is written down."""

    number: int
    applied: list[str]
    outcome: str
    code: int
    tag: str
    images: int
    """Images that got a layer."""
    seconds: float
    """For the images; the command took ``ran`` seconds."""
    ran: float
    suspects: int
    """So many were left after it."""


@dataclass
class _Packages:
    """The RPM files of what differs. Keys are NEVRAs as text."""

    files: dict[str, Path] = field(default_factory=dict)
    bad: dict[str, set[str]] = field(default_factory=dict)
    """Source package -> its binary packages in the bad set."""
    restored: dict[str, set[str]] = field(default_factory=dict)
    """Source package -> binary packages of the good set that lie in an update layer: a new layer replaces that one, so they go into it again."""


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
        """:param options: how runs are carried out; their tag and files are those of each step."""
        self._wish = wish
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
        self._packages = self._collect(changed)
        composed = compose.compose(self._wish.good, {}, self._reader, self._registries)
        self._good = compose.publish(composed, self._registries, self._profile).tag
        self._host = self._offer()
        steps = [] if self._wish.restart else self._load()
        self._say(f"{len(changed)} source packages changed; {len(steps)} steps were made before")
        while (applied := self._next(changed, steps)) is not None:
            steps.append(self._step(len(steps) + 1, applied, changed, steps))
            self._save(steps)
            last = steps[-1]
            self._say(f"step {last.number}: {len(last.applied)} of {len(changed)} applied, {last.outcome}; {last.suspects} left")
        return self._document(shape, rows, changed, steps)

    # ---- steps --------------------------------------------------------------------------------------------------------------------------------

    def _next(self, changed: Sequence[str], steps: Sequence[Step]) -> frozenset[str] | None:
        trials = _trials(steps)
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
        left = standing(changed, [*_trials(steps), Trial(applied, outcome)]).suspects
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
        done = process.run(shlex.split(self._wish.command), timeout=self._wish.timeout, log=log, env=env, check=False)
        return done.code, time.monotonic() - begin

    def _request(self, applied: frozenset[str]) -> RunRequest:
        repository = self._folder / "applied"
        wanted = {nevra for source in applied for nevra in self._packages.bad[source]}
        wanted |= {nevra for source, nevras in self._packages.restored.items() if source not in applied for nevra in nevras}
        self._repository(wanted, repository)
        profile = replace(
            self._profile, repositories=(Repository("bisect", self._host, updates=False),), reference_registry="", reference_namespace=""
        )
        names = tuple(name for name in self._recipes if name in self._wish.good.images)
        return RunRequest(profile, self._recipes, names, self._good, gating_repository=str(repository))

    def _closure(self, wanted: frozenset[str]) -> frozenset[str] | None:
        """What the solver moves when these must move.

        :raises ContentError: an image would have to be built.
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
        sources = {source for source, nevras in self._packages.bad.items() if nevras & moved}
        return frozenset(sources) if sources >= wanted else None

    # ---- packages -----------------------------------------------------------------------------------------------------------------------------

    def _collect(self, changed: Sequence[str]) -> _Packages:
        """Fetch every package that a step may need."""
        found = _Packages(bad=_of(self._reader.facts(self._wish.bad), set(changed)), restored=self._restored())
        wanted = {nevra for group in (*found.bad.values(), *found.restored.values()) for nevra in group}
        further = tuple(
            Repository(f"packages-{number}", place if "://" in place else Path(place).absolute().as_uri())
            for number, place in enumerate(self._wish.packages)
        )
        with repositories.freeze((*self._profile.repositories, *further), self._options.work / "repositories") as snapshot:
            places = {
                str(package.nevra): (frozen.id, package.href)
                for frozen in reversed(snapshot.repositories)
                for package in snapshot.packages(frozen.id)
                if str(package.nevra) in wanted
            }
            missing = sorted(wanted - places.keys())
            if missing:
                raise ContentError(
                    f"{len(missing)} packages of the two sets are in no repository: {', '.join(missing[:5])}",
                    next_step="name a repository that still has them with --packages",
                )
            order = sorted(places)
            files = snapshot.fetch_all([places[nevra] for nevra in order])
            kept = self._folder / "packages"
            kept.mkdir(parents=True, exist_ok=True)
            for nevra, path in zip(order, files, strict=True):
                found.files[nevra] = _linked(path, kept / f"{hashlib.sha256(nevra.encode()).hexdigest()[:8]}-{path.name}")
        return found

    def _restored(self) -> dict[str, set[str]]:
        """What the update layers of the good set brought."""
        stored = self._reader.stored(self._wish.good)
        below: dict[str, ImageReference] = {}
        for name, one in stored.items():
            base = update_base(one) if one else None
            if one and base:
                below[name] = one.place.at(base)
        if not below:
            return {}
        lower = self._reader.facts(NamedSet("below", "", self._wish.good.host, below))
        upper = self._reader.facts(self._wish.good.only(below))
        found: dict[str, set[str]] = {}
        for name, facts in upper.items():
            for nevra, source_rpm, _ in (facts.packages or frozenset()) - (lower[name].packages or frozenset()):
                found.setdefault(source_of(nevra, source_rpm)[0], set()).add(str(Nevra.parse(nevra)))
        return found

    def _offer(self) -> str:
        """The repository of everything that a step may pull in because something needs it; its URL."""
        folder = self._folder / "offered"
        staging = self._stage({nevra for group in self._packages.bad.values() for nevra in group}, folder)
        CreateRepo().make(staging)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        return folder.absolute().as_uri()

    def _repository(self, nevras: set[str], folder: Path) -> gating.GatingRepository:
        staging = self._stage(nevras, folder)
        return publish(staging, folder, [GatedPackage(nevra, self._packages.files[nevra].name, "bisect", "") for nevra in nevras])

    def _stage(self, nevras: set[str], folder: Path) -> Path:
        staging = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for nevra in nevras:
            _linked(self._packages.files[nevra], staging / self._packages.files[nevra].name)
        return staging

    # ---- what is written down -------------------------------------------------------------------------------------------------------------------

    def _load(self) -> list[Step]:
        path = self._folder / "steps.json"
        if not path.exists():
            return []
        what = "the steps of this search"
        shape = _DOOR.shape(what, where=str(path))
        document = shape.table(_DOOR.json_file(path, what), "it")
        steps = []
        for row in shape.items(document.get("steps"), "steps", dict):
            numbers = {key: shape.number(row.get(key), key) for key in ("number", "images", "suspects")}
            words = {key: shape.need(row, key, str) for key in ("outcome", "tag")}
            shape.one_of(words["outcome"], "outcome", OUTCOMES)
            spent = {key: shape.moment(row.get(key), key) for key in ("seconds", "ran")}
            code = shape.need(row, "code", int)
            steps.append(Step(applied=shape.items(row.get("applied"), "applied", str), code=code, **numbers, **words, **spent))  # type: ignore[arg-type]
        return steps

    def _save(self, steps: Sequence[Step]) -> None:
        write_whole(self._folder / "steps.json", json.dumps({"schema": SCHEMA, "steps": [step.__dict__ for step in steps]}, indent=1) + "\n")

    def _document(
        self, shape: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], changed: Sequence[str], steps: Sequence[Step]
    ) -> dict[str, Any]:
        trials = _trials(steps)
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


def _trials(steps: Sequence[Step]) -> list[Trial]:
    return [Trial(frozenset(step.applied), step.outcome) for step in steps]


def _sentence(left: Sequence[str], rows: Mapping[str, Mapping[str, Any]], alone: bool, trials: Sequence[Trial]) -> str:
    if not any(trial.outcome == "bad" for trial in trials):
        return "No step was bad: the packages alone do not make the set bad; look at recipes and images."
    if not left:
        before = standing(sorted(rows), trials[:-1]).suspects
        return f"{', '.join(before)} is guilty only together with something else that changed: alone it is good."
    if len(left) > 1:
        return f"One of {len(left)} is guilty, and they cannot be told apart: {', '.join(left)}."
    return f"{left[0]} {versions(rows[left[0]]['moves'][0])} is guilty{', alone on the good set' if alone else ', together with what it needs'}."


def _of(facts: Mapping[str, ImageFacts], sources: set[str]) -> dict[str, set[str]]:
    """Source package -> NEVRAs of its binary packages in a set."""
    found: dict[str, set[str]] = {source: set() for source in sources}
    for packages in {one.packages for one in facts.values() if one.packages}:
        for nevra, source_rpm, _ in packages:
            name = source_of(nevra, source_rpm)[0]
            if name in found:
                found[name].add(str(Nevra.parse(nevra)))
    return found


def _linked(source: Path, target: Path) -> Path:
    """The file under another name; one that is there stays."""
    if target.exists():
        return target
    try:
        link_or_copy(source, target)
    except OSError as error:
        raise InfrastructureError(f"cannot copy {source}: {error}", next_step="look at the disk of the work folder") from error
    return target
