"""The reference image of every recipe: looked up in the registry, with its inventory.

This module must never pull an image: it reads manifests, configurations and attached inventories, and keeps them by digest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from topcoat.containerfile.labels import fingerprint_parts
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.model import Digest, ImageReference, ImageRepository, Nevra, Profile, Recipe, labels
from topcoat.model.image import check_digest
from topcoat.planner import Reference
from topcoat.process.each import each
from topcoat.registry import INVENTORY_TYPE, Image, Manifest, NotFoundError, Registries, digest_of
from topcoat.registry.errors import HiddenError
from topcoat.registry.oci import DOOR, Descriptor, parse_image, read_json, to_json
from topcoat.registry.streams import open_blob
from topcoat.rpm import installed, layerdb
from topcoat.rpm import inventory as inventories
from topcoat.rpm.inventory import Inventory, Listing
from topcoat.rpm.rpmdb import WithoutRpmError
from topcoat.runs import claims
from topcoat.runs.cache import DigestCache
from topcoat.runs.claims import Claim

_PARALLEL_REQUESTS = 8
_INVENTORY = "proven-inventory"
_DATABASE = "packages-in-database"
_MADE_OF = "made-of"


@dataclass(frozen=True)
class StoredImage:
    """An image as it lies in a registry: where, manifest and configuration."""

    host: str
    repository: str
    manifest: Manifest
    image: Image

    @property
    def digest(self) -> Digest:
        """Digest of the manifest."""
        return self.manifest.digest

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the image's configuration."""
        return self.image.labels

    @functools.cached_property
    def claim(self) -> Claim:
        """What its configuration says of its inventory."""
        return claims.claimed(self.labels.get(labels.INVENTORY), self.image.diff_ids)

    @property
    def place(self) -> ImageRepository:
        """The repository it lies in."""
        return ImageRepository(self.host, self.repository)

    @property
    def reference(self) -> ImageReference:
        """``host/repository@digest``."""
        return self.place.at(self.digest)


@dataclass(frozen=True)
class ReferenceImage:
    """What an action on one image starts from.

    ``base`` is the image below the update layer of ``stored``; the same object where ``stored`` has none. ``packages`` are those of ``stored``.
    """

    stored: StoredImage
    base: StoredImage
    packages: frozenset[Nevra]
    base_inventory: Inventory
    taken_from: str = ""
    """Where the maker of an adopted image publishes it, when it is taken anew from there."""


class ImageReader:
    """Reads images and their inventories from registries; everything that a digest names is kept in the cache."""

    def __init__(self, registries: Registries, work: Path, platform: str) -> None:
        """:param work: the work folder, which keeps the cache.
        :param platform: ``os/architecture`` that images are wanted for: the profile's.
        """
        self._registries = registries
        self._cache = DigestCache(work / "cache" / "images")
        self._platform = platform
        # One name of an index is another image for each platform.
        self._image_kind = f"image-{platform.replace('/', '-')}"

    def find(self, reference: ImageReference, *, cached: bool = True) -> StoredImage | None:
        """The image a tag or digest names, of an index the one for the platform; None when the registry has none. A tag is always asked for anew.

        :param cached: what a digest names may come from the cache, wherever that was read; else its repository is asked whether it has it today.
        :raises ContentError: it is an image for another platform; names both.
        """
        client = self._registries.client(reference.host)
        found = _opened(self._cache.read(reference.digest, self._image_kind)) if reference.digest and cached else None
        if found is None:
            try:
                digest = client.manifest(reference.repository, reference.target, cached=cached).digest
            except (NotFoundError, HiddenError):  # of what is hidden, a push will tell whether it may be made
                return None
            found = _opened(self._cache.read(digest, self._image_kind))
        if found is None:
            try:
                manifest, image = client.image(reference.repository, digest, platform=self._platform)
            except NotFoundError as error:
                raise InfrastructureError(
                    f"{reference.host}/{reference.repository} says that {reference.target} is {digest}, and does not hold all of that: {error.what}",
                    next_step="look at the registry: its answers contradict each other",
                    retriable=False,
                ) from error
            self._keep_image(manifest, image, digest)
            found = manifest, image
        return StoredImage(reference.host, reference.repository, *found)

    def inventory(self, stored: StoredImage) -> Inventory:
        """The packages of an image: the documents that its own configuration names, else read from its layers.

        What merely hangs beside an image is never believed. An image that has nothing to do with rpm has the inventory ``nothing``.

        :raises ContentError: there is no inventory and the layers hold no rpm database that can be read, though they hold traces of one.
        """
        found = self._kept(stored.digest) or self._claimed(stored)
        if found is not None:
            return found
        return self.from_layers(stored)

    def listing(self, stored: StoredImage) -> Listing | None:
        """The packages of an image for a comparison, without what only the solver needs; None where that takes reading its layers.

        One small blob an image, and as bound to the image's bytes as ``inventory`` is.
        """
        kept = self._cache.read(stored.digest, _INVENTORY)
        try:
            if kept is not None:
                return inventories.listing(inventories.files_of(kept)[inventories.FILE_PACKAGES])
            if stored.claim.files:
                content = self._registries.client(stored.host).blob(stored.repository, stored.claim.files[inventories.FILE_PACKAGES])
                return inventories.listing(content)
        except (ContentError, KeyError):  # gone, cut off or of another version: the layers are the truth
            return None
        return None

    def from_layers(self, stored: StoredImage) -> Inventory:
        """The packages of an image, read from the rpm database in its layers; nothing but the database is kept."""
        with ExitStack() as stack:
            try:
                found = inventories.from_layers(self._newest_first(stored, stack))
            except WithoutRpmError:
                found = inventories.nothing()
            except ContentError as error:
                raise ContentError(
                    f"{stored.reference} has no inventory and none can be made of its layers: {error.what}",
                    next_step="rebuild the image, so that it gets an inventory",
                ) from error
        self._keep(stored.digest, found)
        return found

    def packages_in_database(self, stored: StoredImage) -> frozenset[Nevra]:
        """The packages that the rpm database in the image's published layers names, whatever anybody says of them.

        Layers are fetched newest first and no further than the one with the database: of an image of ours that is its last one, as a rule.

        :raises ContentError: a layer is not what its digest says, or no database can be read.
        """
        kept = self._cache.read(stored.digest, _DATABASE)
        if kept is not None:
            return frozenset(Nevra.parse(line) for line in kept.decode().splitlines())
        with ExitStack() as stack:
            found = installed.nevras(layerdb.read_layers(self._newest_first(stored, stack)))
        self._cache.write(stored.digest, _DATABASE, "".join(f"{nevra}\n" for nevra in sorted(found)).encode())
        return found

    def _newest_first(self, stored: StoredImage, stack: ExitStack) -> list[Callable[[], BinaryIO]]:
        client = self._registries.client(stored.host)

        def opened(layer: Descriptor) -> BinaryIO:
            return stack.enter_context(open_blob(client, stored.repository, layer))

        return [functools.partial(opened, layer) for layer in reversed(stored.image.layers)]

    def has_documents(self, stored: StoredImage) -> bool:
        """Whether the repository holds what the image's configuration says of its inventory; True where it says nothing and something is attached."""
        client = self._registries.client(stored.host)
        attached = client.referrers(stored.repository, stored.digest, INVENTORY_TYPE)
        return bool(attached) and all(client.has_blob(stored.repository, digest) for digest in stored.claim.files.values())

    def _claimed(self, stored: StoredImage) -> Inventory | None:
        """The inventory whose files the image's configuration names by digest; None where it names none, or they are gone or of another version."""
        if not stored.claim.files:
            return None
        client = self._registries.client(stored.host)
        try:
            found = Inventory.from_files({name: client.blob(stored.repository, digest) for name, digest in stored.claim.files.items()})
        except ContentError:  # not there, or unreadable: the layers are the truth
            return None
        client.note_documents(stored.repository)
        self._keep(stored.digest, found)
        return found

    def _kept(self, digest: Digest) -> Inventory | None:
        return self._cache.load(digest, _INVENTORY, Inventory.from_bytes)

    def remember(self, stored: StoredImage, inventory: Inventory, *, made_of: str) -> None:
        """Keep what this run made, published and attached, so that the next one need not do so.

        :param made_of: the name of all that went into it (``input_tags``).
        """
        self._keep_image(stored.manifest, stored.image, stored.digest)
        self._keep(stored.digest, inventory)
        if not self.is_made_of(stored.digest, made_of):
            self._cache.write(stored.digest, _MADE_OF, (self._cache.read(stored.digest, _MADE_OF) or b"") + f"{made_of}\n".encode())

    def is_made_of(self, digest: Digest, inputs: str) -> bool:
        """Whether a run with this work folder made exactly this image out of these inputs."""
        return inputs in (self._cache.read(digest, _MADE_OF) or b"").decode().splitlines()

    def _keep_image(self, manifest: Manifest, image: Image, digest: Digest) -> None:
        """:param digest: what was asked for: of the manifest, or of an index around it."""
        kept = to_json({"media_type": manifest.media_type, "body": manifest.body.decode(), "config": image.config})
        self._cache.write(digest, self._image_kind, kept)

    def _keep(self, digest: Digest, found: Inventory) -> None:
        self._cache.write(digest, _INVENTORY, found.to_bytes())


def _opened(kept: bytes | None) -> tuple[Manifest, Image] | None:
    """What ``_keep_image`` kept; None where there is nothing, or nothing that can be read: our own disk can be cut off too."""
    if kept is None:
        return None
    try:
        return _parsed(kept)
    except ContentError:
        return None


def _parsed(kept: bytes) -> tuple[Manifest, Image]:
    content, shape = read_json(kept, "an image in the work folder"), DOOR.shape("an image in the work folder")
    body = shape.need(content, "body", str).encode()
    manifest = Manifest(digest_of(body), shape.need(content, "media_type", str), body)
    return manifest, parse_image(manifest, to_json(shape.need(content, "config", dict)))


def reference_names(profile: Profile, names: Iterable[str], tag: str, artifacts: Iterable[Mapping[str, object]] = ()) -> dict[str, ImageReference]:
    """Where the reference image of each name is looked for.

    :param artifacts: ``zuul.artifacts``, oldest first; the newest of an image wins over the tag (zuul-jobs shape,
        with ``metadata.digest`` where the job that made it was ours).
    :raises UsageError: an artifact of an image of ours has no usable address.
    """
    host = profile.reference_registry or profile.registry
    names = tuple(names)
    found = {name: ImageReference(host, profile.reference_repository_of(name), tag) for name in names}
    by_repository = {profile.repository_of(name): name for name in names}
    for artifact in artifacts:
        metadata = artifact.get("metadata")
        if not isinstance(metadata, Mapping) or metadata.get("type") != "container_image":
            continue
        repository = str(metadata.get("repository", ""))
        name = by_repository.get(repository) or by_repository.get(repository.partition("/")[2])
        if name is None:
            continue
        try:
            reference = ImageReference.parse(str(artifact.get("url", "")))
        except UsageError as error:
            raise UsageError(f"artifact {artifact.get('name')!r} of a change ahead: {error.what}", image=name) from error
        digest = metadata.get("digest")
        found[name] = reference.with_digest(check_digest(str(digest))) if digest else reference
    return found


def collect(
    reader: ImageReader, wanted: Mapping[str, ImageReference], recipes: Mapping[str, Recipe], *, anew: bool = False
) -> dict[str, ReferenceImage | None]:
    """Look every reference up, several at a time.

    An adopted image for which its maker's place is written down is taken from there when the registry has no reference of it yet, when the place
    is pinned to another image than the reference was made of, and when everything is made anew.

    :param recipes: of the same names. :param anew: a full rebuild.
    :returns: image name → reference image, None where the registry has none (then the image is new).
    :raises ContentError: an inventory is missing and cannot be made; what is to be built here has no package database; or an image that a recipe
        names does not exist.
    """

    def one(name: str) -> tuple[str, ReferenceImage | None]:
        recipe = recipes[name]
        origin = ImageReference.parse(recipe.origin) if recipe.origin else None
        try:
            stored = None if origin and anew else reader.find(wanted[name])
            found = _with_base(reader, stored, [place.place for place in (wanted[name], origin) if place]) if stored else None
            if origin and (found is None or origin.digest):
                given = reader.find(origin)
                if given is None:
                    raise ContentError(f"there is no image {origin}", where=recipe.where or None, next_step="correct 'adopted', or mirror the image")
                if found is None or given.digest not in (found.stored.digest, found.base.digest):
                    found = replace(_alone(reader, given), taken_from=str(origin))
            if found and not recipe.adopted and not found.base_inventory.rpmdb_path:
                raise ContentError(f"{found.stored.reference} holds no rpm database", next_step="rebuild the image, so that it gets one")
            return name, found
        except ContentError as error:
            error.image = error.image or name
            raise

    return dict(each(wanted, one, workers=_PARALLEL_REQUESTS))


def update_base(stored: StoredImage) -> Digest | None:
    """The manifest below an image's update layer; None where it has none.

    Labels are inherited by whoever builds on an image, so the one that names it counts only beside a claim about exactly these layers.
    """
    below = stored.labels.get(labels.UPDATE_BASE)
    return check_digest(below) if below and stored.claim.files else None


def _with_base(reader: ImageReader, stored: StoredImage, places: Iterable[ImageRepository]) -> ReferenceImage:
    """The image with the one below its update layer.

    :param places: where the image below may lie beside the repository of the image itself.
    """
    digest = update_base(stored)
    if digest is None:
        return _alone(reader, stored)
    found = (reader.find(place.at(digest)) for place in dict.fromkeys((stored.place, *places)))
    base = next((image for image in found if image is not None), None)
    if base is None:
        raise ContentError(f"{stored.reference} names {digest} as the image below its update layer, which the registry does not hold")
    return ReferenceImage(stored, base, reader.inventory(stored).nevras, reader.inventory(base))


def _alone(reader: ImageReader, stored: StoredImage) -> ReferenceImage:
    own = reader.inventory(stored)
    return ReferenceImage(stored, stored, own.nevras, own)


def as_planner_reference(name: str, found: ReferenceImage) -> Reference:
    """The planner's view of a reference image."""
    own = found.stored.labels
    parts = fingerprint_parts(own)
    return Reference(
        name=name,
        digest=found.stored.digest,
        fingerprint=own.get(labels.FINGERPRINT),
        parts=parts,
        packages=found.packages,
        update_base=found.base.digest if found.base is not found.stored else None,
        base_inventory=found.base_inventory,
        taken_from=found.taken_from,
    )
