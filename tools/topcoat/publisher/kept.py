"""Folders of kept repositories in a registry: each file is a blob under its digest, one manifest names them all by their paths.

This module must never be believed about packages: what is fetched is the folder again, and is checked as every folder of its kind.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.model import Digest, ImageReference, labels
from topcoat.process.each import each
from topcoat.process.files import write_chunks
from topcoat.registry import Descriptor, RegistryClient
from topcoat.registry.tagged import TaggedDocuments

KEPT_TYPE = "application/vnd.topcoat.kept.v1+json"
_PARALLEL = 6
_NEXT = "name what 'topcoat freeze --keep docker://HOST/REPOSITORY:TAG' wrote"


def store(client: RegistryClient, where: ImageReference, folder: Path) -> Digest:
    """Put every file of a folder under a tag, beside what the tag names already; a blob that the repository holds is not sent.

    Blobs go first and the manifest last, so what was cut off goes on where it stopped, and the tag never names half of a folder.

    :returns: the digest of the manifest.
    :raises UsageError: no tag is named. :raises ContentError: something else lies under the tag.
    """
    if where.tag is None or where.digest is not None:
        raise UsageError(f"{where} names no tag to keep packages under", next_step="write docker://HOST/REPOSITORY:TAG")
    documents = TaggedDocuments(client, where.repository)
    held = _listed(client, where)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())

    def one(path: Path) -> tuple[str, Descriptor]:
        name, digest = path.relative_to(folder).as_posix(), _digest_of(path)
        if not client.has_blob(where.repository, digest):
            client.put_blob(where.repository, digest, path)
        return name, Descriptor(_media_type(path), digest, path.stat().st_size, ((labels.TITLE, name),))

    held.update(each(paths, one, workers=_PARALLEL))
    return documents.write(where.tag, KEPT_TYPE, {}, (held[name] for name in sorted(held)))


def fetch(client: RegistryClient, where: ImageReference, folder: Path, last: str) -> None:
    """Fill a folder with what a tag or digest names; a file that is there and right is not asked for.

    :param last: the file that says what the folder holds: it comes when the others are there.
    :raises UsageError: nothing lies there. :raises ContentError: it is something else, or names a file outside the folder.
    :raises InfrastructureError: the registry does not answer, a blob is gone or damaged, or the folder cannot be written.
    """
    listed = _listed(client, where)
    if last not in listed:
        raise UsageError(f"{where} keeps no repositories", next_step=_NEXT)
    final = listed.pop(last)

    def one(entry: tuple[str, Descriptor]) -> None:
        _fetch_file(client, where, entry[1], folder / entry[0])

    each(listed.items(), one, workers=_PARALLEL)
    one((last, final))


def fetch_one(client: RegistryClient, where: ImageReference, folder: Path, name: str) -> None:
    """One file of what a tag names, into a folder; nothing where there is no such tag or file."""
    blob = _listed(client, where).get(name)
    if blob is not None:
        _fetch_file(client, where, blob, folder / name)


def _fetch_file(client: RegistryClient, where: ImageReference, blob: Descriptor, target: Path) -> None:
    try:
        if target.is_file() and target.stat().st_size == blob.size and _digest_of(target) == blob.digest:
            return
        with client.stream_blob(where.repository, blob.digest, blob.size) as chunks:
            write_chunks(target, chunks)
    except OSError as error:
        raise InfrastructureError(f"cannot write {target}: {error}", retriable=False, next_step="make room in the work folder") from error


def _listed(client: RegistryClient, where: ImageReference) -> dict[str, Descriptor]:
    """Path below the folder -> blob, of what lies under a name; nothing where nothing does."""
    manifest = TaggedDocuments(client, where.repository).manifest(where.target)
    if manifest is None:
        return {}
    if manifest.document.get("artifactType") != KEPT_TYPE:
        raise ContentError(f"{where} is something else than kept repositories", next_step=_NEXT)
    blobs = map(Descriptor.parse, manifest.document.get("layers") or ())
    return {_below(where, dict(blob.annotations).get(labels.TITLE, "")): blob for blob in blobs}


def _below(where: ImageReference, name: str) -> str:
    """The name of a file, when it is a path below the folder and nothing else."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or path.as_posix() != name or "\0" in name:
        raise ContentError(f"{where} names a file {name[:80]!r}", next_step="remove that tag, and look who else can write to this repository")
    return name


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


def _media_type(path: Path) -> str:
    return "application/x-rpm" if path.suffix == ".rpm" else "application/octet-stream"
