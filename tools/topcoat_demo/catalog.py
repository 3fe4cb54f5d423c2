"""The tables of the demo distribution (``data/*.yaml``) as objects: which projects there are, at which commit, and which packages each makes.

This module must never decide what a package holds; ``packages`` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from topcoat_demo.rpms import EPOCH

_DAY = 86_400
Table = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Commit:
    """One state of a project: what DLRN would have built. ``time`` is seconds since the epoch (UTC)."""

    project: str
    version: str
    time: int
    subject: str = "Initial state"
    requires: tuple[str, ...] = ()
    """Added to the requirements of the project's main package."""
    obsoletes: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """The commit id."""
        return hashlib.sha1(f"{self.project} {self.version} {self.subject}".encode(), usedforsecurity=False).hexdigest()

    @property
    def distro_hash(self) -> str:
        """The commit id of the packaging."""
        return hashlib.sha1(f"{self.project} packaging".encode(), usedforsecurity=False).hexdigest()


def _read(name: str) -> dict[str, dict[str, object]]:
    return yaml.safe_load((Path(__file__).parent / "data" / name).read_text())


class Catalog:
    """All tables."""

    def __init__(self) -> None:
        projects = _read("projects.yaml")
        self.libraries: Table = projects["libraries"]  # type: ignore[assignment]
        self.services: Table = projects["services"]  # type: ignore[assignment]
        self.others: Table = projects["others"]  # type: ignore[assignment]
        self.newer: Sequence[Mapping[str, object]] = projects["newer"]  # type: ignore[assignment]
        self.sources: Sequence[str] = projects["sources"]  # type: ignore[assignment]
        self.infra = _read("infra.yaml")

    @cached_property
    def first(self) -> dict[str, Commit]:
        """Every project of the trunk at the commit that passed CI."""
        found: dict[str, Commit] = {}
        for table in (self.libraries, self.services, self.others):
            for name, entry in table.items():
                project = str(entry.get("project", name))
                # Some day of the ninety before the distribution's own date, the same one every time.
                age = int(hashlib.sha256(project.encode()).hexdigest()[:8], 16) % (90 * _DAY)
                found.setdefault(project, Commit(project, str(entry["version"]), EPOCH - _DAY - age))
        return found

    @cached_property
    def later(self) -> tuple[Commit, ...]:
        """The commits of ``current`` that did not pass CI yet, oldest first, one a day."""
        commits = []
        for number, entry in enumerate(self.newer, 1):
            project = str(entry["project"])
            commits.append(
                replace(
                    self.first[project],
                    version=str(entry["version"]),
                    subject=str(entry["subject"]),
                    time=EPOCH + number * _DAY,
                    requires=tuple(entry.get("requires", ())),  # type: ignore[arg-type]
                    obsoletes=tuple(entry.get("obsoletes", ())),  # type: ignore[arg-type]
                )
            )
        return tuple(commits)

    @property
    def current(self) -> dict[str, Commit]:
        """Every project at its newest commit."""
        return {**self.first, **{commit.project: commit for commit in self.later}}
