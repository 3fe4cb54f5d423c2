"""Which checkouts of a Zuul job become packages: those that hold changes under test, unless they hold recipes, or nothing that could be packaged.

This module must never leave a change out without saying so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.gating.source import SourceTree
from topcoat.zuul import load_variables, parse_job, projects_under_test

_RECIPES = ("container-images", "tools/topcoat")


@dataclass(frozen=True)
class Choice:
    """What to build and what not."""

    projects: tuple[dict[str, object], ...]
    """``project`` (canonical name), ``path``, ``builder`` (``rpmbuild`` or ``dlrn``), ``commit`` and ``changes`` (URLs, oldest first) of each."""
    left_out: tuple[dict[str, object], ...]
    """``project`` and ``reason`` of each."""
    recipes: bool
    """Whether the job runs for a change of the recipes themselves."""

    @property
    def told(self) -> dict[str, object]:
        """Absolute path of each checkout → ``project`` and newest ``change``, as ``gating.build`` takes it."""
        return {str(Path(str(entry["path"])).resolve()): {"project": entry["project"], "change": entry["changes"][-1]} for entry in self.projects}  # type: ignore[index]


def choose(variables: Path, source_root: Path, *, not_packaged: Sequence[str] = (), dlrn: bool = False) -> Choice:
    """Look at every checkout that holds a change.

    :param variables: an inventory or a file of variables of Zuul. :param source_root: what the projects' ``src_dir`` is relative to.
    :param not_packaged: patterns of projects that need no package. :param dlrn: whether trees without a spec file can be built.
    :raises UsageError: the variables cannot be read. :raises InfrastructureError: a checkout is missing.
    :raises ContentError: a project under test can be made into no package.
    """
    if not variables.is_file():
        raise UsageError(f"{variables} is not a file", next_step="give an inventory or a variables file of Zuul")
    job = parse_job(load_variables(variables.read_bytes(), where=str(variables)))
    found, skipped = projects_under_test(job, not_packaged=not_packaged)
    projects: list[dict[str, object]] = []
    left_out: list[dict[str, object]] = [{"project": entry.project, "reason": entry.reason} for entry in skipped]
    recipes = False
    for under_test in found:
        folder = source_root / under_test.project.src_dir
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
                next_step="add a spec file, use the role ensure-dlrn, or name the project in build_gating_repo_not_packaged when no image holds it",
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
    return Choice(tuple(projects), tuple(left_out), recipes)
