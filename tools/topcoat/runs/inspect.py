"""Looking at published images: their packages, and how two of them differ.

This module must never change anything in a registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from topcoat.errors import ContentError, UsageError
from topcoat.model import Action, ImageReference, Nevra, PackageChange, Profile, Receipt, Status, labels
from topcoat.model.receipt import require_whole
from topcoat.registry import Registries
from topcoat.rpm.difference import pair
from topcoat.rpm.inventory import Inventory
from topcoat.runs import coverage
from topcoat.runs.planning import GATING_ID, gating_repository, under_test
from topcoat.runs.references import ImageReader, StoredImage
from topcoat.yum import repositories


class Access(Protocol):
    """What reading needs: the clients, a folder for caches, and the profile."""

    work_dir: Path

    @property
    def registries(self) -> Registries:
        """Clients for every registry."""

    @property
    def profile(self) -> Profile:
        """Whose platform counts."""


def read_inventory(access: Access, image: str, *, rebuild: bool = False) -> Inventory:
    """The inventory of ``host/repository:tag`` or ``@digest``.

    :param rebuild: make it from the image's layers even where one is attached.
    :raises UsageError: the registry has no such image. :raises ContentError: it holds no package database, or one that cannot be read.
    """
    reader = reader_of(access)
    stored = find(reader, image)
    found = reader.from_layers(stored) if rebuild else reader.inventory(stored)
    if not found.rpmdb_path:
        raise ContentError(f"{stored.reference} holds no rpm database", next_step="is this an image of an RPM distribution, with its database?")
    return found


def difference(access: Access, first: str, second: str) -> tuple[PackageChange, ...]:
    """The packages that differ between two images, from their inventories."""
    old, new = (read_inventory(access, image).nevras for image in (first, second))
    return pair(old - new, new - old)


def reader_of(access: Access) -> ImageReader:
    """What reads images, with its cache."""
    return ImageReader(access.registries, access.work_dir, access.profile.platform)


def find(reader: ImageReader, image: str, *, cached: bool = True) -> StoredImage:
    """The image of a reference; see ``ImageReader.find``.

    :raises UsageError: the registry has none.
    """
    stored = reader.find(ImageReference.parse(image), cached=cached)
    if stored is None:
        raise UsageError(f"the registry has no image {image}", next_step="check the name and the tag")
    return stored


def covered_by_receipts(access: Access, receipts: Iterable[Receipt], gating_repo: str) -> tuple[coverage.Covered, ...]:
    """Where every package of a gating repository is installed: the proof of runs that were cut into shards or made earlier.

    :raises ContentError: the runs had other packages under test than this repository has, or a part of a run is missing.
    """
    receipts = tuple(receipts)
    require_whole(receipts)
    installed = installed_by_receipts(access, receipts)
    with repositories.freeze([gating_repository(gating_repo)], access.work_dir / "repositories") as snapshot:
        named = {str(package.nevra) for package in snapshot.packages(GATING_ID)}
        lost = sorted({str(entry["package"]) for receipt in receipts for entry in receipt.gated} - named)
        if lost:
            raise ContentError(
                f"the runs had {len(lost)} package(s) under test that {gating_repo} does not have: {', '.join(lost[:3])}",
                next_step="give the gating repository of these runs",
            )
        return coverage.cover(under_test(snapshot, gating_repo), installed, access.profile.not_containerised)


def installed_by_receipts(access: Access, receipts: Iterable[Receipt]) -> dict[str, frozenset[Nevra]]:
    """Image name → packages, of every finished image of some receipts, read from the registry by the digests that they name.

    Of images that the runs made, the database in the published layers is read.

    :raises UsageError: a receipt names an image that is not in the registry. :raises ContentError: the image says that it is another one.
    """
    found: dict[str, frozenset[Nevra]] = {}
    reader = reader_of(access)
    for receipt in receipts:
        for image in receipt.images:
            if image.status is Status.DONE and image.digest:
                stored = find(reader, f"{image.repository}@{image.digest}", cached=False)
                said = stored.labels.get(labels.IMAGE, image.name)
                if said != image.name:
                    raise ContentError(
                        f"the receipt gives {stored.reference} for {image.name}, and it is {said}", next_step="give the receipt as the run wrote it"
                    )
                made = image.action != Action.REUSE.value
                found[image.name] = reader.packages_in_database(stored) if made else reader.inventory(stored).nevras
    return found
