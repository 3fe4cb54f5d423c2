"""``topcoat zuul-artifacts``: the container images of changes ahead, newest of each, and whether they can still be reached."""

from __future__ import annotations

import json
from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option, say
from topcoat.errors import TopcoatError, UsageError
from topcoat.model import ImageReference
from topcoat.zuul import load_variables, newest_images, parse_job


@click.command()
@click.argument("variables", metavar="FILE")
@click.option("--reachable", is_flag=True, help="Ask each registry for the digest, and leave out what does not answer.")
@click.option("--output", metavar="FILE", help="Write the list as JSON, in the shape of zuul.artifacts.")
@format_option
@click.pass_obj
def command(settings: Settings, variables: str, reachable: bool, output: str | None, output_format: str) -> None:
    """Read a Zuul inventory or variables FILE and print the images that changes ahead have left."""
    path = Path(variables)
    if not path.is_file():
        raise UsageError(f"{variables} is not a file", next_step="give an inventory or a variables file of Zuul")
    job = parse_job(load_variables(path.read_bytes(), where=variables))
    kept, lost = [], {}
    for artifact in newest_images(job.artifacts):
        reference = ImageReference.parse(artifact.url)
        if reachable and reference.host not in lost:
            try:
                found = settings.registries.client(reference.host).head(reference.repository, artifact.digest or artifact.tag)
                if found is None:
                    click.echo(f"warning: {reference} is gone; its change is built from source", err=True)
                    continue
            except TopcoatError as error:
                lost[reference.host] = str(error)
                say(f"warning: {error.what}; images of changes ahead in {reference.host} are built from source")
        if reference.host not in lost:
            kept.append(dict(artifact.source))
    if output:
        Path(output).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    emit(kept, output_format, "\n".join(str(entry["url"]) for entry in kept) or "no image of a change ahead")
