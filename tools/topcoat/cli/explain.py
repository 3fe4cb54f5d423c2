"""``topcoat explain``: why an image gets the action that it gets."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option
from topcoat.cli._selection import Sources, request_of, source_options


@click.command()
@click.argument("image", metavar="IMAGE", shell_complete=_complete.images)
@source_options
@format_option
@click.pass_obj
def command(settings: Settings, sources: Sources, image: str, output_format: str) -> None:
    """Tell what would be done to one image and why: which recipe, which file, which package, which change. Starts nothing."""
    import difflib
    import re

    from topcoat import gating
    from topcoat.containerfile.labels import fingerprint_parts
    from topcoat.errors import UsageError
    from topcoat.recipes import Selection
    from topcoat.report import explain
    from topcoat.runs.planning import decide

    if image not in settings.recipes:
        near = difflib.get_close_matches(image, settings.recipes, 1)
        raise UsageError(f"no such image: {image}", next_step=f"did you mean {near[0]}?" if near else "'topcoat list' shows the names")
    request = request_of(settings, Selection((f"^{re.escape(image)}$",)), sources)
    decision = decide(request, registries=settings.registries, work=settings.work_dir)
    under_test: dict[str, tuple[str, str | None]] = {}
    repository = sources.gating_repo or ""
    if repository and "://" not in repository:
        under_test = {package.nevra: (package.project, package.change_url) for package in gating.load(Path(repository)).packages}
    reference = decision.references[image]
    labels = reference.stored.labels if reference else {}
    told = explain.explain(
        decision.plan,
        image,
        parts=decision.fingerprints[image].parts,
        reference_parts=fingerprint_parts(labels) if reference else None,
        where=settings.recipes[image].where,
        changes_under_test=under_test,
    )
    emit(told, output_format, explain.text(told))
