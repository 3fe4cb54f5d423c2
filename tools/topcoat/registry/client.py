"""Client of one registry (OCI distribution specification 1.1): manifests, tags, blobs, attached artifacts.

This module must never trust the wire: every digest is computed from the bytes that came, and compared.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.model import Digest, labels
from topcoat.model.image import check_tag
from topcoat.registry import oci
from topcoat.registry.auth import Credentials
from topcoat.registry.blobs import Blobs
from topcoat.registry.errors import NotFoundError, RefusedError
from topcoat.registry.limits import Limits, Traffic
from topcoat.registry.listing import Listing
from topcoat.registry.manifests import Manifests
from topcoat.registry.oci import Descriptor, Image, Manifest
from topcoat.registry.referrers import FILE_TYPE, Documents, Referrers
from topcoat.registry.tls import Tls
from topcoat.registry.transport import Transport

_MOST_BELOW = 200
"""Manifests that one index may hold, each of which is read."""


class RegistryClient:
    """One registry, to be shared by threads."""

    def __init__(
        self,
        host: str,
        credentials: Credentials | None = None,
        ca_file: Path | str | None = None,
        plain_http: bool = False,
        *,
        tls: Tls | None = None,
        plain_hosts: frozenset[str] = frozenset(),
        limits: Limits | None = None,
    ) -> None:
        """:param host: ``name[:port]``.

        :param plain_http: speak to this host without TLS; ``plain_hosts`` are others (a token server) that may be.
        :param tls: settings shared with other clients, instead of ``ca_file``.
        """
        self.host = host
        self.limits = limits or Limits()
        self.traffic = Traffic()
        self._transport = Transport(
            host,
            credentials=credentials,
            tls=tls or Tls(ca_file),
            plain_hosts=plain_hosts | {host} if plain_http else plain_hosts,
            limits=self.limits,
            traffic=self.traffic,
        )
        self.blobs = Blobs(self._transport)
        self.manifests = Manifests(self._transport)
        self.listing = Listing(self._transport)
        self._referrers = Referrers(self._transport, self.manifests, self.blobs, self.listing)
        self._tags_can_go: bool | None = None

    def __repr__(self) -> str:
        return f"RegistryClient({self.host!r})"

    # ---- manifests: see topcoat.registry.manifests ----------------------------------------------------------------------------------------------

    def manifest(self, repository: str, target: str, *, cached: bool = True) -> Manifest:
        """The manifest or index under a tag or digest, its digest proved from its bytes.

        :param cached: a manifest asked for by digest may come from memory: its bytes cannot change.
        :raises NotFoundError: there is none.
        """
        return self.manifests.get(repository, target, cached=cached)

    def head(self, repository: str, target: str) -> Digest | None:
        """Digest of the manifest under a tag or digest, or None where there is none; always asks the registry."""
        return self.manifests.head(repository, target)

    def put_manifest(self, repository: str, target: str, body: bytes, media_type: str, *, read_back: bool = True) -> Digest:
        """Store a manifest under a tag or its digest.

        :param read_back: fetch it again by digest and compare the bytes.
        :returns: its digest, computed here.
        :raises DigestMismatchError: the registry names or returns another.
        """
        return self.manifests.put(repository, target, body, media_type, read_back=read_back)

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Delete a manifest, and with it every tag that names it; False when it was gone already.

        :raises RefusedError: the registry deletes nothing.
        """
        return self.manifests.delete(repository, digest)

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Remove one tag and nothing else; False when it was gone already.

        Where the registry deletes tags (distribution-spec 1.1, "Deleting tags") it is asked to. Where it deletes digests only, taking every tag on
        them, the tag is first moved to a manifest of its own, which nothing else can name, and that one is deleted.

        :raises RefusedError: the registry deletes nothing at all; the tag is where it was then.
        """
        check_tag(tag)
        digest = self.head(repository, tag)
        if digest is None:
            return False
        if self._tags_can_go is None:
            self._tags_can_go = self._deletes_only_tags(repository)
        if self._tags_can_go and self.manifests.delete_by_tag(repository, tag):
            return True
        tombstone = self._tombstone(repository, tag)
        before = self.manifest(repository, digest)
        removed = self.put_manifest(repository, tag, tombstone, oci.OCI_MANIFEST, read_back=False)
        try:
            self.delete_manifest(repository, removed)
            if self.head(repository, tag) == removed:
                raise RefusedError(f"{self.host} deletes manifests and leaves its tags", next_step="clean this registry with its own tools")
        except TopcoatError:
            self.put_manifest(repository, tag, before.body, before.media_type, read_back=False)
            raise
        return True

    def _tombstone(self, repository: str, tag: str) -> bytes:
        """A manifest that nothing else can name; its blob is there."""
        empty = oci.digest_of(oci.EMPTY_BLOB)
        if not self.has_blob(repository, empty):
            self.put_blob(repository, empty, oci.EMPTY_BLOB)
        own = {labels.REMOVED_TAG: tag, labels.NONCE: secrets.token_hex(8)}
        return oci.artifact_manifest("application/vnd.topcoat.tombstone.v1+json", (), annotations=own)

    def _deletes_only_tags(self, repository: str) -> bool:
        """Whether a deleted tag leaves the other tags of its manifest alone; tried on a manifest of our own, once.

        Some registries have no such call, and some delete the manifest, with every other tag on it, and do not say so.

        :raises RefusedError: the registry deletes nothing at all.
        """
        tags = [f"topcoat-probe-{secrets.token_hex(8)}" for _ in range(2)]
        tombstone = self._tombstone(repository, tags[0])
        digest = oci.digest_of(tombstone)
        self.delete_manifest(repository, digest)  # not there yet: only whoever deletes nothing refuses, and then nothing is left behind
        for tag in tags:
            self.put_manifest(repository, tag, tombstone, oci.OCI_MANIFEST, read_back=False)
        try:
            return self.manifests.delete_by_tag(repository, tags[0]) and self.head(repository, tags[1]) == digest
        finally:
            with contextlib.suppress(TopcoatError):
                self.delete_manifest(repository, digest)
                for tag in tags:  # some leave the tags of a manifest that is gone
                    if self.head(repository, tag) == digest:
                        self.manifests.delete_by_tag(repository, tag)

    def with_children(self, repository: str, manifest: Manifest) -> list[Manifest]:
        """A manifest and, of an index, everything below it, other indexes too; each digest once, what is nearer to the top first.

        :raises ContentError: it holds more than any real one.
        """
        found = {manifest.digest: manifest}
        level = [manifest]
        while level:
            below = {child.digest: None for index in level for child in index.children if child.digest not in found}
            if len(found) + len(below) > _MOST_BELOW:
                raise ContentError(
                    f"index {manifest.digest} names more than {_MOST_BELOW} images", next_step="push an index of one image's platforms"
                )
            level = [self.manifest(repository, digest) for digest in below]
            found.update((part.digest, part) for part in level)
        return list(found.values())

    def image(self, repository: str, target: str, *, platform: str | None = None) -> tuple[Manifest, Image]:
        """An image; where the name holds an index, its child for the platform.

        :param platform: ``os/architecture``; without one an index is refused, because a guess reads another machine's packages.

        :returns: the manifest of the image itself (never an index) and the image.
        :raises NotFoundError: no such manifest. :raises ContentError: no child for the platform, an image of another one, or no image.
        """
        manifest = self.manifest(repository, target)
        if manifest.is_index:
            if platform is None:
                raise ContentError(f"{self.host}/{repository} {target} holds images for several platforms", next_step="say which one is meant")
            manifest = self.manifest(repository, oci.select_platform(manifest, platform).digest)
        image = oci.parse_image(manifest, self.blob(repository, manifest.config.digest))
        if platform is not None:
            oci.require_platform(image, platform, f"{self.host}/{repository}@{manifest.digest}")
        return manifest, image

    # ---- lists: see topcoat.registry.listing ----------------------------------------------------------------------------------------------------

    def tags(self, repository: str) -> tuple[str, ...]:
        """Every tag of a repository, all pages, sorted; empty for a repository that does not exist."""
        return self.listing.tags(repository)

    def catalog(self) -> tuple[str, ...]:
        """Every repository, all pages, sorted.

        :raises RefusedError: the registry has no catalog, as many have not; work with an image list instead.
        """
        return self.listing.catalog()

    # ---- blobs: see topcoat.registry.blobs ----------------------------------------------------------------------------------------------------

    def blob(self, repository: str, digest: Digest) -> bytes:
        """A small blob (configuration, inventory), verified, in memory."""
        return self.blobs.read(repository, digest)

    def stream_blob(self, repository: str, digest: Digest, size: int = 0) -> contextlib.AbstractContextManager[Iterator[bytes]]:
        """The chunks of a blob; a cut connection is resumed; the last chunk is held back until the digest is proved."""
        return self.blobs.stream(repository, digest, size)

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether a repository holds a blob."""
        return self.blobs.exists(repository, digest)

    def blob_problem(self, repository: str, blob: Descriptor) -> str:
        """What is wrong with a blob that a manifest names: it is missing, or not as long as it must be; empty when nothing is."""
        size = self.blobs.size(repository, blob.digest)
        if size is None:
            return f"{blob.digest} is missing"
        return "" if size in (-1, blob.size) else f"{blob.digest} has {size} bytes instead of {blob.size}"

    def shown(self, repository: str, tag: str) -> Digest | None:
        """What a tag shows, computed from the bytes that a GET brings; None where there is no such tag, and the list of tags says so too.

        For whoever says afterwards what a tag shows: an answer without a body proves nothing.

        :raises InfrastructureError: the tag is listed and cannot be had.
        """
        try:
            return self.manifest(repository, tag, cached=False).digest
        except NotFoundError:
            if tag not in self.tags(repository):
                return None
        raise InfrastructureError(
            f"{self.host}/{repository} lists the tag {tag} and answers 404 for it",
            next_step="look at the registry: its answers contradict each other",
        )

    def mount_blob(self, repository: str, digest: Digest, source_repository: str) -> bool:
        """Make a blob of another repository ours without sending it; False where the registry does not."""
        return self.blobs.mount(repository, digest, source_repository)

    def put_blob(self, repository: str, digest: Digest, source: bytes | Path) -> None:
        """Send a blob; checked by the registry against the digest."""
        self.blobs.put(repository, digest, source)

    # ---- attached artifacts: see topcoat.registry.referrers -----------------------------------------------------------------------------------

    def referrers(self, repository: str, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """What is attached to a manifest, by the referrers API or the tag that stands in for it."""
        return self._referrers.find(repository, digest, artifact_type)

    def attach(
        self, repository: str, subject: Descriptor, documents: Documents, *, media_type: str = FILE_TYPE, annotations: Mapping[str, str] | None = None
    ) -> dict[str, Digest]:
        """Store each document as an artifact attached to a manifest; the same files again change nothing.

        All of them are listed at once, so whoever finds one finds the others.

        :param media_type: of the files. :param annotations: of each artifact, and of its entry in the list of what is attached.
        :returns: artifact type -> digest of the artifact's manifest.
        :raises InfrastructureError: others keep overwriting the list.
        """
        return self._referrers.attach(repository, subject, documents, media_type=media_type, annotations=annotations)

    def note_documents(self, repository: str) -> None:
        """Say that documents attached to images were read from a repository: it holds what every such artifact names, and is not sent that again."""
        self._referrers.note_documents(repository)

    def put_attached(self, repository: str, subject: Digest, manifest: Manifest, entry: Descriptor) -> None:
        """Store an artifact's manifest (its blobs are there) so that ``referrers`` of the subject lists ``entry``."""
        self._referrers.put(repository, subject, manifest, entry)

    def attachment(self, repository: str, digest: Digest, artifact_type: str) -> dict[str, bytes] | None:
        """The files attached last to a manifest under this type, or None."""
        return self._referrers.read(repository, digest, artifact_type)

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()
