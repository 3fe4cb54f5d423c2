"""Receipts of finished runs, left in the registry under the tag of their images: whoever goes on with the set needs no file of another machine.

This module must never be believed about what a tag shows now: a receipt says what was true when its run ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topcoat.documents import packed
from topcoat.errors import ContentError
from topcoat.model import beside
from topcoat.registry import NotFoundError, RegistryClient
from topcoat.registry.tagged import TaggedDocuments

RECEIPT_TYPE = "application/vnd.topcoat.receipt.v1+json"
_BLOB_TYPE = f"{RECEIPT_TYPE}+gzip"
_MOST = 256 << 20
"""Bytes of one receipt, unpacked."""


def store(client: RegistryClient, namespace: str, tag: str, document: Mapping[str, object]) -> None:
    """Leave the document of a receipt; what was left under this tag before is gone."""
    repository, blob = beside.within(namespace, beside.RUNS), packed.pack(document)
    documents = TaggedDocuments(client, repository)
    documents.write(tag, RECEIPT_TYPE, {}, (documents.keep(blob, _BLOB_TYPE),))


def read(client: RegistryClient, namespace: str, tag: str) -> Any:
    """The document under a tag, None where there is none.

    :raises ContentError: what lies there is no receipt, or damaged.
    """
    repository = beside.within(namespace, beside.RUNS)
    where = f"{client.host}/{repository}:{tag}"
    try:
        manifest = client.manifest(repository, tag, cached=False)
        blob = next((blob for blob in manifest.blobs if blob.media_type == _BLOB_TYPE), None)
        if blob is None:
            raise ContentError(f"{where} is no receipt of a run", next_step="run the build again")
        content = client.blob(repository, blob.digest)
    except NotFoundError:
        return None
    try:
        return packed.unpack(content, _MOST)
    except ValueError as error:
        raise ContentError(f"{where} cannot be read: {error}", next_step="run the build again") from error
