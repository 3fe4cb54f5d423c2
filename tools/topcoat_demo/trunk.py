"""Trees of repositories laid out as DLRN lays them out: one directory a commit, and names that point at some of them.

This module must never make a symbolic link: dnf and containers see the trees through bind mounts and HTTP roots where links lead nowhere, so a
promoted name is a directory of hard links.

Layout (DLRN documentation, "Repositories"): ``<first 2>/<next 2>/<commit>_<first 8 of the packaging's commit>/`` with the RPMs of every project at
that moment, ``repodata``, ``delorean.repo``, ``delorean.repo.md5``, ``commit.yaml`` and ``versions.csv``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from topcoat_demo.catalog import Catalog, Commit
from topcoat_demo.packages import Trunk
from topcoat_demo.rpms import make_repository, write_rpm
from topcoat_demo.signing import DEMO

URL = "https://trunk.example.org/demo9-master"
"""What ``delorean.repo`` names: a constant, so that the trees do not depend on where they lie."""


@dataclass(frozen=True)
class HashDirectory:
    """One state of the trunk."""

    commit: str
    distro_hash: str
    project: str

    @property
    def full(self) -> str:
        """``<commit>_<distro8>``: the tag that images of this state get."""
        return f"{self.commit}_{self.distro_hash[:8]}"

    @property
    def path(self) -> str:
        """Relative to the tree."""
        return f"{self.commit[:2]}/{self.commit[2:4]}/{self.full}"


def make_trunk(catalog: Catalog, folder: Path, *, url: str = URL) -> tuple[HashDirectory, ...]:
    """Write the hash directories, oldest first (the first one passed CI, the last one is current), and both names.

    :param folder: is made; the tree is deterministic.
    """
    pool = folder / ".pool"
    commits = dict(catalog.first)
    newest = max(commits.values(), key=lambda commit: commit.time)
    packages: dict[str, list[Path]] = {
        name: [write_rpm(spec, pool, signer=DEMO) for spec in Trunk(catalog, commits).project(name)] for name in commits
    }
    states = [_state(folder, newest, commits, packages, url)]
    for commit in catalog.later:
        commits[commit.project] = commit
        packages[commit.project] = _written(catalog, commits, commit.project, pool)
        states.append(_state(folder, commit, commits, packages, url))
    name_state(folder, "current-passed-ci", states[0])
    name_state(folder, "current", states[-1])
    shutil.rmtree(pool)
    return tuple(states)


def _written(catalog: Catalog, commits: Mapping[str, Commit], project: str, pool: Path) -> list[Path]:
    return [write_rpm(spec, pool, signer=DEMO) for spec in Trunk(catalog, commits).project(project)]


def _state(folder: Path, commit: Commit, commits: Mapping[str, Commit], packages: Mapping[str, list[Path]], url: str) -> HashDirectory:
    state = HashDirectory(commit.hash, commit.distro_hash, commit.project)
    target = folder / state.path
    make_repository(target, [path for paths in packages.values() for path in paths], revision=commit.time)
    repo = f"[delorean]\nname=delorean-{commit.project}-{commit.hash}\nbaseurl={url}/{state.path}\nenabled=1\ngpgcheck=0\npriority=1\n"
    _write(target / "delorean.repo", repo, commit.time)
    _write(target / "delorean.repo.md5", hashlib.md5(repo.encode(), usedforsecurity=False).hexdigest(), commit.time)
    _write(target / "commit.yaml", yaml.safe_dump({"commits": [_record(commit, state, packages[commit.project])]}), commit.time)
    rows = ["Project,Source Repo,Source Sha,Dist Repo,Dist Sha,Status,Last Success Timestamp,Component,Pkg NVR"]
    for name, item in sorted(commits.items()):
        nvr = packages[name][0].name.rsplit(".", 2)[0]
        rows.append(
            f"{name},https://opendev.example.org/{name},{item.hash},https://dist.example.org/{name},{item.distro_hash},SUCCESS,{item.time},None,{nvr}"
        )
    _write(target / "versions.csv", "\n".join(rows) + "\n", commit.time)
    return state


def _record(commit: Commit, state: HashDirectory, built: list[Path]) -> dict[str, object]:
    return {
        "artifacts": ",".join(f"repos/{state.path}/{path.name}" for path in built),
        "commit_branch": "master",
        "commit_hash": commit.hash,
        "component": None,
        "distro_hash": commit.distro_hash,
        "dt_build": commit.time + 600,
        "dt_commit": commit.time,
        "dt_distro": 0,
        "extended_hash": None,
        "flags": 0,
        "notes": commit.subject,
        "project_name": commit.project,
        "status": "SUCCESS",
        "type": "rpm",
    }


def name_state(folder: Path, name: str, state: HashDirectory) -> Path:
    """Point a promoted name at a state: its files, hard-linked; replaced as a whole.

    :returns: the directory of the name.
    """
    partial = folder / f".{name}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder / state.path, partial, copy_function=os.link)
    old = folder / f".{name}.{os.getpid()}.old"
    target = folder / name
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _write(path: Path, text: str, time: int) -> None:
    path.write_text(text)
    os.utime(path, (time, time))
