"""Where changelogs lie: one repository beside those of the images, each bundle under its own digest, once for all images.

This module must never be believed about packages: a bundle is asked for by the digest that an image's own inventory names.
"""

from __future__ import annotations

import contextlib
import threading

from topcoat.errors import ContentError
from topcoat.model import Digest, beside
from topcoat.registry import AccessError, NotFoundError, RefusedError, RegistryClient, digest_of
from topcoat.registry.tagged import TaggedDocuments
from topcoat.rpm.changelogs import ChangelogEntry, unpack

_TYPE = "application/vnd.topcoat.changelogs.v1+json"
_BUNDLE_TYPE = "application/vnd.topcoat.changelogs.v1+json+gzip"


def repository_beside(repository: str) -> str:
    """Path of the repository of changelogs beside that of an image."""
    return beside.within(repository.rpartition("/")[0], beside.CHANGELOGS)


class ChangelogWriter:
    """Stores bundles; one object a run, shared by its threads, so that the same bundle of a hundred images costs one look."""

    def __init__(self) -> None:
        self._done: set[tuple[str, str, Digest]] = set()
        self._lock = threading.Lock()

    def store(self, client: RegistryClient, repository: str, bundle: bytes) -> None:
        """Store a bundle beside an image's repository; not where the registry allows no such repository: nothing rests on changelogs."""
        digest, where = digest_of(bundle), repository_beside(repository)
        with self._lock:
            if (client.host, where, digest) in self._done:
                return
        with contextlib.suppress(AccessError, RefusedError):
            write(client, where, bundle)
        with self._lock:
            self._done.add((client.host, where, digest))


def write(client: RegistryClient, repository: str, bundle: bytes) -> None:
    """Store a bundle in a repository of changelogs, unless it is there."""
    digest = digest_of(bundle)
    tag = digest.removeprefix("sha256:")
    if client.head(repository, tag) is not None:
        return
    documents = TaggedDocuments(client, repository)
    documents.write(tag, _TYPE, {}, (documents.keep(bundle, _BUNDLE_TYPE),), read_back=False)


def read(client: RegistryClient, repository: str, digest: Digest) -> dict[str, tuple[ChangelogEntry, ...]] | None:
    """The changelogs of a bundle (source RPM -> entries), None where the repository does not hold it.

    :raises ContentError: it is damaged.
    """
    try:
        return unpack(client.blob(repository, digest))
    except (NotFoundError, AccessError, RefusedError):
        return None
    except ContentError as error:
        raise ContentError(f"{client.host}/{repository}@{digest}: {error.what}", next_step=error.next_step) from error
