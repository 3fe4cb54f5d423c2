"""``topcoat graph``: which image starts from which, as text, JSON, YAML or DOT.

This module must never decide anything; it prints what ``topcoat.report.graph`` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, emit
from topcoat.cli._selection import selection_options
from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.model import Status

if TYPE_CHECKING:
    from topcoat.recipes import Selection

_DOOR = Door(UsageError, "give a file that topcoat plan or build wrote", limit=64 << 20)


@click.command()
@selection_options
@click.option(
    "--format", "output_format", type=click.Choice(["text", "json", "yaml", "dot"]), default="text", show_default=True, help="How it is printed."
)
@click.option("--status", type=click.Path(path_type=Path), help="A plan or a receipt (JSON): colours the DOT by action or result.")
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    output_format: str,
    status: Path | None,
) -> None:
    """Print the tree of images, parents first."""
    from topcoat.report.graph import ImageGraph

    if not selection.with_parents:
        raise UsageError("a graph needs its parents", next_step="leave --skip-parents out")
    names = selection.of(settings.recipes)
    graph = ImageGraph({name: settings.recipes[name] for name in names})
    if output_format == "dot":
        click.echo(graph.to_dot(_status(status) if status else None))
    else:
        emit(graph.to_data(), output_format, graph.to_text())


def _status(path: Path) -> dict[str, str]:
    """Image to word, from the ``images`` of a plan (its action) or of a receipt (its status, or its action when it is done)."""
    what = "the plan or receipt"
    shape = _DOOR.shape(what, where=str(path))
    words = {}
    for image in shape.items(shape.need(shape.table(_DOOR.json_file(path, what), "it"), "images", list), "images", dict):
        result, action = shape.text(image.get("status"), "status") or Status.DONE, shape.text(image.get("action"), "action")
        words[shape.need(image, "name", str, "images")] = (action or result) if result == Status.DONE else result
    return words
