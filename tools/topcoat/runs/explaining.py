"""Why one image gets the action that it gets: a decision for it alone, with the parts of its fingerprint and the changes under test.

This module must never carry anything out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from topcoat import gating
from topcoat.containerfile.labels import fingerprint_parts
from topcoat.model import RunRequest
from topcoat.registry import Registries
from topcoat.report import explain
from topcoat.runs.planning import decide


def explanation(request: RunRequest, image: str, *, registries: Registries, work: Path) -> Mapping[str, object]:
    """See ``topcoat.report.explain``.

    :param image: one of those that are asked for.
    """
    decision = decide(request, registries=registries, work=work)
    under_test: dict[str, tuple[str, str | None]] = {}
    repository = request.gating_repository or ""
    if repository and "://" not in repository:
        under_test = {package.nevra: (package.project, package.change_url) for package in gating.load(Path(repository)).packages}
    reference = decision.references[image]
    return explain.explain(
        decision.plan,
        image,
        parts=decision.fingerprints[image].parts,
        reference_parts=fingerprint_parts(reference.stored.labels) if reference else None,
        where=request.recipes[image].where,
        changes_under_test=under_test,
    )
