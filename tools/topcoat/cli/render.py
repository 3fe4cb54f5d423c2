"""``topcoat render``: Containerfiles and their contexts, nothing else (no registry, no repository, no build).

This module must never write outside the directory it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.cli._selection import selection_options

if TYPE_CHECKING:
    from topcoat.recipes import Selection


@click.command()
@selection_options
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write DIR/<image>/Containerfile and its context; without it, print.")
@click.option("--tag", default="latest", show_default=True, help="Tag of the parent images in FROM.")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    output: Path | None,
    tag: str,
    output_format: str,
) -> None:
    """Write the Containerfiles of the selected images; each can be built with plain buildah."""
    from topcoat.containerfile import fingerprints, render_tree, write_context

    names = selection.with_recipe(settings.recipes)
    rendered = render_tree(settings.recipes, names, profile=settings.profile, tag=tag)
    prints = fingerprints(settings.recipes, settings.profile)
    if output is not None:
        for name, one in rendered.items():
            write_context(one, output / name)
    data = [
        {"name": name, "fingerprint": prints[name].total, "parts": dict(prints[name].parts), "containerfile": one.containerfile}
        for name, one in rendered.items()
    ]
    if output is not None and output_format == "text":
        click.echo(f"{len(names)} Containerfiles written to {output}")
    elif len(names) == 1 and output_format == "text":
        click.echo(rendered[names[0]].containerfile, nl=False)
    else:
        text = "\n".join(f"### {name}\n{one.containerfile}" for name, one in rendered.items())
        emit(data, output_format, text)
