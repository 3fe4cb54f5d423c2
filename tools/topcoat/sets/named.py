"""From what a person writes (a tag, a promotion record, a receipt) to the digest of every image of that set.

This module must never mix two sets: what a name stands for is read once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, ImageReference, Profile
from topcoat.model.image import check_tag
from topcoat.model.receipt import require_whole
from topcoat.process.each import each
from topcoat.promotion import Control, History, SetRecord
from topcoat.registry import AccessError, NotFoundError, RefusedError, Registries
from topcoat.registry.errors import HiddenError
from topcoat.report import receipt_from_dict

_PARALLEL = 12
_DOOR = Door(UsageError, "give a receipt, what a promotion wrote, or the name of a tag", limit=256 << 20)


@dataclass(frozen=True)
class NamedSet:
    """``name`` is what was asked for, ``source`` the tag that it stands for; both for people."""

    name: str
    source: str
    host: str
    images: Mapping[str, ImageReference] = field(default_factory=dict)
    """Image name -> reference by digest."""
    time: float = 0.0
    """When it was promoted or made, seconds since the epoch; 0: not known."""
    view: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The state of the repositories that it was made of, as ``Snapshot.view``; empty where only its images are known."""
    contents: bytes = field(default=b"", repr=False, compare=False)
    """What was written about it when it was promoted, as of ``contents``; empty where nothing was."""

    def as_dict(self) -> dict[str, object]:
        """For reports."""
        return {"name": self.name, "source": self.source, "time": self.time, "images": len(self.images)}

    def only(self, names: Container[str]) -> NamedSet:
        """The same set without the images that are not named."""
        return replace(self, images={name: where for name, where in self.images.items() if name in names})

    @property
    def digests(self) -> dict[str, Digest]:
        """Image name -> digest."""
        return {name: Digest(str(reference.digest)) for name, reference in self.images.items()}


def find(name: str, *, registries: Registries, profile: Profile, images: Iterable[str]) -> NamedSet:
    """The set of a name: the file of a receipt or record, the name of a promotion record, or a tag of images.

    A name with a slash or ending in ``.json`` is a file. Everything else is looked for among the promotion records first (``current-passed-ci``,
    ``current-passed-ci.previous``), then as a tag of the images.

    :param images: names of the images that a tag is looked for on.
    :raises UsageError: there is no such set.
    """
    if "/" in name or name.endswith(".json"):
        return _of_file(Path(name), registries)
    check_tag(name)
    places = _places(profile)
    for place in places:
        record = _record(name, registries, place)
        if record is not None:
            return of_promotion(record, registries, place.registry, place.namespace, name)
    wanted = tuple(images)
    for place in places:
        found = _tagged(name, registries, place, wanted)
        if found:
            return NamedSet(name, name, place.registry, found)
    where = " and ".join(place.place for place in places)
    raise UsageError(
        f"{where} {'have' if len(places) > 1 else 'has'} no promotion record {name!r} and no image with this tag",
        next_step="check the name; a receipt is given as a file, ./receipt.json",
    )


def _places(profile: Profile) -> tuple[Profile, ...]:
    """Where a name is looked for: where this profile publishes to, then where its reference images lie, as one profile each."""
    there = replace(profile, registry=profile.reference_registry or profile.registry, namespace=profile.reference_namespace or profile.namespace)
    return (profile,) if (there.registry, there.namespace) == (profile.registry, profile.namespace) else (profile, there)


def of_record(record: SetRecord, host: str, name: str = "", contents: bytes = b"") -> NamedSet:
    """The set that a promotion record names."""
    where = dict(record.repositories)
    images = {image: ImageReference(host, where[image], digest=digest) for image, digest in record.images.digests}
    return NamedSet(name or record.name, record.source, host, images, record.time, contents=contents)


def of_promotion(record: SetRecord, registries: Registries, host: str, namespace: str, name: str = "") -> NamedSet:
    """The set that a promotion record names, with what was written about it then."""
    return of_record(record, host, name, _contents(record, registries, host, namespace))


def _contents(record: SetRecord, registries: Registries, host: str, namespace: str) -> bytes:
    """What the history keeps about the set of a record; nothing where it keeps none: its images are asked then."""
    if not record.entry:
        return b""
    history = History(Control(registries.client(host), namespace))
    try:
        return history.about(history.read(record.name, record.entry))
    except (ContentError, AccessError, RefusedError):
        return b""


def _record(name: str, registries: Registries, profile: Profile) -> SetRecord | None:
    try:
        return Control(registries.client(profile.registry), profile.namespace).read(name)
    except AccessError:
        return None  # a reader of images need not be a reader of records


def _tagged(tag: str, registries: Registries, profile: Profile, images: Iterable[str]) -> dict[str, ImageReference]:
    client = registries.client(profile.registry)

    def one(image: str) -> tuple[str, ImageReference | None]:
        repository = profile.repository_of(image)
        try:
            # not HEAD: whoever compares sets asks for the manifest next, and has it then
            digest = client.manifest(repository, tag).digest
        except (NotFoundError, HiddenError):
            return image, None
        return image, ImageReference(profile.registry, repository, digest=digest)

    return {image: reference for image, reference in each(images, one, workers=_PARALLEL) if reference is not None}


def _of_file(path: Path, registries: Registries) -> NamedSet:
    document = _DOOR.json_object(_DOOR.read(path, "the set"), "the set", where=str(path))
    if "record" in document:
        shape = _DOOR.shape("the set", where=str(path))
        known, places = shape.table(document["record"], "record"), shape.items(document.get("places"), "places", str)
        if not known or not places:
            raise ContentError(f"{path} is of a promotion that did not end well: it names no set", next_step="take that of a promotion that was done")
        host, _, namespace = places[0].partition("/")
        return of_promotion(SetRecord.from_dict(known), registries, host, namespace, str(path))
    receipt = receipt_from_dict(document)
    if not receipt.status.usable:
        raise ContentError(f"the run of {path} ended as {receipt.status.word!r}: its images are no set", next_step="take the receipt of a whole run")
    require_whole([receipt], str(path))
    images = {
        image.name: ImageReference.parse(f"{image.repository}@{image.digest}")
        for image in receipt.images
        if image.digest and image.repository and image.status.usable
    }
    if not images:
        raise ContentError(f"{path} names no image", next_step="take the receipt of a whole run")
    host = next(iter(images.values())).host
    return NamedSet(str(path), receipt.tag, host, images, receipt.finished, dict(receipt.repositories))
