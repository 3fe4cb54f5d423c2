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

import contextlib
import random
import re
import threading
import time
from collections.abc import Iterable, Mapping

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.model import Digest, labels
from topcoat.model.image import check_digest, check_repository
from topcoat.registry import oci, scopes
from topcoat.registry.blobs import Blobs
from topcoat.registry.connection import Deadline
from topcoat.registry.errors import NotFoundError
from topcoat.registry.links import Pages
from topcoat.registry.listing import Listing
from topcoat.registry.manifests import Manifests
from topcoat.registry.oci import Descriptor
from topcoat.registry.transport import Response, Transport

INVENTORY_TYPE = "application/vnd.topcoat.inventory.v1+json"
FILE_TYPE = "application/octet-stream"
_TRIES = 64
_CERTAIN = 3
"""After so many signs in a row that there is no API, a registry is asked no more."""
_ANNOUNCEMENT = re.compile(r"[0-9a-f]{32}")

Documents = Mapping[str, Mapping[str, bytes]]
"""What is attached at once: artifact type -> file name (empty: it has none) -> content."""


class Referrers:
    """The artifact half of a registry client."""

    def __init__(self, transport: Transport, manifests: Manifests, blobs: Blobs, listing: Listing) -> None:
        self._transport = transport
        self._manifests = manifests
        self._blobs = blobs
        self._listing = listing
        self._without_api = 0
        """Signs one after the other that there is no API."""
        self._announces = False
        self._lock = threading.Lock()
        self._with_empty: dict[str, None] = {}
        """Repositories known to hold the empty configuration that every artifact names, oldest first."""
        self._told: set[str] = set()
        """Those of them of which somebody else says so."""
        self._subjects: dict[tuple[str, Digest], threading.Lock] = {}

    def find(self, repository: str, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """Descriptors of what is attached, in the registry's order, optionally of one type."""
        entries = self._by_api(repository, digest)
        if entries is None:
            entries = self._by_tag(repository, digest)
        return tuple(entry for entry in entries if artifact_type is None or entry.artifact_type == artifact_type)

    def _by_api(self, repository: str, digest: Digest) -> tuple[Descriptor, ...] | None:
        """What the API says, all pages (distribution-spec 1.1, "Listing Referrers"); None where it says nothing, and the stand-in tag counts."""
        if self._without_api >= _CERTAIN:
            return None
        found: list[Descriptor] = []
        known: set[Digest] = set()
        first = f"/v2/{check_repository(repository)}/referrers/{check_digest(digest)}"
        turning = Pages(first, f"{self._transport.host}: the list of referrers of {repository}@{digest}")
        while turning.path is not None:

            def work(deadline: Deadline, path: str = turning.path) -> Response:
                needed, accept = scopes.pull(repository), {"Accept": oci.OCI_INDEX}
                return self._transport.request("GET", path, deadline, scopes=needed, headers=accept, ok=(200, 400, 404, 405, 501))

            answer = self._transport.operation(f"referrers {repository}", work)
            entries = _entries(oci.Manifest(digest, oci.OCI_INDEX, answer.body)) if answer.status == 200 else None
            if entries is None:
                if not turning.is_first:
                    raise InfrastructureError(f"{self._transport.host}: a page of the referrers of {repository}@{digest} is missing")
                return None
            self._without_api = 0
            more = _parsed(entries)
            found += more
            known.update(entry.digest for entry in more)
            turning.turn(answer.headers.get("link", ""), len(known))
        return tuple(found)

    def _by_tag(self, repository: str, digest: Digest) -> tuple[Descriptor, ...]:
        entries = self._tag_entries(repository, digest)
        # A 404 alone proves nothing, some registries say it of a repository that they do not know; with a list under the tag it is a sign.
        self._without_api += bool(entries)
        return tuple(self._announced(repository, digest, ())) if entries is None else tuple(_parsed(entries))

    def _tag_entries(self, repository: str, digest: Digest) -> list[object] | None:
        """The index under the stand-in tag as it is; None where the registry reads ``sha256-<hex>`` as the digest and shows the image itself."""
        try:
            index = self._manifests.get(repository, oci.referrers_tag(check_digest(digest)))
        except NotFoundError:
            return []
        return None if index.digest == digest else _entries(index) or []

    def attach(
        self, repository: str, subject: Descriptor, documents: Documents, *, media_type: str = FILE_TYPE, annotations: Mapping[str, str] | None = None
    ) -> dict[str, Digest]:
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
                layers.append(Descriptor(media_type, digest, len(data), ((labels.TITLE, name),) if name else ()))
            body = oci.artifact_manifest(artifact_type, layers, subject=subject, annotations=annotations)
            notes = tuple(sorted((annotations or {}).items()))
            entries[artifact_type] = entry = Descriptor(oci.OCI_MANIFEST, oci.digest_of(body), len(body), notes, artifact_type=artifact_type)
            manifest = oci.Manifest(entry.digest, oci.OCI_MANIFEST, body)
            try:
                announced = not self._store(repository, subject.digest, manifest)
            except TopcoatError:
                if repository not in self._told:
                    raise
                # what was read may be left over from artifacts that are gone
                with self._lock:
                    self._told.discard(repository)
                    self._with_empty.pop(repository, None)
                self._put_empty(repository)
                announced = not self._store(repository, subject.digest, manifest)
            if announced:
                unlisted.append(entry)
        self._add_to_tag(repository, subject.digest, unlisted)
        return {artifact_type: entry.digest for artifact_type, entry in entries.items()}

    def note_documents(self, repository: str) -> None:
        """See ``RegistryClient.note_documents``."""
        with self._lock:
            if repository not in self._with_empty:
                self._with_empty[repository] = None
                self._told.add(repository)

    def _put_empty(self, repository: str) -> None:
        """The empty configuration; with one request where a repository of ours holds it already and the registry mounts."""
        with self._lock:
            if repository in self._with_empty:
                return
            source = next(iter(self._with_empty), "")
        empty = oci.digest_of(oci.EMPTY_BLOB)
        location = self._blobs.start(repository, empty, source)
        if location is not None:
            self._blobs.put(repository, empty, oci.EMPTY_BLOB, location=location)
        with self._lock:
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
            self._without_api = _CERTAIN  # who keeps referrers must say so (distribution-spec 1.1, "Pushing Manifests with Subject")
            self._announces = True  # from now on announced at once: one request, not two
        self._manifests.store(repository, announcement(subject, manifest.digest), manifest.body, manifest.media_type)
        return False

    def _add_to_tag(self, repository: str, subject: Digest, entries: list[Descriptor]) -> None:
        """Add descriptors that were announced to the index under the stand-in tag; see the protocol above."""
        if not entries:
            return
        with self._lock:
            lock = self._subjects.setdefault((repository, subject), threading.Lock())
        tag = oci.referrers_tag(subject)
        with lock:
            wanted = list(entries)
            for attempt in range(_TRIES):
                there = self._tag_entries(repository, subject)
                if there is None:
                    return  # no such tag can be had here: the announcements are the list
                known = _parsed(there)
                missing = _without(wanted, known)
                if missing:
                    # What others listed stays as they wrote it, also what we cannot read.
                    index = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": [*there, *(entry.as_dict() for entry in missing)]}
                    self._manifests.put(repository, tag, oci.to_json(index), oci.OCI_INDEX, read_back=False)
                more = _without(self._announced(repository, subject, [*known, *wanted]), wanted)
                if not more:
                    return  # all that was announced when we listed the tags is in what we read or wrote before
                wanted += more
                if attempt:
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
            name = dict(descriptor.annotations).get(labels.TITLE)
            if name is None:
                raise ContentError(f"{repository}@{manifest.digest}: an attached file has no name", next_step="attach it again")
            files[name] = self._blobs.read(repository, descriptor.digest)
        return files


def announcement(subject: Digest, artifact: Digest) -> str:
    """Tag under which an artifact says that it belongs to a subject, where the registry has no referrers API."""
    return f"{oci.referrers_tag(subject)}.{artifact.partition(':')[2][:32]}"


def _entries(index: oci.Manifest) -> list[object] | None:
    """What an index lists; None when it is no index."""
    try:
        entries = index.document.get("manifests")
    except ContentError:
        return None
    return entries if isinstance(entries, list) else None


def _parsed(entries: Iterable[object]) -> list[Descriptor]:
    """Those of the entries that can be read; one that cannot (another digest algorithm) hides no other."""
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            with contextlib.suppress(TopcoatError):
                found.append(Descriptor.parse(entry))
    return found


def _without(entries: list[Descriptor], known: Iterable[Descriptor]) -> list[Descriptor]:
    listed = {other.digest for other in known}
    return [entry for entry in entries if entry.digest not in listed]
