"""Small documents under a tag: each is the annotations of one manifest whose only blob beside what it lists is the empty configuration.

This module must never leave a reader with half a document: writing and clearing are one manifest each, also on registries that delete nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from topcoat.model import Digest
from topcoat.registry import oci
from topcoat.registry.errors import NotFoundError
from topcoat.registry.oci import Descriptor, Manifest

if TYPE_CHECKING:
    from topcoat.registry.client import RegistryClient


def annotation(manifest: Manifest | None, label: str) -> str | None:
    """What a manifest says under a label; None where there is none, or one that was cleared."""
    return (manifest.document.get("annotations") or {}).get(label) if manifest else None


def body_of(artifact_type: str, notes: Mapping[str, str], blobs: Iterable[Descriptor] = ()) -> bytes:
    """The manifest that holds notes (label → text) and lists blobs; the same notes make the same bytes."""
    return oci.artifact_manifest(artifact_type, blobs, annotations=notes)


class TaggedDocuments:
    """The documents of one repository."""

    def __init__(self, client: RegistryClient, repository: str) -> None:
        self._client = client
        self._repository = repository
        self._has_empty = False

    def manifest(self, tag: str) -> Manifest | None:
        """What is under a tag now, or None."""
        try:
            return self._client.manifest(self._repository, tag)
        except NotFoundError:
            return None

    def proven(self, tag: str) -> Manifest | None:
        """What is under a tag, or None where the list of tags says so too.

        :raises InfrastructureError: the registry lists the tag and does not send it: that is no answer that there is none.
        """
        manifest = self.manifest(tag)
        if manifest is None and self._client.shown(self._repository, tag) is not None:
            manifest = self.manifest(tag)  # it came meanwhile
        return manifest

    def read(self, tag: str, label: str) -> str | None:
        """The text of a document; None where there is none, or it was cleared. Raises as ``proven`` does."""
        return annotation(self.proven(tag), label)

    def keep(self, content: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """Send a blob that a document will list, unless it is there."""
        digest = oci.digest_of(content)
        self._client.blobs.put_missing(self._repository, digest, content)
        return Descriptor(media_type, digest, len(content), tuple(sorted((annotations or {}).items())))

    def write(self, tag: str, artifact_type: str, notes: Mapping[str, str], blobs: Iterable[Descriptor] = (), *, read_back: bool = True) -> Digest:
        """Put a document under a tag, over what stood there.

        :param blobs: what ``keep`` gave for what the document lists.
        :param read_back: fetch it again and compare; not needed where nothing rests on it.

        :returns: the digest of its manifest.
        """
        self._need_empty()
        return self._client.put_manifest(self._repository, tag, body_of(artifact_type, notes, blobs), oci.OCI_MANIFEST, read_back=read_back)

    def clear(self, tag: str, artifact_type: str) -> None:
        """From now on there is no document under a tag. A manifest that says nothing does it: at once, and on registries that delete nothing."""
        self.write(tag, artifact_type, {})

    def _need_empty(self) -> None:
        empty = oci.digest_of(oci.EMPTY_BLOB)
        # all but the first document of a repository find it there
        if not self._has_empty and not self._client.has_blob(self._repository, empty):
            self._client.put_blob(self._repository, empty, oci.EMPTY_BLOB)
        self._has_empty = True
