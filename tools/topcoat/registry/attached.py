"""What cosign attaches to an image: a manifest under ``sha256-<hex>.sig`` or ``.att`` whose every layer is one signature or one signed statement.

This module must never drop what somebody else attached.

The tag has no compare-and-swap. Each addition is read back and made again where another writer's list took its place; of two writers of one image at
the very same moment the later one can still win unseen, as with cosign itself. Promotion holds its lock meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import Digest
from topcoat.registry.client import RegistryClient
from topcoat.registry.errors import NotFoundError
from topcoat.registry.oci import OCI_CONFIG, OCI_MANIFEST, Descriptor, Manifest, digest_of, referrers_tag, to_json

SIGNATURES, STATEMENTS, BILLS = ".sig", ".att", ".sbom"
LISTS = (SIGNATURES, STATEMENTS, BILLS)
SIGNATURE_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
STATEMENT_LAYER = "application/vnd.dsse.envelope.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""Annotation of a layer that holds the signature in base64 (cosign, specs/SIGNATURE_SPEC); of a statement it is empty."""
_TRIES = 8
_MOST = 1000
"""Entries of one list that are read."""
_LARGEST = 4 << 20
"""Bytes of one signed document."""


class Attached:
    """One list of one image: its signatures, or its statements."""

    def __init__(self, client: RegistryClient, repository: str, subject: Digest, suffix: str) -> None:
        self._client = client
        self._repository = repository
        self.tag = referrers_tag(subject) + suffix

    def entries(self) -> list[Descriptor]:
        """What is listed, in its order; empty where there is no list.

        :raises ContentError: what lies under the tag is no such list.
        """
        manifest = self._manifest()
        return [Descriptor.parse(layer) for layer in self._layers(manifest)] if manifest else []

    def documents(self, media_type: str) -> Iterator[tuple[bytes, dict[str, str]]]:
        """The documents of one kind with their annotations.

        :raises ContentError: one is larger than any real one, or missing.
        """
        for entry in self.entries():
            if entry.media_type != media_type:
                continue
            yield self._read(entry), dict(entry.annotations)

    def _read(self, entry: Descriptor) -> bytes:
        if entry.size > _LARGEST:
            raise ContentError(f"{self._name}: an entry of {entry.size} bytes is no signature", next_step="find out who attached it")
        return self._client.blob(self._repository, entry.digest)

    def add(self, data: bytes, media_type: str, annotations: dict[str, str]) -> None:
        """Add one document to the list and read the list back.

        :raises InfrastructureError: others keep overwriting it.
        """
        digest = digest_of(data)
        self._client.put_blob(self._repository, digest, data)
        self._list([Descriptor(media_type, digest, len(data), tuple(sorted(annotations.items()))).as_dict()])

    def take(self, other: Attached) -> None:
        """Add everything that another list holds; errors as of ``documents`` and ``add``."""
        if other._client.head(other._repository, other.tag) is None:
            return
        wanted = other._layers(other._manifest())
        manifest = self._manifest()
        there = self._layers(manifest) if manifest else []
        for layer in wanted:
            entry = Descriptor.parse(layer)
            if layer in there or self._client.has_blob(self._repository, entry.digest):
                continue
            self._client.put_blob(self._repository, entry.digest, other._read(entry))
        self._list(wanted)

    def _list(self, wanted: list[dict[str, Any]]) -> None:
        for _ in range(_TRIES):
            manifest = self._manifest()
            layers = self._layers(manifest) if manifest else []
            missing = [layer for layer in wanted if layer not in layers]
            if not missing:
                return
            self._write(manifest.document if manifest else {}, [*layers, *missing])
        raise InfrastructureError(f"{self._name}: others keep overwriting it", next_step="run again")

    def _write(self, before: dict[str, Any], layers: list[dict[str, Any]]) -> None:
        """The list as cosign writes it: an image manifest whose configuration names its layers, so that any registry takes it."""
        rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
        config = to_json({"architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {}, "rootfs": rootfs})
        self._client.put_blob(self._repository, digest_of(config), config)
        document = {
            **before,
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor(OCI_CONFIG, digest_of(config), len(config)).as_dict(),
            "layers": layers,
        }
        self._client.put_manifest(self._repository, self.tag, to_json(document), OCI_MANIFEST, read_back=False)

    def _manifest(self) -> Manifest | None:
        try:
            return self._client.manifest(self._repository, self.tag, cached=False)
        except NotFoundError:
            return None

    def _layers(self, manifest: Manifest | None) -> list[dict[str, Any]]:
        layers = manifest.document.get("layers") if manifest and not manifest.is_index else None
        if not isinstance(layers, list) or len(layers) > _MOST:
            raise ContentError(f"{self._name} is no list of signatures", next_step="find out who wrote it, delete this tag and sign again")
        return layers

    @property
    def _name(self) -> str:
        return f"{self._client.host}/{self._repository}:{self.tag}"
