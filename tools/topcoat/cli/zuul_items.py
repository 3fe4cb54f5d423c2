"""``topcoat zuul-items``: which checkouts of a Zuul job hold changes under test, and whether a package can be made of each."""

from __future__ import annotations

import json
from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("variables", metavar="FILE")
@click.option("--source-root", default=".", show_default=True, metavar="DIR", help="Folder that the projects' src_dir is relative to.")
@click.option("--not-packaged", multiple=True, metavar="PATTERN", help="Projects (names or patterns) that need no package; may be repeated.")
@click.option("--dlrn", is_flag=True, help="Whether trees without a spec file can be built by DLRN.")
@click.option("--changes", metavar="FILE", help="Also write which checkout holds which change, the file that 'topcoat gating --changes' reads.")
@format_option
@click.pass_obj
def command(
    settings: Settings, variables: str, source_root: str, not_packaged: tuple[str, ...], dlrn: bool, changes: str | None, output_format: str
) -> None:
    """Read a Zuul inventory or variables FILE and print the projects to build, once each, and what is left out."""
    from topcoat.gating.under_test import choose

    choice = choose(Path(variables), Path(source_root), not_packaged=not_packaged, dlrn=dlrn)
    if changes:
        Path(changes).write_text(json.dumps(choice.told, indent=1) + "\n", encoding="utf-8")
    lines = [f"build   {project['project']} ({project['builder']}): {', '.join(map(str, project['changes']))}" for project in choice.projects]  # type: ignore[call-overload]
    lines += [f"leave   {entry['project']}: {entry['reason']}" for entry in choice.left_out]
    data = {"projects": list(choice.projects), "left_out": list(choice.left_out), "recipes": choice.recipes}
    emit(data, output_format, "\n".join(lines) or "no change is under test")
