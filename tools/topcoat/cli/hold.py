"""``topcoat hold``: nobody may promote to a name until it is released.

This module must never move a tag.
"""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.errors import UsageError


@click.command()
@click.argument("name")
@click.argument("reason", required=False)
@click.option("--release", is_flag=True, help="End the hold.")
@format_option
@click.pass_obj
def command(settings: Settings, name: str, reason: str | None, release: bool, output_format: str) -> None:
    """Hold a floating name: until --release nobody may promote to it, not even with --override; a rollback still may.

    Without REASON it says who holds it.
    """
    from dataclasses import asdict

    from topcoat.promotion import Control, History
    from topcoat.promotion.control import check_name
    from topcoat.promotion.promoter import who

    profile = settings.profile
    history = History(Control(settings.registries.client(profile.registry), profile.namespace))
    check_name(name)
    if release:
        if reason:
            raise UsageError("--release takes no reason", next_step="leave it out")
        found = history.release(name, who())
        words = f"{name} is released; it was held for: {found.reason}" if found else f"{name} is not held"
        emit({"name": name, "held": False, "hold": asdict(found) if found else None}, output_format, words)
        return
    found = history.set_hold(name, reason, who()) if reason is not None else history.hold(name)
    words = f"{name} is held by {found.by} since {found.since}: {found.reason}" if found else f"{name} is not held"
    emit({"name": name, "held": found is not None, "hold": asdict(found) if found else None}, output_format, words)
