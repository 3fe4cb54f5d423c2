"""Which advisories of the profile's repositories speak of the packages that moved.

This module must never say that there is none where nobody publishes any: that is another sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topcoat.changes import SetChanges
from topcoat.model import Repository
from topcoat.yum import advisories, repositories
from topcoat.yum.advisories import Advisory


def advise(changes: SetChanges, repo_set: Sequence[Repository], work: Path) -> dict[str, list[Advisory]] | None:
    """Source package -> advisories of the versions that came; None when no repository publishes advisories.

    :raises TopcoatError: a repository cannot be read.
    """
    wanted: dict[tuple[str, str], str] = {
        (package, version): row.source for row in changes.rows for move in row.moves for version in move.new for package in row.packages
    }
    found: dict[str, list[Advisory]] = {}
    with repositories.freeze(repo_set, work) as snapshot:
        files = [path for frozen in snapshot.repositories if (path := frozen.metadata("updateinfo"))]
        for path in files:
            for advisory in advisories.read(path):
                for source in {wanted[package] for package in advisory.packages & wanted.keys()}:
                    if advisory not in found.setdefault(source, []):
                        found[source].append(advisory)
    return found if files else None
