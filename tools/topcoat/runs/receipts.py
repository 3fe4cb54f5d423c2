"""From a plan and what became of it to the lines of a receipt.

This module must never decide whether a run succeeded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from topcoat.engine import TaskResult
from topcoat.errors import TopcoatError
from topcoat.gating import GatedPackage
from topcoat.model import ImageResult, PlannedImage, RunOptions, Status
from topcoat.process.git import Git
from topcoat.runs.planning import Decision
from topcoat.runs.published import ImageOutcome


def gated(packages: Iterable[GatedPackage]) -> tuple[dict[str, object], ...]:
    """The gating repository's packages with the change each comes from."""
    return tuple(
        {
            "package": package.nevra,
            "project": package.project,
            "commit": package.commit,
            "committed": package.committed,
            "change_url": package.change_url,
        }
        for package in packages
    )


def recipes_of(root: Path | None) -> dict[str, object]:
    """The commit that the recipes are of, and whether their files differ from it; empty where git does not say."""
    if root is None:
        return {}
    git = Git(root, seconds=20)
    commit = git.run("rev-parse", "--verify", "HEAD", check=False)
    state = git.run("status", "--porcelain", "--", ".", check=False)
    return {} if commit.code or state.code else {"commit": commit.output.strip(), "changed": bool(state.output.strip())}


class RunFacts:
    """What every line of a receipt shares."""

    def __init__(self, decision: Decision, options: RunOptions, started: float) -> None:
        self.decision = decision
        self.options = options
        self.started = started

    def log_of(self, name: str) -> str | None:
        """Path of an image's log from the receipt; None where this run wrote none (an earlier one in the same folder may have)."""
        log = self.options.log_of(name)
        # File systems keep coarser times than clocks do.
        return f"logs/{log.name}" if log.exists() and log.stat().st_mtime >= self.started - 1 else None


def image_result(planned: PlannedImage, result: TaskResult | None, facts: RunFacts) -> ImageResult:
    """One image's line. An image that the engine never saw was cancelled before the start."""
    profile = facts.decision.request.profile
    recipe = facts.decision.request.recipes[planned.name]
    reference = facts.decision.references.get(planned.name)
    outcome = result.value if result and isinstance(result.value, ImageOutcome) else None
    root = facts.decision.request.recipes_root
    error = error_shape(result.error, root) if result and result.error else None
    if result and result.skipped_because and error is None:
        error = {"class": "skipped", "what": result.skipped_because, "recheck_helps": False}
    stages = _stages(result, outcome)
    changes = (outcome.changes if outcome else ()) or planned.changes
    return ImageResult(
        name=planned.name,
        status=result.status if result else Status.CANCELLED,
        action=planned.action.value,
        reason=planned.reason.code,
        sentence=planned.sentence,
        repository=f"{profile.registry}/{profile.repository_of(planned.name)}",
        tag=facts.options.tag if outcome else None,
        digest=outcome.stored.digest if outcome else None,
        base_digest=outcome.base_digest if outcome else None,
        fingerprint=planned.fingerprint,
        method=outcome.method if outcome else "",
        changes=changes,
        layers=outcome.layers if outcome else (),
        inventory=outcome.inventory if outcome else None,
        started=stages[0][1] if stages else None,
        finished=stages[-1][2] if stages else None,
        stages=stages,
        attempts=result.attempts if result else 0,
        bytes_pushed=outcome.bytes_pushed if outcome else 0,
        bytes_mounted=outcome.bytes_mounted if outcome else 0,
        log=facts.log_of(planned.name),
        error=error,
        parent=planned.parent,
        where=place(recipe.where, root),
        reference_digest=planned.reference,
        reference_size=sum(layer.size for layer in reference.stored.image.layers) if reference else None,
        signers=outcome.signers if outcome else {},
        fallback=outcome.fallback if outcome else "",
        unsigned=tuple(sorted(str(change.new) for change in changes if change.new in outcome.unsigned)) if outcome else (),
    )


def error_shape(error: TopcoatError, root: Path | None) -> dict[str, object]:
    """An error as it stands in a receipt: its recipe and its log by paths that hold on every machine."""
    shape = error.as_dict()
    if error.where:
        shape["where"] = place(error.where, root)
    if error.log:
        shape["log"] = f"logs/{Path(error.log).name}"
    return shape


def place(where: str, root: Path | None) -> str:
    """``file:line``, the file from the folder that holds the recipe tree (``container-images/openstack/nova.yaml:12``).

    :param root: the recipe tree; None, or a file elsewhere: without its folders, which say nothing on another machine.
    """
    file, colon, line = where.rpartition(":")
    if not colon:
        file, line = where, ""
    path = Path(file)
    if root is not None and path.absolute().is_relative_to(root.absolute()):
        return f"{root.resolve().name}/{path.absolute().relative_to(root.absolute()).as_posix()}{colon}{line}"
    return f"{path.name}{colon}{line}" if path.is_absolute() else where


def _stages(result: TaskResult | None, outcome: ImageOutcome | None) -> tuple[tuple[str, float, float], ...]:
    """The engine's stages, with ``make`` replaced by its parts where the maker told them, so that no second counts twice."""
    if result is None:
        return ()
    if outcome is None or not outcome.stages:
        return result.stages
    return tuple(sorted([*(stage for stage in result.stages if stage[0] != "make"), *outcome.stages], key=lambda stage: stage[1]))
