"""``topcoat lint``: every mistake of the recipe tree, its profiles and its image lists, one line each.

This module must never change a file.
"""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@format_option
@click.pass_obj
def command(settings: Settings, output_format: str) -> None:
    """Check recipes, profiles and image lists; exit 2 when there is a mistake."""
    from topcoat.lists import lint

    problems = lint(settings.recipes_dir, recipe_format=settings.recipe_format, variables=settings.variables)
    data = {"problems": [problem.as_dict() for problem in problems.found]}
    emit(data, output_format, "\n".join(str(problem) for problem in problems.found) or "No problem found.")
    if problems.found:
        click.get_current_context().exit(2)
