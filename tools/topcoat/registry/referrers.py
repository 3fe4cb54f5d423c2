"""Artifacts attached to a manifest: by the referrers API of OCI distribution 1.1, or by the tag that stands in for it.

This module must never drop what someone else attached.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import Digest
from topcoat.model.image import check_digest, check_repository
from topcoat.registry import oci, scopes
from topcoat.registry.blobs import Blobs
from topcoat.registry.connection import Deadline
from topcoat.registry.errors import NotFoundError
from topcoat.registry.manifests import Manifests
from topcoat.registry.oci import Descriptor
from topcoat.registry.transport import Response, Transport

INVENTORY_TYPE = "application/vnd.topcoat.inventory.v1+json"
TITLE = "org.opencontainers.image.title"
_FILE_TYPE = "application/octet-stream"
_TRIES = 8

Documents = Mapping[str, Mapping[str, bytes]]
"""What is attached at once: artifact type -> file name -> content."""


class Referrers:
    """The artifact half of a registry client."""

    def __init__(self, transport: Transport, manifests: Manifests, blobs: Blobs) -> None:
        self._transport = transport
        self._manifests = manifests
        self._blobs = blobs
        self._has_api: bool | None = None
        self._lock = threading.Lock()
        self._with_empty: dict[str, None] = {}
        """Repositories known to hold the empty configuration that every artifact names, oldest first."""
        self._subjects: dict[tuple[str, Digest], threading.Lock] = {}

    def find(self, repository: str, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """Descriptors of what is attached, in the registry's order, optionally of one type."""
        entries = self._by_api(repository, digest)
        if entries is None:
            entries = self._by_tag(repository, digest)
        return tuple(entry for entry in entries if artifact_type is None or entry.artifact_type == artifact_type)

    def _by_api(self, repository: str, digest: Digest) -> tuple[Descriptor, ...] | None:
        """What the API says; None where the registry has none. It is asked once: a registry with the API never answers 404."""
        if self._has_api is False:
            return None

        def work(deadline: Deadline) -> Response:
            path = f"/v2/{check_repository(repository)}/referrers/{check_digest(digest)}"
            needed = scopes.pull(repository)
            return self._transport.request("GET", path, deadline, scopes=needed, headers={"Accept": oci.OCI_INDEX}, ok=(200, 400, 404, 405, 501))

        answer = self._transport.operation(f"referrers {repository}", work)
        index = oci.Manifest(digest, oci.OCI_INDEX, answer.body)
        try:
            self._has_api = answer.status == 200 and isinstance(index.document.get("manifests"), list)
        except ContentError:
            self._has_api = False
        return index.children if self._has_api else None

    def _by_tag(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        try:
            index = self._manifests.get(repository, oci.referrers_tag(check_digest(digest)))
        except NotFoundError:
            return ()
        return index.children

    def attach(self, repository: str, subject: Descriptor, documents: Documents) -> dict[str, Digest]:
        """See ``RegistryClient.attach``."""
        if not documents:
            return {}
        self._put_empty(repository)
        entries: dict[str, Descriptor] = {}
        unlisted: list[Descriptor] = []
        for artifact_type, files in documents.items():
            layers = []
            for name, data in sorted(files.items()):
                digest = oci.digest_of(data)
                self._blobs.put_missing(repository, digest, data)
                layers.append(Descriptor(_FILE_TYPE, digest, len(data), ((TITLE, name),)))
            body = oci.artifact_manifest(artifact_type, layers, subject=subject)
            entries[artifact_type] = entry = Descriptor(oci.OCI_MANIFEST, oci.digest_of(body), len(body), artifact_type=artifact_type)
            if not self._store(repository, subject.digest, oci.Manifest(entry.digest, oci.OCI_MANIFEST, body)):
                unlisted.append(entry)
        self._add_to_tag(repository, subject.digest, unlisted)
        return {artifact_type: entry.digest for artifact_type, entry in entries.items()}

    def _put_empty(self, repository: str) -> None:
        """The empty configuration; with one request where a repository of ours holds it already and the registry mounts."""
        if repository in self._with_empty:
            return
        empty = oci.digest_of(oci.EMPTY_BLOB)
        location = self._blobs.start(repository, empty, next(iter(self._with_empty), ""))
        if location is not None:
            self._blobs.put(repository, empty, oci.EMPTY_BLOB, location=location)
        self._with_empty[repository] = None

    def put(self, repository: str, subject: Digest, manifest: oci.Manifest, entry: Descriptor) -> None:
        """See ``RegistryClient.put_attached``."""
        if not self._store(repository, subject, manifest):
            self._add_to_tag(repository, subject, [entry])

    def _store(self, repository: str, subject: Digest, manifest: oci.Manifest) -> bool:
        """Store an artifact's manifest; False where the registry does not keep referrers by itself."""
        headers = self._manifests.store(repository, manifest.digest, manifest.body, manifest.media_type)[1]
        return headers.get("oci-subject") == subject

    def _add_to_tag(self, repository: str, subject: Digest, entries: list[Descriptor]) -> None:
        """Add descriptors to the index under the stand-in tag.

        Two processes may do so at once and a registry has no compare-and-swap: so what was written is read again, and
        written again until it holds us.
        """
        with self._lock:
            lock = self._subjects.setdefault((repository, subject), threading.Lock())
        tag = oci.referrers_tag(subject)
        if not entries:
            return
        with lock:
            for attempt in range(_TRIES):
                known = self._by_tag(repository, subject)
                missing = _without(entries, known)
                if not missing:
                    return
                self._manifests.put(repository, tag, oci.index_manifest([*known, *missing]), oci.OCI_INDEX, read_back=False)
                if attempt:
                    time.sleep(0.02 * attempt)
            if _without(entries, self._by_tag(repository, subject)):
                raise InfrastructureError(f"{self._transport.host}: others keep overwriting {repository}:{tag}", next_step="run again")

    def read(self, repository: str, digest: Digest, artifact_type: str) -> dict[str, bytes] | None:
        """See ``RegistryClient.attachment``."""
        entries = self.find(repository, digest, artifact_type)
        if not entries:
            return None
        manifest = self._manifests.get(repository, entries[-1].digest)
        files = {}
        for layer in manifest.document.get("layers") or ():
            descriptor = Descriptor.parse(layer)
            name = dict(descriptor.annotations).get(TITLE)
            if name is None:
                raise ContentError(f"{repository}@{manifest.digest}: an attached file has no name", next_step="attach it again")
            files[name] = self._blobs.read(repository, descriptor.digest)
        return files


def _without(entries: list[Descriptor], known: Iterable[Descriptor]) -> list[Descriptor]:
    listed = {other.digest for other in known}
    return [entry for entry in entries if entry.digest not in listed]
