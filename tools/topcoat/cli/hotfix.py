"""``topcoat hotfix``: given RPM files, or local source trees, on given images."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, dry_run_option, emit_plan, emit_receipt, format_option, say
from topcoat.cli._selection import matching


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
    from topcoat.errors import UsageError
    from topcoat.runs import hotfix
    from topcoat.runs.planning import decide
    from topcoat.runs.run import run

    if bool(rpms) == bool(sources):
        raise UsageError("name either RPM files or source trees", next_step="use --rpm or --source")
    request = hotfix.request(
        settings.profile,
        settings.recipes,
        matching(*patterns, parents=False).of(settings.recipes),
        reference_tag=reference_tag,
        rpms=list(map(Path, rpms)),
        sources=list(map(Path, sources)),
        registries=settings.registries,
        work=settings.work_dir,
        say=say,
    )
    if dry_run:
        emit_plan(decide(request, registries=settings.registries, work=settings.work_dir).plan, output_format)
        return
    options = settings.run_options(tag=settings.profile.run_tag(tag))
    emit_receipt(run(request, options, registries=settings.registries, progress_mode=settings.progress, stream=sys.stderr), output_format)
