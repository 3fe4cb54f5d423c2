"""What runs leave in the registry for whoever goes on, who needs no file of another machine: the receipt under the tag of its images, for one.

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
_MOST = 256 << 20
"""Bytes of one document, unpacked."""
_WORDS = {RECEIPT_TYPE: "receipt of a run"}


def store(client: RegistryClient, namespace: str, tag: str, document: Mapping[str, object], kind: str = RECEIPT_TYPE) -> None:
    """Leave a document, of a receipt unless another media type says what it is; what was left under this tag before is gone."""
    repository, blob = beside.within(namespace, beside.RUNS), packed.pack(document)
    documents = TaggedDocuments(client, repository)
    documents.write(tag, kind, {}, (documents.keep(blob, f"{kind}+gzip"),))


def read(client: RegistryClient, namespace: str, tag: str, kind: str = RECEIPT_TYPE, next_step: str = "run the build again") -> Any:
    """The document under a tag, None where there is none.

    :raises ContentError: what lies there is of another kind, or damaged.
    """
    repository = beside.within(namespace, beside.RUNS)
    where = f"{client.host}/{repository}:{tag}"
    try:
        manifest = client.manifest(repository, tag, cached=False)
        blob = next((blob for blob in manifest.blobs if blob.media_type == f"{kind}+gzip"), None)
        if blob is None:
            raise ContentError(f"{where} is no {_WORDS.get(kind, kind)}", next_step=next_step)
        content = client.blob(repository, blob.digest)
    except NotFoundError:
        return None
    try:
        return packed.unpack(content, _MOST)
    except ValueError as error:
        raise ContentError(f"{where} cannot be read: {error}", next_step=next_step) from error
