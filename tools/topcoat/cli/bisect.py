"""``topcoat bisect``: the package that made a set bad.

This module must never touch a registry by itself; ``topcoat.sets`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option, say


@click.command()
@click.option("--good", required=True, metavar="SET", shell_complete=_complete.sets, help="The set that was good: as of 'topcoat changes'.")
@click.option("--bad", required=True, metavar="SET", shell_complete=_complete.sets, help="The set that is bad.")
@click.option("--run", "judge", required=True, metavar="COMMAND", help="Tries a set; exit code 0 is good, 125 cannot be told, any other is bad.")
@click.option("--packages", multiple=True, metavar="DIR|URL", help="Repository where packages of the two sets still are; may be repeated.")
@click.option("--timeout", default=3600.0, show_default=True, metavar="SECONDS", help="How long the command may take.")
@click.option("--restart", is_flag=True, help="Forget the steps that were made before.")
@click.option("--html", "page", metavar="FILE", help="Write the steps as a page.")
@click.option("--output", metavar="FILE", help="Write the result (JSON).")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    good: str,
    bad: str,
    judge: str,
    packages: tuple[str, ...],
    timeout: float,
    restart: bool,
    page: str | None,
    output: str | None,
    output_format: str,
) -> None:
    """Find the source package that makes a set bad, by halves of what changed.

    Each step puts a part of the changed packages, as the solver lets them go together, as update layers on the good set, pushes that under a tag of
    its own and runs COMMAND (no shell: write 'sh -c "..."' where one is needed). It finds the set in TOPCOAT_TAG, TOPCOAT_RECEIPT, TOPCOAT_REGISTRY
    and TOPCOAT_NAMESPACE. What was broken off goes on where it stopped when it is called again. That GOOD is good and BAD is bad is not tried.
    """
    import json

    from topcoat.process.files import write_whole
    from topcoat.report import bisect as report
    from topcoat.sets import SetReader, bisect, find

    profile = settings.profile
    images = tuple(settings.recipes)
    first, second = (find(name, registries=settings.registries, profile=profile, images=images) for name in (good, bad))
    search = bisect.Bisection(
        bisect.Wish(first, second, judge, packages, timeout, restart),
        SetReader(settings.registries, settings.work_dir, profile.platform),
        settings.registries,
        profile,
        settings.recipes,
        settings.run_options(tag="bisect"),
        say=say,
    )
    shape = search.run()
    if page:
        write_whole(Path(page), report.html(shape, profile.links))
    if output:
        write_whole(Path(output), json.dumps(shape, indent=1) + "\n")
    emit(shape, output_format, report.text(shape))
