"""Which checkouts have to become packages: the projects of the changes under test, each once.

This module must never look at the disk: whether a checkout can be packaged is asked of the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from topcoat.errors import UsageError
from topcoat.zuul.job import Item, Project, ZuulJob

_NEXT = "give the variable zuul of the job as Zuul made it"


@dataclass(frozen=True)
class ProjectUnderTest:
    """A checkout that holds one or more changes under test; Zuul has merged them all into it."""

    project: Project
    changes: tuple[Item, ...]
    own: bool
    """Whether the job runs for a change of this very project."""

    @property
    def change_url(self) -> str | None:
        """The newest change, which stands on the others."""
        return self.changes[-1].url


@dataclass(frozen=True)
class Skipped:
    """A project of an item that becomes no package, and why."""

    project: str
    reason: str


def projects_under_test(job: ZuulJob, *, not_packaged: Sequence[str] = ()) -> tuple[tuple[ProjectUnderTest, ...], tuple[Skipped, ...]]:
    """The checkouts that hold changes under test, oldest change first, and what was left out with the reason.

    Several changes of one project are one checkout, so they are one entry. Items without a change (periodic pipelines, branch tips after
    merge) are under no test: their packages come from the repositories. Changes in a circle are trailing items like any others.

    :param not_packaged: fnmatch patterns of project names (canonical or short) that need no package.
    :raises UsageError: there are no items, which every job of Zuul has; or the job's own change is in no checkout. Nothing under test would be green.
    """
    if not job.items:
        raise UsageError("zuul['items'] is absent or empty, so nobody can tell what is under test", next_step=_NEXT)
    checked_out = {project.canonical_name: project for project in job.projects}
    changes: dict[str, list[Item]] = {}
    skipped: list[Skipped] = []
    for item in job.items:
        if item.change is None:
            continue
        project = checked_out.get(item.project)
        if any(fnmatchcase(name, pattern) for pattern in not_packaged for name in (item.name, item.project)):
            _skip(skipped, item.project, "named as a project without a package")
        elif project is None and item.project == (job.project or item.project):
            raise UsageError(f"change {item.change} of {item.project} is under test and zuul.projects has no checkout of it", next_step=_NEXT)
        elif project is None:
            _skip(skipped, item.project, "not checked out by this job")
        elif item.project != job.project and project.checkout and item.branch and project.checkout != item.branch:
            _skip(skipped, item.project, f"change {item.change} is for branch {item.branch}, this job has checked out {project.checkout}")
        else:
            changes.setdefault(item.project, []).append(item)
    found = tuple(ProjectUnderTest(checked_out[name], tuple(of), name == job.project) for name, of in changes.items())
    return found, tuple(skipped)


def _skip(skipped: list[Skipped], project: str, reason: str) -> None:
    entry = Skipped(project, reason)
    if entry not in skipped:
        skipped.append(entry)
