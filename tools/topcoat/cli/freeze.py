"""``topcoat freeze``: fetch and check the metadata of the profile's repositories, before anything depends on it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.option("--output", metavar="FILE", help="Write the view as JSON: repository id to sha256 of its repomd.xml.")
@format_option
@click.pass_obj
def command(settings: Settings, output: str | None, output_format: str) -> None:
    """Take one view of all repositories into the work folder, checksums verified, and print it."""
    from topcoat.rpm import repositories

    snapshot = repositories.freeze(settings.profile.repositories, settings.work_dir / "repositories")
    view = dict(snapshot.view)
    if output:
        Path(output).write_text(json.dumps(view, indent=1) + "\n", encoding="utf-8")
    emit(view, output_format, "\n".join(f"{name}  sha256:{checksum}" for name, checksum in view.items()))
