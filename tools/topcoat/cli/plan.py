"""``topcoat plan``: what would be done to each image, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, emit_plan, format_option
from topcoat.cli._selection import Sources, request_of, selection_options, source_options

if TYPE_CHECKING:
    from topcoat.recipes import Selection


@click.command()
@selection_options
@source_options
@click.option("--output", metavar="FILE", help="Also write the plan as JSON, for 'topcoat build --plan'.")
@format_option
@click.pass_obj
def command(settings: Settings, selection: Selection, sources: Sources, output: str | None, output_format: str) -> None:
    """Decide from metadata what each image needs: build, update or reuse. Starts nothing, pulls nothing, needs no root."""
    from topcoat.report.plans import plan_to_dict
    from topcoat.runs.planning import decide

    decision = decide(request_of(settings, selection, sources), registries=settings.registries, work=settings.work_dir)
    if output:
        Path(output).write_text(json.dumps(plan_to_dict(decision.plan), indent=2) + "\n", encoding="utf-8")
    emit_plan(decision.plan, output_format)
