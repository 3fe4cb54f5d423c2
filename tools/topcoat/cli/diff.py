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
    from topcoat.rpm.difference import pair
    from topcoat.runs.inspect import read_inventory

    old, new = (read_inventory(settings, image).nevras for image in (first, second))
    changes = pair(old - new, new - old)
    rows = [
        {"name": change.name, "old": str(change.old) if change.old else None, "new": str(change.new) if change.new else None} for change in changes
    ]
    emit(rows, output_format, "\n".join(str(change) for change in changes) or "no package differs")
