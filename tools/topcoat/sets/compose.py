"""A set made of another one with some images exchanged, under a tag that is the hash of what it holds: nobody can mean another set by it.

This module must never move a tag that shows another image: it makes a new one, or finds that it is there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from topcoat.errors import ContentError, UsageError
from topcoat.model import Action, Digest, ImageReference, ImageResult, LayerSize, Profile, Reason, Receipt, Status, labels
from topcoat.model.image import check_digest
from topcoat.process.each import each
from topcoat.publisher import Publisher
from topcoat.registry import Registries
from topcoat.runs.references import StoredImage
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader

PREFIX = "set-"
_LETTERS = 24
_PARALLEL = 8


@dataclass(frozen=True)
class Composed:
    """The set, and what is exchanged in it: image name -> digest in the set that it was made of."""

    tag: str
    images: Mapping[str, ImageReference]
    """By digest, where they come from."""
    stored: Mapping[str, StoredImage]
    replaced: Mapping[str, Digest]


def tag_of(digests: Mapping[str, Digest]) -> str:
    """The tag of a set: it depends on nothing but the names and digests of its images."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return PREFIX + hashlib.sha256(lines.encode()).hexdigest()[:_LETTERS]


def parse(given: tuple[str, ...]) -> dict[str, ImageReference]:
    """``IMAGE=REF`` each.

    :raises UsageError: malformed, or an image is named twice.
    """
    found: dict[str, ImageReference] = {}
    for text in given:
        name, equals, where = text.partition("=")
        if not equals or not name or not where:
            raise UsageError(f"--with wants IMAGE=REFERENCE, not {text!r}", next_step="write nova-api=registry.example.org/me/nova-api:mine")
        if name in found:
            raise UsageError(f"--with names {name} twice", next_step="name it once")
        found[name] = ImageReference.parse(where)
    return found


def compose(named: NamedSet, given: Mapping[str, ImageReference], reader: SetReader, registries: Registries) -> Composed:
    """Look at what the set would be; nothing is written.

    :param given: image name -> what takes its place, by tag or digest.
    :raises UsageError: an image is none of the set's. :raises ContentError: an image is gone, of another platform, or says that it is another one.
    """
    strange = sorted(given.keys() - named.images.keys())
    if strange:
        raise UsageError(f"{named.name} has no image {', '.join(strange)}", next_step=f"it has: {', '.join(sorted(named.images))}")
    images = dict(named.images)
    for name, where in given.items():
        digest = where.digest or registries.client(where.host).shown(where.repository, where.target)
        if digest is None:
            raise ContentError(f"{where} is not there", image=name, next_step="push it first")
        images[name] = ImageReference(where.host, where.repository, digest=check_digest(digest))
    stored: dict[str, StoredImage] = {}
    for name, one in reader.stored(replace(named, images=images)).items():
        if one is None:
            raise ContentError(f"{images[name]} is gone from the registry", image=name, next_step="take a set that is still there")
        own = one.labels.get(labels.IMAGE)
        if name in given and own and own != name:
            raise ContentError(f"{given[name]} says that it is the image {own}", image=name, next_step=f"give the image {name}")
        stored[name] = one
    digests = {name: Digest(str(where.digest)) for name, where in images.items()}
    replaced = {name: Digest(str(named.images[name].digest)) for name in given if named.images[name].digest != images[name].digest}
    return Composed(tag_of(digests), images, stored, replaced)


def publish(composed: Composed, registries: Registries, profile: Profile, *, say: Callable[[str], None] = lambda line: None) -> Receipt:
    """Give every image the tag in the profile's registry; images from elsewhere are copied, inventories follow.

    :raises ContentError: the tag shows another image somewhere: somebody moved what may not move.
    """
    started = time.time()
    client = registries.client(profile.registry)
    places = {name: ImageReference(profile.registry, profile.repository_of(name), composed.tag) for name in composed.images}

    def shown() -> dict[str, Digest | None]:
        return dict(zip(places, each(places.values(), lambda place: client.shown(place.repository, composed.tag), workers=_PARALLEL), strict=True))

    before = shown()
    moved = sorted(name for name, digest in before.items() if digest not in (None, composed.images[name].digest))
    if moved:
        raise ContentError(
            f"{composed.tag} shows another image than its name says of {', '.join(moved)}", next_step="delete that tag; find out who moved it"
        )
    missing = [name for name, digest in before.items() if digest is None]
    say(f"{composed.tag}: {len(missing)} of {len(places)} images get the tag")
    Publisher(registries).copy_set([(composed.images[name], places[name]) for name in missing])
    wrong = sorted(name for name, digest in shown().items() if digest != composed.images[name].digest)
    if wrong:
        raise ContentError(f"{composed.tag} does not show what was written: {', '.join(wrong)}", next_step="run the command again")
    results = tuple(_result(name, composed, places[name]) for name in sorted(composed.images))
    return Receipt(profile.name, composed.tag, Status.DONE, started, time.time(), results)


def _result(name: str, composed: Composed, place: ImageReference) -> ImageResult:
    stored, old = composed.stored[name], composed.replaced.get(name)
    return ImageResult(
        name,
        Status.DONE,
        Action.REUSE.value,
        Reason.UNCHANGED.code,
        f"was put in the place of {old}" if old else "is that of the set",
        repository=f"{place.host}/{place.repository}",
        tag=composed.tag,
        digest=Digest(str(composed.images[name].digest)),
        base_digest=Digest(str(composed.images[name].digest)),
        fingerprint=stored.labels.get(labels.FINGERPRINT),
        method="tag",
        layers=tuple(LayerSize(layer.digest, layer.size) for layer in stored.image.layers),
        reference_digest=old or Digest(str(composed.images[name].digest)),
        parent=stored.labels.get(labels.PARENT) or None,
    )
