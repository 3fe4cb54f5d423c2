"""``topcoat board``: the promotion board as a folder of static pages.

This module must never read a registry by itself; ``topcoat.sets`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option, say


@click.command()
@click.option("--output", required=True, metavar="DIR", help="Folder for the pages; what is there is written over, and pages of older sets stay.")
@click.option("--dlrn", metavar="URL", help="DLRN API: candidates and votes are read there, so that sets which wait are seen.")
@click.option("--criteria", "criteria_file", metavar="FILE", help="Promotion criteria.  [default: criteria/PROFILE.yaml]")
@click.option("--zuul", default="", metavar="URL", help="Pages of the tenant in Zuul's web interface: jobs lead to their builds there.")
@click.option("--newest", default=100, show_default=True, type=click.IntRange(min=1), metavar="N", help="Read so many entries of each history.")
@format_option
@click.pass_obj
def command(settings: Settings, output: str, dlrn: str | None, criteria_file: str | None, zuul: str, newest: int, output_format: str) -> None:
    """Write the promotion board: streams, phases, what still misses, overrides, comparisons, where a change is. HTML and JSON, no server."""
    from topcoat.report import board as report
    from topcoat.sets import board
    from topcoat.sets.architectures import WantedPart

    architectures = settings.profile.architectures
    others = [settings.of_architecture(one.name) for one in architectures]
    found = board.made(
        board.Promotable(settings.registries, settings.profile, settings.recipes_dir, tuple(settings.set_recipes)),
        work=settings.work_dir,
        criteria=Path(criteria_file) if criteria_file else None,
        dlrn=dlrn,
        zuul=zuul,
        newest=newest,
        wanted=[WantedPart(one, its.profile, tuple(its.recipes)) for one, its in zip(architectures, others, strict=True)],
        output=Path(output),
        say=say,
    )
    emit(found, output_format, report.text(found))
