"""Locks in the form of dnf's manifest plugin: which build of each package is to be taken, and where it lies.

This module must never compare versions: a build is the locked one or it is not.

The format is libpkgmanifest's ``rpm-package-manifest``, version 0.2: packages by their own architecture, those of ``noarch`` with the architectures
of the images that took them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import Nevra
from topcoat.process.files import write_whole

DOCUMENT, VERSION = "rpm-package-manifest", "0.2.2"
_NOARCH = "noarch"
_DOOR = Door(ContentError, "write it anew with 'topcoat lock'")


@dataclass(frozen=True, order=True)
class Locked:
    """One package: which, from which repository, ``algorithm:hex``, size in bytes, its place below the repository, and its source package."""

    nevra: Nevra
    repository: str
    checksum: str
    size: int
    location: str
    source_rpm: str = ""


@dataclass(frozen=True)
class Manifest:
    """A lock: repositories by id with their base URL, and for each architecture of images the packages that they take."""

    repositories: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, tuple[Locked, ...]] = field(default_factory=dict)
    """Architecture of images -> packages, those of ``noarch`` among them."""

    def with_architecture(self, arch: str, repositories: Mapping[str, str], packages: Iterable[Locked]) -> Manifest:
        """The lock with what images of one architecture take put anew; what others take stays."""
        own = tuple(sorted(packages))
        every = {name: found for name, found in {**self.packages, arch: own}.items() if found}
        used = {package.repository for found in every.values() for package in found}
        urls = {name: url for name, url in {**self.repositories, **repositories}.items() if name in used}
        return Manifest(urls, every)

    def to_text(self) -> str:
        """YAML; equal locks give equal bytes, a line for what changed."""
        architectures: dict[Locked, list[str]] = {}
        for arch, found in sorted(self.packages.items()):
            for package in found:
                architectures.setdefault(package, []).append(arch)
        packages: dict[str, list[dict[str, object]]] = {}
        for package in sorted(architectures):
            packages.setdefault(package.nevra.arch, []).append(_entry(package, architectures[package]))
        data = {
            "repositories": [{"id": name, "baseurl": url} for name, url in sorted(self.repositories.items())],
            "packages": dict(sorted(packages.items())),
        }
        document = {"document": DOCUMENT, "version": VERSION, "data": data}
        return str(yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=1000))


def _entry(package: Locked, architectures: list[str]) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": package.nevra.name,
        "repo_id": package.repository,
        "location": package.location,
        "checksum": package.checksum,
        "size": package.size,
        "evr": package.nevra.evr,
    }
    if package.source_rpm:
        entry["srpm"] = package.source_rpm.removesuffix(".rpm")
    if package.nevra.arch == _NOARCH or architectures != [package.nevra.arch]:
        entry["parent_archs"] = architectures
    return entry


def write(manifest: Manifest, path: Path) -> None:
    """Write a lock whole or not at all."""
    write_whole(path, manifest.to_text())


def read(path: Path) -> Manifest:
    """A lock, ours or another tool's.

    A package of ``noarch`` without ``parent_archs`` is for every architecture that the lock has other packages for; where it has none, it is refused.

    :raises ContentError: it is none, or of a form that is not known.
    """
    what = "the lock"
    document = _DOOR.yaml_file(path, what)
    shape = _DOOR.shape(what, where=str(path))
    if not isinstance(document, dict):
        shape.refuse("it", "a mapping")
    shape.one_of(document.get("document"), "document", (DOCUMENT,))
    version = shape.scalar(document.get("version"), "version") or ""
    if version.split(".")[0] not in ("0", "1"):
        shape.refuse("version", "0 or 1")
    data = shape.table(document.get("data"), "data")
    repositories = {
        shape.need(entry, "id", str, "data.repositories"): shape.text(entry.get("baseurl"), "data.repositories.baseurl")
        for entry in shape.items(data.get("repositories"), "data.repositories", dict, "mappings")
    }
    table = shape.table(data.get("packages"), "data.packages")
    own = sorted(arch for arch in table if arch not in (_NOARCH, "src"))
    packages: dict[str, list[Locked]] = {}
    for arch, entries in table.items():
        if arch == "src":
            continue
        for entry in shape.items(entries, f"data.packages.{arch}", dict, "mappings"):
            place = f"data.packages.{arch}"
            name, evr = shape.need(entry, "name", str, place), shape.need(entry, "evr", str, place)
            try:
                nevra = Nevra.parse(f"{name}-{evr}.{arch}")
            except UsageError:
                shape.refuse(f"{place}: evr of {name}", "[epoch:]version-release")
            package = Locked(
                nevra,
                shape.need(entry, "repo_id", str, place),
                shape.need(entry, "checksum", str, place),
                shape.number(entry.get("size", 0), f"{place}: size of {name}"),
                shape.text(entry.get("location"), place),
                shape.text(entry.get("srpm"), place) and f"{entry['srpm']}.rpm",
            )
            given = shape.items(entry.get("parent_archs"), f"{place}: parent_archs of {name}", str, "architectures")
            parents = given or (own if arch == _NOARCH else [arch])
            if not parents:
                shape.refuse(f"{place}: {name}", "with parent_archs: the lock has no other architecture")
            for parent in parents:
                packages.setdefault(parent, []).append(package)
    return Manifest(repositories, {arch: tuple(sorted(found)) for arch, found in packages.items()})
