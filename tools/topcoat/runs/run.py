"""The main job: decide, carry out, prove, and leave a receipt.

This module must never be the place of a rule; it opens what the rooms below need and closes it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from topcoat.documents import Door
from topcoat.engine.events import JsonLines
from topcoat.errors import ContentError, PartialError, TopcoatError, UsageError
from topcoat.gating import GatedPackage
from topcoat.model import Plan, Receipt, RunOptions, RunRequest, Status
from topcoat.process import Processes
from topcoat.publisher import Publisher, receipts
from topcoat.registry import Registries
from topcoat.report import document, plans, progress
from topcoat.runs import verdict
from topcoat.runs.cache import DigestCache
from topcoat.runs.execute import execute
from topcoat.runs.host_maker import HostMaker
from topcoat.runs.known import KnownFiles
from topcoat.runs.locks import Locks
from topcoat.runs.planning import Decision, decide, listed_under_test
from topcoat.runs.receipts import error_shape
from topcoat.runs.references import ImageReader
from topcoat.runs.steps import Steps
from topcoat.runs.tags import check_kept, check_tags

_PLAN = Door(UsageError, "make it with 'topcoat plan --output'", limit=64 << 20)


def run(request: RunRequest, options: RunOptions, *, registries: Registries, progress_mode: str = "auto", stream: TextIO) -> Receipt:
    """Do it.

    :returns: the receipt of a run that succeeded; it is on disk in any case.
    :raises TopcoatError: what the run's exit code says.
    """
    check_tags(request, options)
    with recorded(options, request.profile.name, request.recipes_root):
        packages = listed_under_test(request.gating_repository)
        decision = decide(request, registries=registries, work=options.work)
        if options.expected_plan:
            require_same(decision.plan, options.expected_plan)
        locks = Locks(options.locks, request.recipes, request.names, request.profile.arch) if options.locks else None
        if locks:
            locks.require_plan(decision.plan)
        try:
            receipt = carry_out(decision, options, packages, locks, registries=registries, progress_mode=progress_mode, stream=stream)
        except PartialError:
            _leave(document.load(options.receipt), request, options, registries)
            raise
        _leave(receipt, request, options, registries)
        return receipt


def _leave(receipt: Receipt, request: RunRequest, options: RunOptions, registries: Registries) -> None:
    """Leave the receipt of a proven run beside the images of its architecture: who joins the architectures looks for it there.

    Of a part of a run, or one that leaves the proof to others, it would say too much.
    """
    profile = request.profile
    if profile.architectures and options.shard is None and options.check_coverage:
        receipts.store(registries.client(profile.registry), profile.namespace, receipt.tag, document.receipt_to_dict(receipt))


def update(decide: Callable[[], Decision], options: RunOptions, *, registries: Registries, progress_mode: str, stream: TextIO) -> Receipt:
    """Carry out the plan of a run on images that somebody names; see ``run``."""
    check_kept(options)
    with recorded(options, "given"):
        return carry_out(decide(), options, (), registries=registries, progress_mode=progress_mode, stream=stream)


@contextmanager
def recorded(options: RunOptions, profile: str, recipes_root: Path | None = None) -> Iterator[None]:
    """A receipt from the first second: ``running`` until the run writes its own, ``failed`` or ``cancelled`` when it ends before it could.

    Whatever lay in its place is of another run, so a run that is killed at any moment leaves nothing that could pass for its result.

    :param profile: name of the profile.
    """
    started = time.time()
    begun = Receipt(profile, options.tag, Status.RUNNING, started, started, (), zuul=options.zuul, shard=str(options.shard or ""))
    document.save(begun, options.receipt)
    try:
        yield
    except (Exception, KeyboardInterrupt) as caught:
        if document.load(options.receipt).status is Status.RUNNING:
            stopped = isinstance(caught, KeyboardInterrupt)
            error = verdict.cancelled() if stopped else caught if isinstance(caught, TopcoatError) else verdict.broken(caught)
            status = Status.CANCELLED if stopped else Status.FAILED
            document.save(replace(begun, status=status, finished=time.time(), error=error_shape(error, recipes_root)), options.receipt)
        raise


def carry_out(
    decision: Decision,
    options: RunOptions,
    packages: tuple[GatedPackage, ...],
    locks: Locks | None = None,
    *,
    registries: Registries,
    progress_mode: str,
    stream: TextIO,
) -> Receipt:
    """Run a decided plan with everything it needs open around it."""
    processes = Processes()
    publisher = Publisher(registries, scratch=_folder(options.work / "tmp"))
    reader = ImageReader(registries, options.work, decision.request.profile.platform)
    known = KnownFiles(registries, DigestCache(options.work / "cache" / "layers"))
    with ExitStack() as stack:
        stack.callback(decision.snapshot.close)
        maker = stack.enter_context(HostMaker(decision, options, registries=registries, known=known, processes=processes))
        steps = Steps(
            decision,
            options,
            maker=maker,
            publisher=publisher,
            registries=registries,
            reader=reader,
            locks=locks,
        )
        listeners = [stack.enter_context(progress.listener(progress_mode, stream))]
        if options.events:
            options.events.parent.mkdir(parents=True, exist_ok=True)
            listeners.append(JsonLines(stack.enter_context(options.events.open("w", encoding="utf-8"))))
        return execute(
            decision,
            options,
            steps,
            publisher,
            registries=registries,
            listeners=listeners,
            processes=processes,
            gating=packages,
        )


def require_same(plan: Plan, file: Path) -> None:
    """Fail when a plan made before is not the plan of now: what people and jobs were shown is what happens.

    :raises UsageError: the file is no plan. :raises ContentError: the plans differ; the error names the first images that do.
    """
    before = plans.plan_from_dict(_PLAN.json_file(file, "the plan"))  # type: ignore[arg-type]
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
