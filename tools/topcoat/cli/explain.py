"""``topcoat explain``: why an image gets the action that it gets."""

from __future__ import annotations

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option
from topcoat.cli._selection import Sources, matching, request_of, source_options


@click.command()
@click.argument("image", metavar="IMAGE", shell_complete=_complete.images)
@source_options
@format_option
@click.pass_obj
def command(settings: Settings, sources: Sources, image: str, output_format: str) -> None:
    """Tell what would be done to one image and why: which recipe, which file, which package, which change. Starts nothing."""
    import difflib
    import re

    from topcoat.errors import UsageError
    from topcoat.report import explain
    from topcoat.runs.explaining import explanation

    if image not in settings.recipes:
        near = difflib.get_close_matches(image, settings.recipes, 1)
        raise UsageError(f"no such image: {image}", next_step=f"did you mean {near[0]}?" if near else "'topcoat list' shows the names")
    request = request_of(settings, matching(f"^{re.escape(image)}$"), sources)
    told = explanation(request, image, registries=settings.registries, work=settings.work_dir)
    emit(told, output_format, explain.text(told))
