"""``topcoat hotfix``: given RPM files, or local source trees, on given images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, dry_run_option, emit, format_option

if TYPE_CHECKING:
    from topcoat.model import Plan, RunRequest


@click.command()
@click.argument("patterns", nargs=-1, required=True, metavar="REGEX...", shell_complete=_complete.images)
@click.option("--rpm", "rpms", multiple=True, metavar="FILE", help="RPM file to put on the images; may be repeated.")
@click.option("--source", "sources", multiple=True, metavar="DIR", help="Source tree with a spec file: it is built first; may be repeated.")
@click.option("--tag", required=True, help="Tag of the results.")
@click.option("--reference-tag", metavar="TAG", help="Tag of the images to start from, instead of the profile's.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    patterns: tuple[str, ...],
    rpms: tuple[str, ...],
    sources: tuple[str, ...],
    tag: str,
    reference_tag: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Put RPM files (or local source trees, built first) on published images: one update on each, at exactly these versions, proven and pushed."""
    from topcoat import gating
    from topcoat.errors import UsageError
    from topcoat.model import RunRequest
    from topcoat.planner import plan_to_dict
    from topcoat.recipes import Selection
    from topcoat.report import console, document
    from topcoat.report.plans import table
    from topcoat.runs.planning import decide
    from topcoat.runs.run import run

    if bool(rpms) == bool(sources):
        raise UsageError("name either RPM files or source trees", next_step="use --rpm or --source")
    output = settings.work_dir / "hotfix"
    output.parent.mkdir(parents=True, exist_ok=True)
    if rpms:
        repository = gating.collect([Path(rpm) for rpm in rpms], output)
    else:
        repository = gating.build(
            [Path(source) for source in sources], output, work=settings.work_dir / "gating", say=lambda line: click.echo(line, err=True)
        )
    request = RunRequest(
        profile=settings.profile,
        recipes=settings.recipes,
        names=Selection(patterns, with_parents=False).of(settings.recipes),
        reference_tag=reference_tag or settings.profile.reference_tag,
        gating_repository=str(repository.directory),
    )
    if sources:
        request = _only_what_fits(request, decide(request, registries=settings.registries, work=settings.work_dir).plan)
    if dry_run:
        plan = decide(request, registries=settings.registries, work=settings.work_dir).plan
        emit(plan_to_dict(plan), output_format, table(plan))
        return
    options = settings.run_options(tag=settings.profile.run_tag(tag))
    receipt = run(request, options, registries=settings.registries, progress_mode=settings.progress, stream=sys.stderr)
    if output_format == "text":
        console.show(receipt)
    else:
        emit(document.receipt_to_dict(receipt), output_format, "")


def _only_what_fits(request: RunRequest, plan: Plan) -> RunRequest:
    """A source tree gives packages for many images: those that none of the selected images takes need not be proven.

    :raises ContentError: the images take none of them.
    """
    from dataclasses import replace

    from topcoat.errors import ContentError

    taken = {change.new for image in plan.images for change in image.changes if change.new}
    if not taken & set(plan.gated):
        raise ContentError("no selected image takes a package of the source tree", next_step="'topcoat why PACKAGE' names the images that hold it")
    others = sorted({package.name for package in plan.gated if package not in taken})
    return replace(request, profile=replace(request.profile, not_containerised=(*request.profile.not_containerised, *others)))
