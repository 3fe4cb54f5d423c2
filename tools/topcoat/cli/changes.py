"""``topcoat changes``: how two sets of images differ, one row a source package.

This module must never touch a registry by itself; ``topcoat.sets`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings


@click.command()
@click.argument("before", metavar="FROM", shell_complete=_complete.sets)
@click.argument("after", metavar="TO", shell_complete=_complete.sets)
@click.option("--changelog", is_flag=True, help="With the changelog entries that FROM lacks.")
@click.option("--advisories", is_flag=True, help="With the advisories that the profile's repositories publish; reads the repositories.")
@click.option("--read-layers", is_flag=True, help="Read the package database out of the layers of images that have no inventory of ours.")
@click.option(
    "--format", "output_format", type=click.Choice(["text", "md", "json", "html"]), default="text", show_default=True, help="How it is printed."
)
@click.option("--output", metavar="FILE", help="Write it to a file instead.")
@click.pass_obj
def command(
    settings: Settings, before: str, after: str, changelog: bool, advisories: bool, read_layers: bool, output_format: str, output: str | None
) -> None:
    """Show how two sets of images differ: source packages that moved, images, recipes.

    FROM and TO are each a tag of the images, the name of a promotion record (current-passed-ci, current-passed-ci.previous), or the file of a
    receipt or of what 'topcoat promote --output' wrote. Nothing is pulled.
    """
    from topcoat.report import changelog as report
    from topcoat.sets import SetReader, comparison, find

    profile = settings.profile
    first, second = (find(name, registries=settings.registries, profile=profile, images=tuple(settings.set_recipes)) for name in (before, after))
    reader = SetReader(settings.registries, settings.work_dir, profile.platform, read_layers=read_layers)
    repositories = settings.work_dir / "repositories" if advisories else None
    shape = comparison.document(reader, first, second, profile, changelog=changelog, repositories=repositories)
    words = report.render(shape, output_format, profile.links)
    if output:
        from topcoat.process.files import write_whole

        write_whole(Path(output), words + "\n")
    else:
        click.echo(words)
