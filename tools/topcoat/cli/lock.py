"""``topcoat lock``: write down which build of each package a set took."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, dry_run_option, emit, format_option


@click.command()
@click.argument("name", metavar="SET", shell_complete=_complete.sets)
@click.option("--output", metavar="DIR", help="Where the locks go, a file a family.  [default: RECIPES/locks]")
@dry_run_option
@format_option
@click.pass_obj
def command(settings: Settings, name: str, output: str | None, dry_run: bool, output_format: str) -> None:
    """Write the locks of a set, a file for each family: every package that its images took from the repositories.

    SET is a tag of the images, the name of a promotion record, or the file of a receipt, whose own view of the repositories is used then. The form is
    that of dnf's manifest plugin. What a lock says of other architectures stays.
    """
    from topcoat.sets import SetReader, find, keeping

    profile, folder = settings.profile, Path(output) if output else settings.recipes_dir / "locks"
    found = find(name, registries=settings.registries, profile=profile, images=tuple(settings.recipes))
    reader = SetReader(settings.registries, settings.work_dir, profile.platform, read_layers=True)
    families = keeping.lock(found, folder, reader=reader, profile=profile, recipes=settings.recipes, work=settings.work_dir / "repositories")
    if not dry_run:
        for family in families:
            family.write(folder)
    shape = {
        family.name: {"packages": len(family.lock.packages.get(profile.arch, ())), "differences": list(family.differences)} for family in families
    }
    lines = []
    for family in families:
        lines += [f"{family.name}: {len(family.differences)} difference(s)", *(f"  {difference}" for difference in family.differences)]
    emit(shape, output_format, "\n".join(lines))
