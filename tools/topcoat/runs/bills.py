"""Bills of materials as documents attached to images, in the registry beside the inventory that they are made from.

This module must never look inside an image, and never write a time of its own into a bill: the same image gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from topcoat.publisher import Publisher
from topcoat.report import sbom
from topcoat.rpm.inventory import Inventory
from topcoat.runs.inspect import Access, find, reader_of
from topcoat.runs.references import StoredImage

FORMATS = ("spdx", "cyclonedx")
CHOICES = {"none": (), "spdx": ("spdx",), "cyclonedx": ("cyclonedx",), "both": FORMATS}
"""What ``--sbom`` can say: the formats to attach."""

_WRITERS: dict[str, tuple[str, Callable[[sbom.Subject, Iterable[sbom.Material]], str]]] = {
    "spdx": (sbom.SPDX_TYPE, sbom.spdx),
    "cyclonedx": (sbom.CYCLONEDX_TYPE, sbom.cyclonedx),
}


@dataclass(frozen=True)
class Bill:
    """One document: ``artifact_type`` is the media type by which it is found again (OCI image specification 1.1, ``artifactType``)."""

    artifact_type: str
    file: str
    text: str


def artifact_type(name: str) -> str:
    """Media type of a format."""
    return _WRITERS[name][0]


def bill(name: str, stored: StoredImage, inventory: Inventory, *, distro: str, release: str) -> Bill:
    """The bill of an image.

    :param name: ``spdx`` or ``cyclonedx``. :param distro: id of the operating system (``centos``). :param release: its version (``9``).
    :raises UsageError: the library that CycloneDX needs is not installed.
    """
    kind, write = _WRITERS[name]
    created = str(stored.image.config.get("created") or "1970-01-01T00:00:00Z")
    moment = datetime.fromisoformat(created[:19] + "+00:00").timestamp()
    subject = sbom.Subject(stored.reference, moment, sbom.System(distro, release))
    materials = [sbom.Material(package.nevra, package.source_rpm, *(package.about or ())) for package in inventory.packages]
    return Bill(kind, f"sbom.{name}.json", write(subject, materials))


def documents(names: Iterable[str], stored: StoredImage, inventory: Inventory, *, distro: str, release: str) -> dict[str, dict[str, bytes]]:
    """The bills of an image as ``Publisher.attach`` takes them: artifact type -> file name -> content."""
    made = [bill(name, stored, inventory, distro=distro, release=release) for name in names]
    return {entry.artifact_type: {entry.file: entry.text.encode()} for entry in made}


def of_image(access: Access, image: str, name: str, *, anew: bool = False) -> tuple[StoredImage, Bill]:
    """The bill that is attached to ``host/repository:tag`` or ``@digest``, or else one that is made from its inventory.

    :param anew: make it, whatever is attached.
    :raises UsageError: the registry has no such image.
    """
    reader = reader_of(access)
    stored = find(reader, image)
    kept = access.registries.client(stored.host).attachment(stored.repository, stored.digest, artifact_type(name))
    if kept and not anew:
        file, content = next(iter(kept.items()))
        return stored, Bill(artifact_type(name), file, content.decode())
    return stored, bill(name, stored, reader.inventory(stored), distro=access.profile.distro, release=access.profile.release)


def attach(access: Access, stored: StoredImage, found: Bill) -> None:
    """Store a bill beside its image."""
    Publisher(access.registries).attach(stored.place, stored.digest, {found.artifact_type: {found.file: found.text.encode()}})
