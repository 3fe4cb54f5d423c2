"""Manifests, configurations and indexes of the OCI image specification 1.1 as values; bytes in, bytes out.

This module must never contact a registry, read a clock or a file: the same image always gives the same bytes.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from topcoat.documents import Door, Shape
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest
from topcoat.model.moments import rfc3339
from topcoat.registry.errors import PlatformError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))

EMPTY_BLOB = b"{}"
EPOCH = "1970-01-01T00:00:00Z"

# The bytes of a layer are the same under both names (image-spec, "Compatibility matrix").
_OCI_NAMES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": OCI_LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": OCI_LAYER_ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar": OCI_LAYER_TAR,
}
# Docker's schema 2 has no zstd of its own: clients that know the format alone refuse such a layer.
_DOCKER_NAMES = {oci: docker for docker, oci in _OCI_NAMES.items() if not docker.endswith("zstd")}

DOOR = Door(ContentError, "push the image again")
"""Documents of registries."""
_MAX_SIZE = 1 << 50
"""Bytes of one blob; no registry holds a larger one, and sums of such sizes fit everywhere."""


def digest_of(data: bytes) -> Digest:
    """``sha256:`` digest of bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def sha512_of(data: bytes) -> str:
    """The digest that a registry may give by the other algorithm that it has to know (image-spec, descriptor.md, "Registered algorithms")."""
    return "sha512:" + hashlib.sha512(data).hexdigest()


def to_json(document: object) -> bytes:
    """Compact JSON with sorted keys: the one form in which this package writes documents."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object that a registry sent.

    :param what: name of the document, for the error.
    :raises ContentError: it is something else.
    """
    return DOOR.json_object(data, what)


@dataclass(frozen=True)
class Descriptor:
    """A pointer to content (image-spec, descriptor): its type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str = ""
    platform: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, data: Mapping[str, object]) -> Descriptor:
        """From its JSON form; ContentError when a field is missing or wrong."""
        shape = DOOR.shape("broken descriptor in a manifest")
        size = data.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
            raise shape.wrong("size", "a number of bytes")
        if not data.get("mediaType"):
            raise shape.wrong("mediaType", "there")
        platform = shape.table(data.get("platform"), "platform")
        return cls(
            shape.text(data.get("mediaType"), "mediaType"),
            _digest(data.get("digest"), shape),
            size,
            tuple(sorted(shape.texts(data.get("annotations"), "annotations").items())),
            shape.text(data.get("artifactType"), "artifactType"),
            tuple(sorted((key, value) for key, value in platform.items() if isinstance(value, str))),
        )

    @property
    def is_statement(self) -> bool:
        """Whether it says something about an image beside it in an index, as some builders put there for the platform ``unknown/unknown``."""
        return dict(self.platform).get("architecture") == "unknown"

    def as_dict(self) -> dict[str, object]:
        """Its JSON form."""
        document: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.platform:
            document["platform"] = dict(self.platform)
        return document


def _digest(value: object, shape: Shape) -> Digest:
    """A digest, proved: it ends in paths and URLs."""
    try:
        return check_digest(value if isinstance(value, str) else "")
    except UsageError as error:
        raise shape.wrong(f"digest {str(value)[:80]!r}", "a sha256 digest") from error


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as the registry holds it: the bytes are what the digest is of."""

    digest: Digest
    media_type: str
    body: bytes = field(repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The parsed body, its lists and objects of the right kind; ContentError when it is not."""
        what = f"manifest {self.digest}"
        document, shape = read_json(self.body, what), DOOR.shape(what)
        said, is_index = document.get("mediaType") or self.media_type, self.is_index
        # What the one reader takes for an image and the other for an index is two things under one digest (image-spec, manifest.md and
        # image-index.md, "mediaType"): what was proved of the one says nothing of the other.
        if said != self.media_type or any(document.get(name) for name in (("config", "layers") if is_index else ("manifests",))):
            raise shape.wrong("it", f"a document of the type {self.media_type} alone")
        for name in ("manifests", "layers"):
            shape.items(document.get(name), name, dict, "objects")
        for name in ("config", "subject"):
            shape.table(document.get(name), name)
        shape.texts(document.get("annotations"), "annotations")
        return document

    @property
    def is_index(self) -> bool:
        """Whether this is an index (a manifest list)."""
        return self.media_type in INDEX_TYPES

    @property
    def descriptor(self) -> Descriptor:
        """The pointer to this manifest."""
        return Descriptor(self.media_type, self.digest, len(self.body))

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests of an index; empty for a manifest."""
        return tuple(Descriptor.parse(entry) for entry in self.document.get("manifests") or ()) if self.is_index else ()

    @property
    def images(self) -> tuple[Descriptor, ...]:
        """The children of an index that are no statements."""
        return tuple(child for child in self.children if not child.is_statement)

    @property
    def statements(self) -> tuple[Descriptor, ...]:
        """The children of an index that say something about its images."""
        return tuple(child for child in self.children if child.is_statement)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Configuration and layers of a manifest, each digest once; empty for an index."""
        if self.is_index:
            return ()
        document = self.document
        found: dict[Digest, Descriptor] = {}
        for entry in [document.get("config"), *(document.get("layers") or ())]:
            if not entry:
                raise ContentError(f"manifest {self.digest} has no configuration or a broken layer list", next_step="push the image again")
            descriptor = Descriptor.parse(entry)
            if not entry.get("urls"):  # "foreign" layers live elsewhere by design
                found.setdefault(descriptor.digest, descriptor)
        return tuple(found.values())

    @property
    def config(self) -> Descriptor:
        """Pointer to the image configuration."""
        entry = self.document.get("config")
        if not entry:
            raise ContentError(f"manifest {self.digest} has no configuration", next_step="this is no image; push an image under this name")
        return Descriptor.parse(entry)


@dataclass(frozen=True)
class Image:
    """An image: its configuration (image-spec, config.md), its layers lowest first, its manifest's annotations."""

    config: dict[str, Any] = field(repr=False)
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    media_type: str = OCI_MANIFEST
    """Of its manifest: what it was read as, and is written as again."""

    @property
    def is_docker(self) -> bool:
        """Whether it is written in Docker's schema 2."""
        return self.media_type == DOCKER_MANIFEST

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the configuration."""
        return dict((self.config.get("config") or {}).get("Labels") or {})

    @property
    def has_healthcheck(self) -> bool:
        """Whether a runtime is told how to check a container's health."""
        return has_healthcheck(self.config.get("config") or {})

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Digests of the uncompressed layers, lowest first."""
        return tuple((self.config.get("rootfs") or {}).get("diff_ids") or ())

    @property
    def seconds(self) -> int:
        """Seconds since 1970 of its creation; 0 where it does not say (image-spec, config.md, ``created``: RFC 3339), or says no later."""
        try:
            moment = datetime.datetime.fromisoformat(str(self.config.get("created") or "").replace("z", "Z"))
            found = max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()))
            rfc3339(found)
        except (ValueError, OverflowError):  # such as a time zone that leads out of the year 9999
            return 0
        return found

    @property
    def created(self) -> str:
        """When it was created, RFC 3339 in UTC with whole seconds, so that texts compare as times; empty where it does not say, or says 1970."""
        return rfc3339(self.seconds) if self.seconds else ""

    @property
    def platform(self) -> str:
        """``os/architecture``."""
        return f"{self.config.get('os', 'linux')}/{self.config.get('architecture', '')}"


def parse_image(manifest: Manifest, config: bytes) -> Image:
    """Put manifest and configuration together.

    :raises ContentError: they do not belong together or are no image.
    """
    document, what = manifest.document, f"configuration of {manifest.digest}"
    if not document.get("layers") and "layers" not in document:
        raise ContentError(f"{manifest.digest} is no image: it has no layers", next_step="push an image under this name")
    layers = tuple(Descriptor.parse(entry) for entry in document["layers"] or ())
    parsed = read_json(config, what)
    _check_config(parsed, DOOR.shape(what))
    count = len(parsed["rootfs"].get("diff_ids") or ())
    if count != len(layers):
        raise ContentError(f"{manifest.digest}: {len(layers)} layers but {count} diff ids", next_step="push the image again")
    return Image(parsed, layers, tuple(sorted((document.get("annotations") or {}).items())), manifest.media_type)


def _check_config(config: dict[str, Any], shape: Shape) -> None:
    """Every field that this package reads or writes again is of the kind that image-spec, config.md, gives it."""
    rootfs = shape.table(config.get("rootfs"), "rootfs")
    if not rootfs:
        raise shape.wrong("rootfs", "there; this is no image")
    for diff_id in shape.items(rootfs.get("diff_ids"), "rootfs.diff_ids", str, "digests"):
        _digest(diff_id, shape)
    shape.items(config.get("history"), "history", dict, "objects")
    for name in ("created", "os", "architecture", "variant", "author"):
        shape.text(config.get(name), name)
    runtime = shape.table(config.get("config"), "config")
    shape.texts(runtime.get("Labels"), "config.Labels")
    for name in ("User", "WorkingDir", "StopSignal"):
        shape.text(runtime.get(name), f"config.{name}")
    for name in ("Env", "Entrypoint", "Cmd", "Shell"):
        shape.items(runtime.get(name), f"config.{name}", str, "texts")
    for name in ("Volumes", "ExposedPorts", "Healthcheck"):
        shape.table(runtime.get(name), f"config.{name}")
    shape.items((runtime.get("Healthcheck") or {}).get("Test"), "config.Healthcheck.Test", str, "texts")


def append_layer(
    image: Image,
    descriptor: Descriptor,
    diff_id: Digest,
    *,
    created_by: str,
    labels: Mapping[str, str] | None = None,
    created: str = EPOCH,
    comment: str = "",
    remove_labels: Iterable[str] = (),
) -> Image:
    """The image with one more layer on top; everything else (entrypoint, user, environment, volumes) stays as it is.

    :param diff_id: digest of the uncompressed layer.
    :param created: RFC 3339 time of the layer's history entry and of the image.
    :param labels: labels to set; ``remove_labels`` go first.
    """
    config = copy.deepcopy(image.config)
    rootfs = config.setdefault("rootfs", {"type": "layers"})
    rootfs["diff_ids"] = [*(rootfs.get("diff_ids") or ()), diff_id]
    entry: dict[str, object] = {"created": created, "created_by": created_by}
    if comment:
        entry["comment"] = comment
    config["history"] = [*(config.get("history") or ()), entry]
    config["created"] = created
    changed = with_labels(replace(image, config=config), labels or {}, remove=remove_labels)
    return replace(changed, layers=(*image.layers, descriptor))


def with_labels(image: Image, labels: Mapping[str, str], *, remove: Iterable[str] = ()) -> Image:
    """The image with labels set and removed."""
    config = copy.deepcopy(image.config)
    runtime = config.get("config")
    if not isinstance(runtime, dict):
        runtime = config["config"] = {}
    merged = {name: value for name, value in (runtime.get("Labels") or {}).items() if name not in set(remove)} | dict(labels)
    if merged:
        runtime["Labels"] = merged
    else:
        runtime.pop("Labels", None)
    return replace(image, config=config)


def has_healthcheck(runtime: Mapping[str, Any]) -> bool:
    """Whether a configuration's ``config`` section has a health check; ``NONE`` is Docker's word for "no longer"."""
    test = (runtime.get("Healthcheck") or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"


def image_manifest(image: Image) -> tuple[bytes, bytes]:
    """(manifest, configuration) of an image as bytes, in the image's own format, keys sorted: the same image gives the same digest everywhere.

    Docker's format has no annotations; they are left out there.

    :raises ContentError: a layer is of a kind that the format has no name for.
    """
    config = to_json(image.config)
    names = _DOCKER_NAMES if image.is_docker else _OCI_NAMES
    layers = [replace(layer, media_type=names.get(layer.media_type, layer.media_type)) for layer in image.layers]
    foreign = [layer for layer in layers if image.is_docker and layer.media_type.startswith("application/vnd.oci.")]
    if foreign:
        raise ContentError(
            f"Docker's image format has no layers of type {foreign[0].media_type}",
            next_step="use a base image with gzip layers, or build with --image-format oci, which carries no health checks",
        )
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": image.media_type,
        "config": Descriptor(DOCKER_CONFIG if image.is_docker else OCI_CONFIG, digest_of(config), len(config)).as_dict(),
        "layers": [layer.as_dict() for layer in layers],
    }
    if image.annotations and not image.is_docker:
        document["annotations"] = dict(image.annotations)
    return to_json(document), config


def index_manifest(manifests: Iterable[Descriptor], annotations: Mapping[str, str] | None = None, *, media_type: str = OCI_INDEX) -> bytes:
    """An index over manifests, in the order given.

    :param media_type: ``DOCKER_INDEX`` has the same fields, and no annotations.
    """
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_type, "manifests": [entry.as_dict() for entry in manifests]}
    if annotations:
        document["annotations"] = dict(annotations)
    return to_json(document)


def artifact_manifest(
    artifact_type: str, layers: Iterable[Descriptor], *, subject: Descriptor | None = None, annotations: Mapping[str, str] | None = None
) -> bytes:
    """Manifest of an artifact (image-spec, "Guidelines for Artifact Usage"), attached to ``subject`` where there is one.

    Its only blobs are the layers and the empty configuration ``{}``.
    """
    empty = Descriptor(OCI_EMPTY, digest_of(EMPTY_BLOB), len(EMPTY_BLOB)).as_dict()
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": empty,
        "layers": [layer.as_dict() for layer in layers] or [empty],
    }
    if subject:
        document["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).as_dict()
    if annotations:
        document["annotations"] = dict(annotations)
    return to_json(document)


def select_platform(manifest: Manifest, platform: str) -> Descriptor:
    """The child of an index for ``os/architecture[/variant]``.

    :raises PlatformError: the index has none; the message lists what it has.
    """
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    offered = []
    for child in manifest.children:
        values = dict(child.platform)
        offered.append(f"{values.get('os', '?')}/{values.get('architecture', '?')}")
        if values.get("os") == system and values.get("architecture") == architecture and (not variant or values.get("variant") == variant):
            return child
    raise PlatformError(
        f"index {manifest.digest} has no image for {platform}, only {', '.join(offered) or 'nothing'}", next_step="push an image for this platform"
    )


def require_platform(image: Image, platform: str, name: str) -> None:
    """Refuse an image of another platform; what an index says about a child is not enough, the configuration counts.

    :param name: reference of the image, for the error.
    :raises PlatformError: names both platforms. An image that names no architecture passes: image-spec asks for one, old tools wrote none.
    """
    if not image.config.get("architecture"):
        return
    wanted = "/".join(platform.split("/")[:2])
    if image.platform != wanted:
        raise PlatformError(
            f"{name} is an image for {image.platform}, the profile's platform is {wanted}",
            next_step="publish it for this platform too, or use the profile of its architecture",
        )


def referrers_tag(digest: Digest) -> str:
    """The tag that stands in for the referrers API (distribution-spec 1.1, "Referrers Tag Schema")."""
    return digest.replace(":", "-", 1)
