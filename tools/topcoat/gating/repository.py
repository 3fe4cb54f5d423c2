"""A finished gating repository, and what it says about itself.

This module must never take a missing repository for an empty one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from topcoat.documents import Door, Shape
from topcoat.errors import UsageError
from topcoat.gating.createrepo import CreateRepo
from topcoat.model import Nevra

MANIFEST = "gating.json"
_DOOR = Door(UsageError, "build the repository again with 'topcoat gating'")


@dataclass(frozen=True)
class GatedPackage:
    """One binary package of the gating repository and where it comes from; ``project`` is the canonical name where it is known."""

    nevra: str
    file: str
    project: str
    commit: str
    change_url: str | None = None
    committed: int = 0
    """When the commit was made, in seconds since the epoch: with it a merge by Zuul can be made again."""


@dataclass(frozen=True)
class GatingRepository:
    """A finished gating repository."""

    directory: Path
    packages: tuple[GatedPackage, ...]

    @property
    def nevras(self) -> tuple[Nevra, ...]:
        """The packages, by name."""
        return tuple(Nevra.parse(package.nevra) for package in self.packages)


def load(directory: Path) -> GatingRepository:
    """Read a repository's ``gating.json``; a repository made elsewhere has none, then the packages are unknown (empty) and the repodata speaks.

    :raises UsageError: the folder is missing or has no repodata: a gating repository that is not there must stop the run.
    """
    if not (directory / "repodata" / "repomd.xml").is_file():
        raise UsageError(
            f"the gating repository {directory} has no repodata/repomd.xml",
            next_step="build it with 'topcoat gating', or leave --gating-repo out if nothing is under test",
        )
    manifest = directory / MANIFEST
    if not manifest.is_file():
        return GatingRepository(directory, ())
    shape = _DOOR.shape("the list of packages under test", where=str(manifest))
    content = shape.table(_DOOR.json_file(manifest, "the list of packages under test"), "it")
    entries = shape.items(shape.need(content, "packages", list), "packages", dict, "objects")
    if not entries:
        shape.refuse("packages", "a list of any package")
    return GatingRepository(directory, tuple(_package(entry, shape) for entry in entries))


def _package(entry: dict[str, object], shape: Shape) -> GatedPackage:
    nevra, file, project, commit = (shape.need(entry, key, str, "packages") for key in ("nevra", "file", "project", "commit"))
    url, committed = shape.text(entry.get("change_url"), "change_url") or None, shape.number(entry.get("committed", 0), "committed")
    try:
        return GatedPackage(str(Nevra.parse(nevra)), file, project, commit, url, committed)
    except UsageError as error:
        raise shape.wrong("packages.nevra", f"the name of a package ({error.what})") from error


def publish(staging: Path, output: Path, packages: Iterable[GatedPackage]) -> GatingRepository:
    """Turn a folder of RPMs into the repository ``output``, which is replaced as a whole: a failure before the swap leaves the old one."""
    ordered = tuple(sorted(packages, key=lambda package: package.nevra))
    CreateRepo().make(staging)
    document = {"packages": [asdict(package) for package in ordered]}
    (staging / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    old = output.with_name(f".{output.name}.{os.getpid()}.old")
    if output.exists():
        output.rename(old)
    staging.rename(output)
    shutil.rmtree(old, ignore_errors=True)
    return GatingRepository(output, ordered)
