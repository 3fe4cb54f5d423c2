"""``topcoat diff``: packages that differ between two images."""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("first", metavar="IMAGE1")
@click.argument("second", metavar="IMAGE2")
@format_option
@click.pass_obj
def command(settings: Settings, first: str, second: str, output_format: str) -> None:
    """Show the packages that differ between two images (host/repository:tag or @digest), without pulling them."""
    from topcoat.runs.inspect import difference

    changes = difference(settings, first, second)
    rows = [
        {"name": change.name, "old": str(change.old) if change.old else None, "new": str(change.new) if change.new else None} for change in changes
    ]
    emit(rows, output_format, "\n".join(str(change) for change in changes) or "no package differs")
