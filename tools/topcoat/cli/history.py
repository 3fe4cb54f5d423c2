"""``topcoat history``: what became of every attempt to promote to a name.

This module must never change anything.
"""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("name", required=False)
@click.option("--newest", default=20, show_default=True, type=click.IntRange(min=1), metavar="N", help="So many entries of each name.")
@format_option
@click.pass_obj
def command(settings: Settings, name: str | None, newest: int, output_format: str) -> None:
    """Show what became of every attempt to promote: promoted, rejected and by which jobs, overridden and why, held, rolled back. Newest first."""
    from topcoat.model.moments import minute
    from topcoat.promotion import Control, History
    from topcoat.report.console import clean

    profile = settings.profile
    history = History(Control(settings.registries.client(profile.registry), profile.namespace))
    ids = history.ids()
    entries = [entry for one in ([name] if name else ids) for entry in history.newest(one, newest, ids=ids.get(one, ()))]
    lines = []
    for entry in entries:
        often = f" ({entry.times} times)" if entry.times > 1 else ""
        words = [entry.sentence, f"override: {entry.override}" if entry.override else "", f"by {entry.by}"]
        lines.append(clean(f"{minute(entry.last)}  {entry.name}  {entry.state}{often}  {entry.source}  {'; '.join(word for word in words if word)}"))
    emit([entry.as_dict() for entry in entries], output_format, "\n".join(lines) or "nothing was ever promoted here")
