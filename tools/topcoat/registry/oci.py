"""Manifests, configurations and indexes of the OCI image specification 1.1 as values; bytes in, bytes out.

This module must never contact a registry, read a clock or a file: the same image always gives the same bytes.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from topcoat.errors import ContentError
from topcoat.model import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))

EMPTY_BLOB = b"{}"
EPOCH = "1970-01-01T00:00:00Z"

# The bytes of a layer are the same under both names (image-spec, "Compatibility matrix").
_OCI_NAMES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": OCI_LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar": OCI_LAYER_TAR,
    DOCKER_CONFIG: OCI_CONFIG,
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_INDEX: OCI_INDEX,
}


def digest_of(data: bytes) -> Digest:
    """``sha256:`` digest of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def to_json(document: object) -> bytes:
    """Compact JSON with sorted keys: the one form in which this package writes documents."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


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
        try:
            return cls(
                str(data["mediaType"]),
                _digest(data["digest"]),
                int(data["size"]),  # type: ignore[call-overload]
                _pairs(data.get("annotations")),
                str(data.get("artifactType") or ""),
                tuple(sorted((str(k), str(v)) for k, v in (data.get("platform") or {}).items() if isinstance(v, str))),  # type: ignore[union-attr]
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContentError(f"broken descriptor in a manifest: {error}", next_step="push the image again") from error

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


def _digest(value: object) -> Digest:
    text = str(value)
    if not text.startswith("sha256:") or len(text) != 71 or any(c not in "0123456789abcdef" for c in text[7:]):
        raise ValueError(f"not a sha256 digest: {text[:80]!r}")
    return text


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(k), str(v)) for k, v in (value or {}).items()))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as the registry holds it: the bytes are what the digest is of."""

    digest: Digest
    media_type: str
    body: bytes = field(repr=False)

    @property
    def document(self) -> dict:
        """The parsed body; ContentError when it is not a JSON object."""
        try:
            document = json.loads(self.body)
        except ValueError as error:
            raise ContentError(f"manifest {self.digest} is not JSON", next_step="push the image again") from error
        if not isinstance(document, dict):
            raise ContentError(f"manifest {self.digest} is not a JSON object", next_step="push the image again")
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
    def blobs(self) -> tuple[Descriptor, ...]:
        """Configuration and layers of a manifest, each digest once; empty for an index."""
        if self.is_index:
            return ()
        document = self.document
        found: dict[Digest, Descriptor] = {}
        for entry in [document.get("config"), *(document.get("layers") or ())]:
            if not isinstance(entry, dict):
                raise ContentError(f"manifest {self.digest} has no configuration or a broken layer list", next_step="push the image again")
            descriptor = Descriptor.parse(entry)
            if not entry.get("urls"):  # "foreign" layers live elsewhere by design
                found.setdefault(descriptor.digest, descriptor)
        return tuple(found.values())

    @property
    def config(self) -> Descriptor:
        """Pointer to the image configuration."""
        entry = self.document.get("config")
        if not isinstance(entry, dict):
            raise ContentError(f"manifest {self.digest} has no configuration", next_step="this is no image; push an image under this name")
        return Descriptor.parse(entry)


@dataclass(frozen=True)
class Image:
    """An image: its configuration (image-spec, config.md), its layers lowest first, its manifest's annotations."""

    config: dict = field(repr=False)
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the configuration."""
        return dict((self.config.get("config") or {}).get("Labels") or {})

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Digests of the uncompressed layers, lowest first."""
        return tuple((self.config.get("rootfs") or {}).get("diff_ids") or ())

    @property
    def platform(self) -> str:
        """``os/architecture``."""
        return f"{self.config.get('os', 'linux')}/{self.config.get('architecture', '')}"


def parse_image(manifest: Manifest, config: bytes) -> Image:
    """Put manifest and configuration together.

    :raises ContentError: they do not belong together or are no image.
    """
    document = manifest.document
    try:
        parsed = json.loads(config)
        layers = tuple(Descriptor.parse(entry) for entry in document["layers"])
        count = len(parsed["rootfs"]["diff_ids"])
    except (ValueError, KeyError, TypeError) as error:
        raise ContentError(f"{manifest.digest} is no image: {error}", next_step="push an image under this name") from error
    if count != len(layers):
        raise ContentError(f"{manifest.digest}: {len(layers)} layers but {count} diff ids", next_step="push the image again")
    return Image(parsed, layers, _pairs(document.get("annotations")))


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


def image_manifest(image: Image) -> tuple[bytes, bytes]:
    """(manifest, configuration) of an image as bytes, in OCI media types, keys sorted: the same image gives the same digest everywhere."""
    config = to_json(image.config)
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(OCI_CONFIG, digest_of(config), len(config)).as_dict(),
        "layers": [replace(layer, media_type=_OCI_NAMES.get(layer.media_type, layer.media_type)).as_dict() for layer in image.layers],
    }
    if image.annotations:
        document["annotations"] = dict(image.annotations)
    return to_json(document), config


def index_manifest(manifests: Iterable[Descriptor], annotations: Mapping[str, str] | None = None) -> bytes:
    """An index over manifests, in the order given."""
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.as_dict() for entry in manifests]}
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

    :raises ContentError: the index has none; the message lists what it has.
    """
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    offered = []
    for child in manifest.children:
        values = dict(child.platform)
        offered.append(f"{values.get('os', '?')}/{values.get('architecture', '?')}")
        if values.get("os") == system and values.get("architecture") == architecture and (not variant or values.get("variant") == variant):
            return child
    raise ContentError(
        f"index {manifest.digest} has no image for {platform}, only {', '.join(offered) or 'nothing'}", next_step="push an image for this platform"
    )


def require_platform(image: Image, platform: str, name: str) -> None:
    """Refuse an image of another platform; what an index says about a child is not enough, the configuration counts.

    :param name: reference of the image, for the error.
    :raises ContentError: names both platforms. An image that names no architecture passes: image-spec asks for one, old tools wrote none.
    """
    if not image.config.get("architecture"):
        return
    wanted = "/".join(platform.split("/")[:2])
    if image.platform != wanted:
        raise ContentError(
            f"{name} is an image for {image.platform}, the profile's platform is {wanted}",
            next_step="publish it for this platform too, or use the profile of its architecture",
        )


def referrers_tag(digest: Digest) -> str:
    """The tag that stands in for the referrers API (distribution-spec 1.1, "Referrers Tag Schema")."""
    return digest.replace(":", "-", 1)
