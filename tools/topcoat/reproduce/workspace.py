"""The sources of a job, as Zuul's merger makes them: the branch, and on it every change under test, in order.

This module must never write outside the folder it was given.

Zuul merges changes into the branch with a merge commit of its own, which nobody can fetch. Its hash follows from the two parents, the merged
tree, an identity and a time. So where a recorded job names the hash, the commit is found again (``recorded.find``), bit for bit, because
DLRN names packages by it. Where it cannot be found, the merge is made anew and the difference is told; the files are the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.process.git import identity
from topcoat.reproduce.git import WorkGit
from topcoat.reproduce.recorded import Committer, find

_COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_IDENTITY = Committer("Zuul", "zuul@localhost")


@dataclass(frozen=True)
class Merge:
    """A change that goes onto the branch: its ref and commit."""

    ref: str
    commit: str | None = None


@dataclass(frozen=True)
class Source:
    """One project of the workspace. ``commit`` is the recorded state of the checkout, ``times`` recorded commit times in seconds since the epoch."""

    canonical_name: str
    src_dir: str
    url: str
    branch: str
    merges: tuple[Merge, ...] = ()
    commit: str | None = None
    times: tuple[int, ...] = ()


@dataclass(frozen=True)
class Checkout:
    """What a project's checkout became. ``note`` tells how it differs from the recorded one; empty when it is the same or nothing was recorded."""

    canonical_name: str
    src_dir: str
    directory: Path
    commit: str
    note: str = ""


def safe_folder(root: Path, src_dir: str) -> Path:
    """The folder of a checkout below the root.

    :raises UsageError: the recorded path leads out of it.
    """
    path = PurePosixPath(src_dir)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\x00" in src_dir or src_dir.startswith("-"):
        raise UsageError(f"the recorded folder {src_dir!r} leads out of the work folder", next_step="do not use this inventory")
    # one project's checkout may hold a link where the folder of another is said to be
    if not (root / path).resolve().is_relative_to(root.resolve()):
        raise UsageError(f"the recorded folder {src_dir!r} leads out of the work folder by a link", next_step="do not use this inventory")
    return root / path


def prepare(root: Path, source: Source, *, log: Path, identities: Sequence[Committer] = ()) -> Checkout:
    """Make one checkout.

    :raises InfrastructureError: the project or a ref cannot be fetched.
    :raises ContentError: a change does not merge.
    """
    directory = safe_folder(root, source.src_dir)
    directory.mkdir(parents=True, exist_ok=True)
    git = WorkGit(directory, log)
    if not (directory / ".git").is_dir():
        git("init", "--quiet", "--initial-branch", "topcoat-empty")
    wanted = source.commit if source.commit and _COMMIT.fullmatch(source.commit) else None
    branch = f"refs/heads/{source.branch}"
    git.fetch(source.url, f"+{branch}:refs/remotes/origin/{source.branch}", *(f"+{merge.ref}:{_kept(merge)}" for merge in source.merges))
    for merge in source.merges:
        found = git("rev-parse", f"{_kept(merge)}^{{commit}}")
        if merge.commit and found != merge.commit:
            raise InfrastructureError(
                f"{source.canonical_name}: {merge.ref} is {found} now, {merge.commit} was recorded",
                retriable=False,
                next_step="the server changed a patchset",
            )
    tip = git("rev-parse", f"refs/remotes/origin/{source.branch}")
    if wanted and not git.has(wanted):
        git.run("fetch", "--quiet", "--no-tags", source.url, wanted, check=False)  # servers that let any commit be fetched
    if wanted and git.has(wanted):
        return _finish(git, source, wanted, "")
    if wanted and len(source.merges) == 1:
        made = find(git, wanted, branch_tip=tip, merge=git("rev-parse", _kept(source.merges[0])), ref=source.merges[0].ref, times=source.times,
                    identities=[*identities, DEFAULT_IDENTITY])  # fmt: skip
        if made:
            return _finish(git, source, made, "")
    commit = _merge_anew(git, source, tip)
    note = ""
    if wanted and commit != wanted:
        merged = "the changes were merged anew" if source.merges else f"branch {source.branch} has moved on"
        note = f"{source.canonical_name} was at {wanted[:12]}, here it is at {commit[:12]}: {merged}; DLRN gives such packages another release"
    return _finish(git, source, commit, note)


def _kept(merge: Merge) -> str:
    """Where a fetched ref is kept."""
    return f"refs/topcoat/{merge.ref.removeprefix('refs/')}"


def _merge_anew(git: WorkGit, source: Source, tip: str) -> str:
    """Merge every change, one after the other, each with the time of its own commit: the same input gives the same commit."""
    git("checkout", "--quiet", "--force", "--detach", tip)
    git("clean", "-xfdq")
    for merge in source.merges:
        commit = git("rev-parse", _kept(merge))
        seconds = git.seconds_of(commit)
        who = identity(DEFAULT_IDENTITY.name, DEFAULT_IDENTITY.mail, f"{seconds} +0000")
        result = git.run("merge", "-s", "resolve", "-m", f"Merge '{merge.ref}'", commit, check=False, environment=who)
        if result.code:
            git.run("merge", "--abort", check=False)
            raise ContentError(
                f"{merge.ref} does not merge into {source.branch} of {source.canonical_name}: {result.errors[-300:]}",
                next_step="rebase the change, as Zuul would ask too",
            )
    return git("rev-parse", "HEAD")


def _finish(git: WorkGit, source: Source, commit: str, note: str) -> Checkout:
    """Leave the branch of that name checked out at the commit, as on a node of Zuul."""
    git("checkout", "--quiet", "--force", "-B", source.branch, commit)
    git("clean", "-xfdq")
    return Checkout(source.canonical_name, source.src_dir, git.directory, commit, note)
