"""Commits of exported content: into one repository with a folder an image, one repository an image, or one branch an image.

This module must never make a commit when no byte of content changed, and never touch files that it did not write.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.process.git import Git, identity

_MARK = ".topcoat-exported"
# Settings of a user or a machine that would reach the content, the modes or the hash of a commit; those that say who may push stay.
_SETTINGS = (
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.fileMode=true",
    "core.symlinks=true",
    "core.attributesFile=/dev/null",
    "commit.gpgSign=false",
    "commit.cleanup=strip",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
)


@dataclass(frozen=True)
class Commit:
    """How commits are made. The date is that of the source commit: the same source gives the same commit on every machine."""

    message: str
    date: str = "1970-01-01T00:00:00+0000"
    name: str = "Topcoat"
    email: str = "topcoat@localhost"


class ExportRepository:
    """One git repository that content is exported into, made when it does not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._git = _git(directory)
        if not (directory / ".git").exists():
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise UsageError(f"{directory} is not empty and no git repository", next_step="give an empty folder or a git repository")
            self._git.run("init", "-q", "-b", "main")

    def commit_folders(self, content: Path, commit: Commit) -> bool:
        """Make the exported part of the working tree equal to ``content`` and commit it; False when it was equal.

        What an earlier export wrote and this one does not is removed; all else stays.
        """
        mark = self.directory / _MARK
        before = mark.read_text(encoding="utf-8").split("\n") if mark.is_file() else []
        now = sorted(path.name for path in content.iterdir())
        for name in {*before, *now} - {""}:
            if "/" in name or name in (".git", "..", "."):
                raise UsageError(f"{mark} names {name!r}", next_step="repair or remove that file")
            old = self.directory / name
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
        for name in now:
            source = content / name
            if source.is_dir():
                shutil.copytree(source, self.directory / name, symlinks=True)
            else:
                shutil.copy2(source, self.directory / name)
        mark.write_text("".join(f"{name}\n" for name in now), encoding="utf-8")
        touched = sorted({*before, *now, _MARK} - {""})
        known = set(self._git.run("ls-files", "-z", "--", *touched).output.split("\0")) - {""}
        self._git.run("add", "-A", "-f", "--", *(name for name in touched if (self.directory / name).exists() or _is_known(name, known)))
        if self._git.run("diff", "--cached", "--quiet", check=False).code == 0:
            return False
        self._git.run("commit", "-q", "-m", commit.message, environment=_identity(commit))
        return True

    def commit_branch(self, branch: str, content: Path, commit: Commit) -> bool:
        """Commit ``content`` as the whole tree of a branch, without touching the working tree; False when it was the same."""
        with tempfile.TemporaryDirectory(prefix="topcoat-index-") as scratch:
            index = {"GIT_INDEX_FILE": f"{scratch}/index"}
            self._git.run("--work-tree", str(content), "add", "-A", "-f", ".", environment=index)
            tree = self._git.run("write-tree", environment=index).output.strip()
        head = self._git.run("rev-parse", "-q", "--verify", f"refs/heads/{branch}", check=False)
        parent = head.output.strip() if head.code == 0 else ""
        if parent and self._git.run("rev-parse", f"{parent}^{{tree}}").output.strip() == tree:
            return False
        new = self._git.run(
            "commit-tree", tree, *(("-p", parent) if parent else ()), "-m", commit.message, environment=_identity(commit)
        ).output.strip()
        self._git.run("update-ref", f"refs/heads/{branch}", new, *((parent,) if parent else ()))
        return True


def _git(directory: Path) -> Git:
    """Without what would send git to another repository, index or identity."""
    return Git(directory, settings=_SETTINGS, environment={key: value for key, value in os.environ.items() if not key.startswith("GIT_")})


def _is_known(name: str, known: set[str]) -> bool:
    return any(path == name or path.startswith(f"{name}/") for path in known)


def _identity(commit: Commit) -> dict[str, str]:
    return identity(commit.name, commit.email, commit.date)


def source_commit(directory: Path) -> tuple[str, str, str] | None:
    """(hash, ISO date, subject) of the commit that a checkout is at, None where it is no git checkout."""
    found = _git(directory).run("log", "-1", "--no-show-signature", "--format=%H%n%cI%n%s", check=False)
    lines = found.output.splitlines()
    return (lines[0], lines[1], lines[2] if len(lines) > 2 else "") if found.code == 0 and len(lines) > 1 else None
