"""``topcoat zuul-items``: which checkouts of a Zuul job hold changes under test, and whether a package can be made of each."""

from __future__ import annotations

import json
from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.errors import ContentError, InfrastructureError
from topcoat.zuul import load_variables, parse_job, projects_under_test

_RECIPES = ("container-images", "tools/topcoat")


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
    from topcoat.gating.source import SourceTree

    path = Path(variables)
    job = parse_job(load_variables(path.read_bytes(), where=variables) if path.is_file() else _missing(variables))
    found, skipped = projects_under_test(job, not_packaged=not_packaged)
    projects, left_out, recipes = [], [{"project": entry.project, "reason": entry.reason} for entry in skipped], False
    for under_test in found:
        folder = Path(source_root) / under_test.project.src_dir
        if not folder.is_dir():
            raise InfrastructureError(
                f"{under_test.project.name} is not at {folder}", next_step="let the base job prepare the workspace (zuul-jobs: prepare-workspace-git)"
            )
        if all((folder / part).is_dir() for part in _RECIPES):
            recipes = recipes or under_test.own
            left_out.append({"project": under_test.project.canonical_name, "reason": "holds recipes and the tool, no package"})
            continue
        tree = SourceTree.at(folder)
        if tree.spec is None and not dlrn:
            raise ContentError(
                f"{under_test.project.name} is under test and has no spec file, so no package can be made of it",
                where=str(folder),
                next_step="add a spec file, install DLRN, or name the project in build_gating_repo_not_packaged when no image holds it",
            )
        projects.append(
            {
                "project": under_test.project.canonical_name,
                "path": str(folder),
                "builder": "rpmbuild" if tree.spec else "dlrn",
                "commit": tree.commit,
                "changes": [change.url or change.change for change in under_test.changes],
            }
        )
    if changes:
        told = {str(Path(str(entry["path"])).resolve()): {"project": entry["project"], "change": entry["changes"][-1]} for entry in projects}
        Path(changes).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    lines = [f"build   {project['project']} ({project['builder']}): {', '.join(map(str, project['changes']))}" for project in projects]
    lines += [f"leave   {entry['project']}: {entry['reason']}" for entry in left_out]
    emit({"projects": projects, "left_out": left_out, "recipes": recipes}, output_format, "\n".join(lines) or "no change is under test")


def _missing(path: str) -> dict[str, object]:
    from topcoat.errors import UsageError

    raise UsageError(f"{path} is not a file", next_step="give an inventory or a variables file of Zuul")
