"""Carry a plan out: the graph of steps, coverage, floating tags, and a receipt whatever happens.

This module must never report success for an image that it has not read back from the registry.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from topcoat.engine import Context, Engine, Event, RetryPolicy, Stage, Task, TaskResult
from topcoat.errors import ContentError, InfrastructureError, PartialError, TopcoatError
from topcoat.gating import GatedPackage
from topcoat.model import Action, ImageRepository, Nevra, PlannedImage, Receipt, RunOptions, Status
from topcoat.process import Processes
from topcoat.process.each import each
from topcoat.promotion import Place, Target
from topcoat.publisher import Publisher
from topcoat.registry import Registries
from topcoat.report import document
from topcoat.runs import coverage, verdict
from topcoat.runs.planning import Decision
from topcoat.runs.published import ImageOutcome
from topcoat.runs.receipts import RunFacts, error_shape, gated, image_result, recipes_of
from topcoat.runs.shards import names_of
from topcoat.runs.steps import Steps

STAGE_TIMEOUT = 3600.0
REGISTRY_SLOTS = 8
PUSH_SLOTS = 3
"""Images published at a time, beside those being made: a push is mostly waiting for the registry's disk."""
# Only proportions matter: what starts first when several images could.
_WEIGHTS = {Action.BUILD: 10.0, Action.UPDATE: 2.0, Action.REUSE: 0.1}


def execute(
    decision: Decision,
    options: RunOptions,
    steps: Steps,
    publisher: Publisher,
    *,
    registries: Registries,
    listeners: Sequence[Callable[[Event], None]] = (),
    processes: Processes | None = None,
    gating: Iterable[GatedPackage] = (),
) -> Receipt:
    """Do everything that a plan says.

    :param gating: packages of the gating repository with their changes, for the receipt.
    :returns: the receipt of a run that succeeded.
    :raises TopcoatError: the error that decides the run's exit code; the receipt is written before.
    """
    started = time.time()
    mine = names_of(decision.plan, options.shard) if options.shard else None
    planned = [image for image in decision.plan.images if image.action in options.only and (mine is None or image.name in mine)]
    facts = RunFacts(decision, options, started)
    results: dict[str, TaskResult] = {}
    table: tuple[coverage.Covered, ...] = ()
    moved: tuple[str, ...] = ()
    aliases: dict[str, tuple[ImageRepository, ...]] = {}
    error: TopcoatError | None = None
    stopped = False
    try:
        engine = Engine(
            {"work": options.workers or os.cpu_count() or 1, "push": PUSH_SLOTS, "registry": REGISTRY_SLOTS},
            retry=RetryPolicy(),
            listeners=listeners,
            keep_going=options.keep_going,
            processes=processes,
            log_of=options.log_of,
            describe=_describe,
        )
        results = engine.run(_tasks(planned, steps))
        done = {name: result.value for name, result in results.items() if result.status is Status.DONE and isinstance(result.value, ImageOutcome)}
        if decision.plan.gated:
            table = coverage.cover(decision.plan.gated, _installed(steps, done, decision), decision.request.profile.not_containerised)
        error = verdict.error_of(results, decision.request.profile.allowed_to_fail)
        if error is None or isinstance(error, PartialError):
            if options.check_coverage:
                coverage.require(table)
            aliases = _answer_to_old_names(publisher, done, options, decision)
            moved = _move(registries, done, aliases, options.floating_tags)
    except TopcoatError as caught:
        error = caught
    except KeyboardInterrupt:
        error, stopped = verdict.cancelled(), True
        raise
    except BaseException as caught:
        error = verdict.broken(caught)
        raise
    finally:
        receipt = Receipt(
            profile=decision.plan.profile,
            tag=options.tag,
            status=verdict.status_of(error, results, stopped=stopped),
            started=started,
            finished=time.time(),
            images=tuple(
                replace(image_result(image, results.get(image.name), facts), aliases=tuple(map(str, aliases.get(image.name, ()))))
                for image in planned
            ),
            repositories=decision.plan.repositories,
            coverage=tuple(entry.as_dict() for entry in table),
            floating_tags=moved,
            error=error_shape(error, decision.request.recipes_root) if error else None,
            zuul=options.zuul,
            gated=gated(gating),
            recipes=recipes_of(decision.request.recipes_root),
            shard=str(options.shard or ""),
        )
        mark_failures(receipt, options)
        document.save(receipt, options.receipt)
    if error:
        raise error
    return receipt


def _tasks(planned: Sequence[PlannedImage], steps: Steps) -> list[Task]:
    """One task an image; only a build waits, and only for its parent."""
    names = {image.name for image in planned}
    tasks = []
    stages: tuple[Stage, ...]
    for image in planned:
        labels = {"action": image.action.value, "reason": image.reason.code}
        weight = _WEIGHTS[image.action]
        if image.action is Action.REUSE:
            stages = (Stage("tag", "registry", _of(lambda _, one: steps.tag(one), image), STAGE_TIMEOUT),)
            tasks.append(Task(image.name, frozenset(), stages, weight, labels))
            continue
        parents = frozenset({image.parent} & names) if image.action is Action.BUILD else frozenset()
        stages = (
            Stage("look", "registry", _of(steps.look, image), STAGE_TIMEOUT),
            Stage("make", "work", _of(steps.make, image), STAGE_TIMEOUT),
            Stage("publish", "push", _of(steps.publish, image), STAGE_TIMEOUT),
        )
        tasks.append(Task(image.name, parents, stages, weight, labels))  # type: ignore[arg-type]
    return tasks


def _of(work: Callable[[Context, PlannedImage], object], image: PlannedImage) -> Callable[[Context], object]:
    return lambda context: work(context, image)


def _describe(result: TaskResult) -> dict[str, object]:
    outcome = result.value
    if not isinstance(outcome, ImageOutcome):
        return {}
    return {"digest": outcome.stored.digest, "method": outcome.method, "bytes_pushed": outcome.bytes_pushed}


def _installed(steps: Steps, done: Mapping[str, ImageOutcome], decision: Decision) -> dict[str, frozenset[Nevra]]:
    """Image -> packages, for the proof that the change is inside.

    Of every image that was made, and of every other one that counts as holder of a gated package, the database in the published layers is read.
    """
    names = {nevra.name for nevra in decision.plan.gated}

    def one(name: str) -> frozenset[Nevra]:
        outcome = done[name]
        if outcome.method == "tag" and not any(nevra.name in names for nevra in outcome.packages):
            return outcome.packages
        try:
            return steps.read_back_packages(outcome)
        except ContentError as error:
            error.image = error.image or name
            raise

    return dict(zip(done, each(done, one, workers=REGISTRY_SLOTS), strict=True))


def _answer_to_old_names(
    publisher: Publisher, done: dict[str, ImageOutcome], options: RunOptions, decision: Decision
) -> dict[str, tuple[ImageRepository, ...]]:
    """Renamed images under their old names, with the run's own tag; blobs are mounted, what is attached goes along.

    :returns: image name -> repositories.
    """
    profile = decision.request.profile
    found: dict[str, tuple[ImageRepository, ...]] = {}
    for name in done.keys() & options.old_names.keys():
        found[name] = tuple(ImageRepository(profile.registry, profile.repository_of(old)) for old in options.old_names[name])
        for place in found[name]:
            publisher.copy(done[name].stored.reference, place.tag(options.tag))
    return found


def _move(
    registries: Registries, done: Mapping[str, ImageOutcome], aliases: Mapping[str, tuple[ImageRepository, ...]], tags: Sequence[str]
) -> tuple[str, ...]:
    """Floating tags last, for the whole set with its old names, all or nothing: after a failure every tag shows again what it showed.

    :raises TopcoatError: nothing moved; or, in so many words, what could not be brought back.
    """
    if not tags or not done:
        return ()
    host = next(iter(done.values())).stored.host
    wanted = {outcome.stored.repository: outcome.stored.digest for outcome in done.values()}
    wanted |= {place.path: done[name].stored.digest for name, places in aliases.items() for place in places}
    target = Target(Place(host, "", tuple((repository, repository) for repository in wanted)), registries.client(host), REGISTRY_SLOTS)
    before = {tag: target.digests(tag) for tag in tags}
    try:
        for tag in tags:
            target.move(tag, {repository: digest for repository, digest in wanted.items() if before[tag][repository] != digest})
    except BaseException as error:
        problems = []
        for tag in tags:
            earlier = {repository: digest for repository, digest in before[tag].items() if digest}
            problems += [f"{tag} of {problem}" for problem in target.restore(tag, earlier, wanted)]
        said = error.what if isinstance(error, TopcoatError) else f"interrupted ({type(error).__name__})"
        if problems:
            raise InfrastructureError(
                f"moving {', '.join(tags)} failed ({said}), and bringing them back failed too: {'; '.join(problems[:5])}",
                next_step="run it again when the registry answers: until then these tags show images of two runs",
            ) from error
        if not isinstance(error, TopcoatError):
            raise
        kind = ContentError if isinstance(error, ContentError) else InfrastructureError
        raise kind(f"moving {', '.join(tags)} failed: {said}; every tag shows again what it showed", next_step="run it again") from error
    return tuple(tags)


def mark_failures(receipt: Receipt, options: RunOptions) -> None:
    """Give the log of each failed image a second name that sorts first in a log tree."""
    for image in receipt.images:
        log = options.log_of(image.name)
        marked = log.with_name(f"000_FAILED_{log.name}")
        marked.unlink(missing_ok=True)
        if image.status is Status.FAILED:
            log.parent.mkdir(parents=True, exist_ok=True)
            if not log.exists():
                log.write_text(f"{(image.error or {}).get('what', '')}\n", encoding="utf-8")
            marked.symlink_to(Path(log.name))
