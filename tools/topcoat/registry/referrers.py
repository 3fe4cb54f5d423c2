"""Artifacts attached to a manifest: by the referrers API of OCI distribution 1.1, or by the tag that stands in for it.

This module must never drop what someone else attached.

On a registry without the API the list of what is attached is an index under the tag ``sha256-<hex>``, which every writer reads, adds to and writes
whole; there is no compare-and-swap, so of two writers the later one can write a list that lacks the earlier one's entry. Therefore:

1. announce: the artifact itself is stored under a tag of its own, ``sha256-<hex of the subject>.<32 hex of the artifact>``, and stays there;
2. read the index and write it with our entries;
3. only then list the repository's tags; where an announcement is not in what we wrote, add it and go back to 2.

Nothing is lost, whoever runs at once: take the last write of the index. Its writer listed the tags after it and found every announcement inside, else
it would have written again. An announcement made after that list belongs to a writer that has yet to write, so that was not the last write. A writer
that is killed between 2 and 3 can leave a list that lacks entries; their announcements stay, and whoever attaches next puts them back.
"""

from __future__ import annotations

import random
import re
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
from topcoat.registry.listing import Listing
from topcoat.registry.manifests import Manifests
from topcoat.registry.oci import Descriptor
from topcoat.registry.transport import Response, Transport

INVENTORY_TYPE = "application/vnd.topcoat.inventory.v1+json"
TITLE = "org.opencontainers.image.title"
_FILE_TYPE = "application/octet-stream"
_TRIES = 64
_ANNOUNCEMENT = re.compile(r"[0-9a-f]{32}")

Documents = Mapping[str, Mapping[str, bytes]]
"""What is attached at once: artifact type -> file name -> content."""


class Referrers:
    """The artifact half of a registry client."""

    def __init__(self, transport: Transport, manifests: Manifests, blobs: Blobs, listing: Listing) -> None:
        self._transport = transport
        self._manifests = manifests
        self._blobs = blobs
        self._listing = listing
        self._has_api: bool | None = None
        self._announces = False
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
        """Store an artifact's manifest; False where the registry does not keep referrers by itself, then it is announced as well."""
        if not self._announces:
            headers = self._manifests.store(repository, manifest.digest, manifest.body, manifest.media_type)[1]
            if headers.get("oci-subject") == subject:
                return True
            self._announces = True  # from now on announced at once: one request, not two
        self._manifests.store(repository, announcement(subject, manifest.digest), manifest.body, manifest.media_type)
        return False

    def _add_to_tag(self, repository: str, subject: Digest, entries: list[Descriptor]) -> None:
        """Add descriptors that were announced to the index under the stand-in tag; see the protocol above."""
        with self._lock:
            lock = self._subjects.setdefault((repository, subject), threading.Lock())
        tag = oci.referrers_tag(subject)
        if not entries:
            return
        with lock:
            wanted = list(entries)
            for attempt in range(_TRIES):
                known = self._by_tag(repository, subject)
                missing = _without(wanted, known)
                if missing:
                    self._manifests.put(repository, tag, oci.index_manifest([*known, *missing]), oci.OCI_INDEX, read_back=False)
                elif attempt:
                    return  # the registry shows all that was announced when we listed the tags after our last write
                wanted += _without(self._announced(repository, subject, [*known, *wanted]), wanted)
                if attempt > 1:
                    time.sleep(random.uniform(0, 0.02) * attempt)
            raise InfrastructureError(f"{self._transport.host}: others keep overwriting {repository}:{tag}", next_step="run again")

    def _announced(self, repository: str, subject: Digest, known: Iterable[Descriptor]) -> list[Descriptor]:
        """What is announced for a subject and not among those known."""
        prefix = f"{oci.referrers_tag(subject)}."
        have = {announcement(subject, entry.digest) for entry in known}
        found = []
        for name in self._listing.tags(repository):
            if not name.startswith(prefix) or name in have or not _ANNOUNCEMENT.fullmatch(name.removeprefix(prefix)):
                continue
            try:
                manifest = self._manifests.get(repository, name)
            except NotFoundError:
                continue  # collected as garbage since the list was made
            document = manifest.document
            if isinstance(document.get("subject"), dict) and document["subject"].get("digest") == subject and not manifest.is_index:
                kind = str(document.get("artifactType") or "")
                found.append(Descriptor(manifest.media_type, manifest.digest, len(manifest.body), artifact_type=kind))
        return found

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


def announcement(subject: Digest, artifact: Digest) -> str:
    """Tag under which an artifact says that it belongs to a subject, where the registry has no referrers API."""
    return f"{oci.referrers_tag(subject)}.{artifact.partition(':')[2][:32]}"


def _without(entries: list[Descriptor], known: Iterable[Descriptor]) -> list[Descriptor]:
    listed = {other.digest for other in known}
    return [entry for entry in entries if entry.digest not in listed]
