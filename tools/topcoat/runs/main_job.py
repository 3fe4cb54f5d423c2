"""The main job: decide, carry out, prove, and leave a receipt.

This module must never be the place of a rule; it opens what the rooms below need and closes it again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from topcoat import gating, planner
from topcoat.engine.events import JsonLines
from topcoat.errors import ContentError, TopcoatError, UsageError
from topcoat.model import Action, Plan, Receipt, Status
from topcoat.model.image import check_tag
from topcoat.process import Processes
from topcoat.publisher import Publisher
from topcoat.registry import Registries
from topcoat.report import document, progress
from topcoat.runs.execute import Options, broken, cancelled, execute
from topcoat.runs.maker import Access, HostMaker
from topcoat.runs.planning import Decision, Request, decide
from topcoat.runs.receipts import error_shape
from topcoat.runs.references import ImageReader
from topcoat.runs.shards import Shard, names_of
from topcoat.runs.works import Target, Works


@dataclass(frozen=True)
class Job:
    """How a request is carried out; see the options of ``topcoat build``."""

    tag: str
    receipt: Path
    logs: Path
    floating_tags: tuple[str, ...] = ()
    expected_plan: Path | None = None
    events: Path | None = None
    workers: int = 0
    way: str = "auto"
    keep_going: bool = True
    check_coverage: bool = True
    only: frozenset[Action] = frozenset(Action)
    shard: Shard | None = None
    zuul: dict[str, object] = field(default_factory=dict)
    old_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Image -> names that it had before and still answers to."""
    bills: tuple[str, ...] = ("spdx",)
    """Formats of bills of materials to attach to what is built or updated."""


def run(request: Request, job: Job, *, registries: Registries, access: Access, work: Path, progress_mode: str = "auto", stream: TextIO) -> Receipt:
    """Do it.

    :returns: the receipt of a run that succeeded; it is on disk in any case.
    :raises TopcoatError: what the run's exit code says.
    """
    for tag in (job.tag, *job.floating_tags):
        check_tag(tag)
    with recorded(job, request.profile.name, request.recipes_root):
        packages = _packages(request)
        decision = decide(request, registries=registries, work=work)
        if job.expected_plan:
            require_same(decision.plan, job.expected_plan)
        return carry_out(decision, job, packages, registries=registries, access=access, work=work, progress_mode=progress_mode, stream=stream)


@contextmanager
def recorded(job: Job, profile: str, recipes_root: Path | None = None) -> Iterator[None]:
    """A receipt from the first second: ``running`` until the run writes its own, ``failed`` or ``cancelled`` when it ends before it could.

    Whatever lay in its place is of another run, so a run that is killed at any moment leaves nothing that could pass for its result.

    :param profile: name of the profile.
    """
    started = time.time()
    document.save(Receipt(profile, job.tag, Status.RUNNING, started, started, (), zuul=job.zuul), job.receipt)
    try:
        yield
    except (Exception, KeyboardInterrupt) as caught:
        if document.load(job.receipt).status is Status.RUNNING:
            stopped = isinstance(caught, KeyboardInterrupt)
            error = cancelled() if stopped else caught if isinstance(caught, TopcoatError) else broken(caught)
            status = Status.CANCELLED if stopped else Status.FAILED
            shape = error_shape(error, recipes_root)
            document.save(Receipt(profile, job.tag, status, started, time.time(), (), error=shape, zuul=job.zuul), job.receipt)
        raise


def _packages(request: Request) -> tuple[gating.GatedPackage, ...]:
    """What a gating repository of ours says of itself; one behind a URL says nothing."""
    if request.gating_repository is None or "://" in request.gating_repository:
        return ()
    return gating.load(Path(request.gating_repository)).packages


def carry_out(
    decision: Decision,
    job: Job,
    packages: tuple[gating.GatedPackage, ...],
    *,
    registries: Registries,
    access: Access,
    work: Path,
    progress_mode: str,
    stream: TextIO,
) -> Receipt:
    """Run a decided plan with everything it needs open around it."""
    processes = Processes()
    publisher = Publisher(registries, scratch=_folder(work / "tmp"))
    reader = ImageReader(registries, work / "cache" / "images", decision.request.profile.platform)
    with ExitStack() as stack:
        stack.callback(decision.snapshot.close)
        maker = stack.enter_context(
            HostMaker(decision, work=work, registries=registries, access=access, processes=processes, workers=job.workers, way=job.way)
        )
        works = Works(
            decision,
            Target(decision.request.profile.registry, job.tag, job.logs, job.bills),
            maker=maker,
            publisher=publisher,
            registries=registries,
            reader=reader,
        )
        listeners = [stack.enter_context(progress.listener(progress_mode, stream))]
        if job.events:
            job.events.parent.mkdir(parents=True, exist_ok=True)
            listeners.append(JsonLines(stack.enter_context(job.events.open("w", encoding="utf-8"))))
        options = Options(
            tag=job.tag,
            floating_tags=job.floating_tags,
            check_coverage=job.check_coverage,
            workers=job.workers,
            keep_going=job.keep_going,
            only=job.only,
            names=names_of(decision.plan, job.shard) if job.shard else None,
            zuul=job.zuul,
            old_names=job.old_names,
        )
        return execute(
            decision,
            options,
            works,
            publisher,
            save=lambda receipt: document.save(receipt, job.receipt),
            listeners=listeners,
            processes=processes,
            gating=packages,
        )


def require_same(plan: Plan, file: Path) -> None:
    """Fail when a plan made before is not the plan of now: what people and jobs were shown is what happens.

    :raises UsageError: the file is no plan. :raises ContentError: the plans differ; the error names the first images that do.
    """
    try:
        before = planner.plan_from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the plan {file}: {error}", next_step="make it with 'topcoat plan --output'") from error
    old = {image.name: (image.reason, image.reference, tuple(change.key for change in image.changes)) for image in before.images}
    new = {image.name: (image.reason, image.reference, tuple(change.key for change in image.changes)) for image in plan.images}
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if names:
        raise ContentError(
            f"the plan is no longer true for {len(names)} image(s): {', '.join(names[:5])}: packages or published images changed since it was made",
            next_step="plan again",
        )


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
