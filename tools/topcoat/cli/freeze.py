"""``topcoat freeze``: fetch and check the metadata of the profile's repositories, before anything depends on it; and keep what a set took."""

from __future__ import annotations

import json
from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option
from topcoat.errors import UsageError


@click.command()
@click.option("--output", metavar="FILE", help="Write the view as JSON: repository id to sha256 of its repomd.xml.")
@click.option(
    "--keep",
    metavar="DIR|docker://NAME:TAG",
    help="Keep the repositories of --set in a folder, or under a tag of a registry, with every package that its images took.",
)
@click.option("--set", "name", metavar="SET", shell_complete=_complete.sets, help="Receipt, promotion record or tag that --keep is for.")
@format_option
@click.pass_obj
def command(settings: Settings, output: str | None, keep: str | None, name: str | None, output_format: str) -> None:
    """Take one view of all repositories into the work folder, checksums verified, and print it.

    With --keep and --set, what a set was made of is stored, in the state that its receipt names: 'topcoat build --kept' makes the same images from it
    when the mirrors are gone.
    """
    from topcoat.sets import SetReader, find, keeping

    if bool(keep) != bool(name):
        raise UsageError(
            "--keep and --set go together", next_step="name the folder, or the place in a registry, with --keep and the receipt of the set with --set"
        )
    profile, work = settings.profile, settings.work_dir / "repositories"
    if keep and name:
        found = find(name, registries=settings.registries, profile=profile, images=tuple(settings.recipes))
        reader = SetReader(settings.registries, settings.work_dir, profile.platform, read_layers=True)
        done = keeping.keep(found, keep, reader=reader, registries=settings.registries, profile=profile, recipes=settings.recipes, work=work)
        view = dict(done.view)
        click.echo(f"{done.place} keeps {done.held} bytes of {len(profile.repositories)} repositories", err=True)
    else:
        view = keeping.take(profile, work)
    if output:
        Path(output).write_text(json.dumps(view, indent=1) + "\n", encoding="utf-8")
    emit(view, output_format, "\n".join(f"{repo_id}  sha256:{checksum}" for repo_id, checksum in view.items()))
