"""A source tree under test, named by its content.

This module must never change the tree: it is the reviewed checkout. And it must never name a tree by the commit that holds it: Zuul merges a change
anew for every buildset, so that the same files have another commit, made at another time, in the buildset of the change behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.process.git import Git

_SPEC_FOLDERS = (".", "rpm", "packaging", "contrib")


def git_of(directory: Path) -> Git:
    """Git in a checkout; it raises UsageError when it refuses, most often because this is none.

    On a CI node the checkout belongs to the job's user and we may be root, which git has to be told.
    """
    return Git(directory, settings=(f"safe.directory={directory}",), failure=UsageError)


@dataclass(frozen=True)
class Packaging:
    """How a tree is packaged whose spec file is not in it.

    :param tree: git's id of the files beside the spec file.
    :param version: of the packages. :param upstream: what the source calls itself (PEP 440).
    """

    tree: str
    version: str
    upstream: str


@dataclass(frozen=True)
class SourceTree:
    """One checkout.

    :param directory: absolute path.
    :param project: name of the folder.
    :param commit: what is checked out, for reports: often a merge that exists in this checkout alone.
    :param committed: when that commit was made, in seconds since the epoch.
    :param tree: git's id of the files, the same wherever the same changes were merged.
    :param written: when the newest change in it was written, in seconds since the epoch: its author's time, which merging, rebasing and
        cherry-picking keep.
    :param spec: the spec file, None for trees that DLRN packages.
    :param packaging: what is known beside it, where the spec file is not one of the tree.
    """

    directory: Path
    project: str
    commit: str
    committed: int
    tree: str
    written: int
    spec: Path | None
    packaging: Packaging | None = None

    @classmethod
    def at(cls, path: Path) -> SourceTree:
        """Look at a checkout.

        :raises UsageError: the path is no git checkout, or holds several spec files; its commit is of no time.
        """
        directory = path.resolve()
        if not directory.is_dir():
            raise UsageError(f"source tree {path} does not exist", next_step="name a git checkout")
        git = git_of(directory)
        commit, tree = git("log", "-1", "--format=%H %T").split()
        committed = git.seconds_of(commit)
        # A history that is cut off at a merge (a shallow clone) holds nothing else to ask.
        written = git.seconds_of(git("rev-list", "-1", "--no-merges", commit) or commit, "%at")
        specs = [spec for folder in _SPEC_FOLDERS for spec in sorted((directory / folder).glob("*.spec"))]
        if len(specs) > 1:
            raise UsageError(f"{directory.name} has {len(specs)} spec files", where=str(specs[1]), next_step="keep one in the tree")
        return cls(directory, directory.name, commit, committed, tree, written, specs[0] if specs else None)

    @property
    def snapshot(self) -> str:
        """``0.<UTC time it was written>.<short tree id>``: the release part that makes this build's NEVRA unlike any published one."""
        return f"0.{datetime.fromtimestamp(self.written, UTC):%Y%m%d%H%M%S}.{self.tree[:7]}"
