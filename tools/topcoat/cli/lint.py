"""``topcoat lint``: every mistake of the recipe tree, its profiles, image lists and promotion criteria, one line each.

This module must never change a file.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@format_option
@click.pass_obj
def command(settings: Settings, output_format: str) -> None:
    """Check recipes, profiles, also one that --profile names by its path, image lists and promotion criteria; exit 2 when there is a mistake."""
    from topcoat.lists import lint

    problems = lint(
        settings.recipes_dir,
        recipe_format=settings.recipe_format,
        variables=settings.variables,
        extra_config=settings.extra_config,
        profile=Path(settings.profile_name) if settings.profile_name.endswith(".yaml") else None,
    )
    data = {"problems": [problem.as_dict() for problem in problems.found], "notes": problems.notes}
    lines = [*(f"note: {note}" for note in problems.notes), *map(str, problems.found)]
    emit(data, output_format, "\n".join(lines if problems.found else [*lines, "No problem found."]))
    if problems.found:
        click.get_current_context().exit(2)
