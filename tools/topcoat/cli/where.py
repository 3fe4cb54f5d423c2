"""``topcoat where``: in which promoted sets something is, and since when.

This module must never change anything.
"""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option, say


@click.command()
@click.argument("word", metavar="CHANGE|PACKAGE|CVE")
@click.option("--newest", default=100, show_default=True, type=click.IntRange(min=1), metavar="N", help="Look at so many entries of each history.")
@format_option
@click.pass_obj
def command(settings: Settings, word: str, newest: int, output_format: str) -> None:
    """Say where a change, commit, package, CVE or bug is: in which promoted sets, since when, in which images.

    A package is a source or binary package, a commit what its version or an image's label names; everything else is looked for in the changelogs
    that the registry keeps. The exit code is 1 when nothing is known of it.
    """
    from topcoat.sets import SetReader, search

    reader = SetReader(settings.registries, settings.work_dir, settings.profile.platform)
    shape = search.answer(word, reader, settings.registries, settings.profile, newest=newest, say=say)
    emit(shape, output_format, search.text(shape))
    if not shape["found"]:
        click.get_current_context().exit(1)
