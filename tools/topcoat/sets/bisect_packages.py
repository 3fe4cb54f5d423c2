"""The packages in which two sets differ, as files, and the repositories that the steps of a bisect are made from.

This module must never choose what is tried.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.changes import ImageFacts
from topcoat.changes.compare import source_of
from topcoat.errors import ContentError, InfrastructureError
from topcoat.gating.createrepo import CreateRepo
from topcoat.gating.repository import GatedPackage, publish
from topcoat.model import ImageReference, Nevra, Repository
from topcoat.process.files import link_or_copy
from topcoat.runs.references import update_base
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader
from topcoat.yum import repositories


@dataclass(frozen=True)
class Differing:
    """RPM files of what differs. NEVRAs as text."""

    files: Mapping[str, Path]
    """NEVRA -> its file."""
    bad: Mapping[str, frozenset[str]]
    """Source package -> NEVRAs of its binary packages in the bad set."""
    restored: Mapping[str, frozenset[str]]
    """Source package -> NEVRAs of the good set that lie in an update layer: a new layer replaces that one, so they go into it again."""

    def with_applied(self, applied: Iterable[str]) -> set[str]:
        """NEVRAs of a step's repository: source packages that are applied as the bad set has them, others as update layers of the good set do."""
        chosen = set(applied)
        kept = (nevras for source, nevras in self.restored.items() if source not in chosen)
        return {nevra for group in (*(self.bad[source] for source in chosen), *kept) for nevra in group}

    def moved(self, nevras: set[str]) -> frozenset[str]:
        """Source packages of which the bad set has one of these."""
        return frozenset(source for source, own in self.bad.items() if own & nevras)

    def write_repository(self, nevras: Iterable[str], folder: Path) -> None:
        """A gating repository of these packages in a folder, in the place of what was there."""
        wanted = set(nevras)
        publish(self._stage(wanted, folder), folder, [GatedPackage(nevra, self.files[nevra].name, "bisect", "") for nevra in wanted])

    def write_offer(self, folder: Path) -> str:
        """The repository of everything that a step may pull in because something needs it.

        :returns: its URL.
        """
        staging = self._stage({nevra for group in self.bad.values() for nevra in group}, folder)
        CreateRepo().make(staging)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        return folder.absolute().as_uri()

    def _stage(self, nevras: Iterable[str], folder: Path) -> Path:
        staging = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for nevra in nevras:
            _linked(self.files[nevra], staging / self.files[nevra].name)
        return staging


def collect(
    reader: SetReader, good: NamedSet, bad: NamedSet, changed: Iterable[str], places: Sequence[Repository], *, folder: Path, cache: Path
) -> Differing:
    """Fetch every package that a step may need.

    :param changed: source packages that differ. :param places: repositories where packages of the two sets may lie, best first.
    :param folder: where the files stay. :param cache: where repositories are kept.
    :raises ContentError: packages of the sets are in no repository.
    """
    moved, restored = _of(reader.facts(bad), set(changed)), _in_update_layers(reader, good)
    wanted = {nevra for group in (*moved.values(), *restored.values()) for nevra in group}
    with repositories.freeze(tuple(places), cache) as snapshot:
        found = {
            str(package.nevra): (frozen.id, package.href)
            for frozen in reversed(snapshot.repositories)
            for package in snapshot.packages(frozen.id)
            if str(package.nevra) in wanted
        }
        missing = sorted(wanted - found.keys())
        if missing:
            raise ContentError(
                f"{len(missing)} packages of the two sets are in no repository: {', '.join(missing[:5])}",
                next_step="name a repository that still has them with --packages",
            )
        order = sorted(found)
        fetched = snapshot.fetch_all([found[nevra] for nevra in order])
        folder.mkdir(parents=True, exist_ok=True)
        # two repositories may hold different files of one name
        files = {
            nevra: _linked(path, folder / f"{hashlib.sha256(nevra.encode()).hexdigest()[:8]}-{path.name}")
            for nevra, path in zip(order, fetched, strict=True)
        }
    return Differing(files, moved, restored)


def _in_update_layers(reader: SetReader, good: NamedSet) -> dict[str, frozenset[str]]:
    """Source package -> NEVRAs that the update layers of a set brought."""
    below: dict[str, ImageReference] = {}
    for name, one in reader.stored(good).items():
        base = update_base(one) if one else None
        if one and base:
            below[name] = one.place.at(base)
    if not below:
        return {}
    lower = reader.facts(NamedSet("below", "", good.host, below))
    found: dict[str, set[str]] = {}
    for name, facts in reader.facts(good.only(below)).items():
        for nevra, source_rpm, _ in (facts.packages or frozenset()) - (lower[name].packages or frozenset()):
            found.setdefault(source_of(nevra, source_rpm)[0], set()).add(str(Nevra.parse(nevra)))
    return {source: frozenset(nevras) for source, nevras in found.items()}


def _of(facts: Mapping[str, ImageFacts], sources: set[str]) -> dict[str, frozenset[str]]:
    """Source package -> NEVRAs of its binary packages in a set."""
    found: dict[str, set[str]] = {source: set() for source in sources}
    for packages in {one.packages for one in facts.values() if one.packages}:
        for nevra, source_rpm, _ in packages:
            name = source_of(nevra, source_rpm)[0]
            if name in found:
                found[name].add(str(Nevra.parse(nevra)))
    return {source: frozenset(nevras) for source, nevras in found.items()}


def _linked(source: Path, target: Path) -> Path:
    """The file under another name; one that is there stays."""
    if target.exists():
        return target
    try:
        link_or_copy(source, target)
    except OSError as error:
        raise InfrastructureError(f"cannot copy {source}: {error}", next_step="look at the disk of the work folder") from error
    return target
