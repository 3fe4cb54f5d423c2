"""States of repositories kept in a folder with the packages that a set of images needs, so that they are there when the mirrors are gone.

This module must never be believed: what lies in the folder is checked against the frozen view exactly as what a mirror sends.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.model import Repository
from topcoat.process.files import link_or_copy, write_whole
from topcoat.yum.repositories import REPOMD, FrozenRepository, Snapshot, folder_name

__all__ = ["CONTENTS", "Kept", "keep", "load"]

SCHEMA = "https://topcoat.dev/schemas/kept/1"
CONTENTS = "kept.json"
"""What a folder holds; without it nothing that lies there counts."""
_DOOR = Door(ContentError, "name a folder that 'topcoat freeze --keep' filled")


@dataclass(frozen=True)
class Kept:
    """A folder of kept repositories."""

    folder: Path
    place: str
    """How errors call it."""
    view: Mapping[str, str]
    """As ``Snapshot.view``."""
    keys: Mapping[str, str]
    """URL of a key file -> its path below the folder."""

    def instead_of(self, repositories: Iterable[Repository]) -> tuple[Repository, ...]:
        """The same repositories, read from the folder; all else that the profile says of them stays.

        :raises UsageError: one of them, or a key of it, is not kept here.
        """
        return tuple(map(self._one, repositories))

    def _one(self, repository: Repository) -> Repository:
        if repository.id not in self.view:
            raise UsageError(
                f"{self.place} does not keep repository {repository.id}, only {', '.join(name for name in self.view if '#' not in name)}",
                next_step="use the profile that the set was made with, or keep the set again",
            )
        policy = repository.signatures
        missing = [url for url in policy.keys if url not in self.keys]
        if missing:
            raise UsageError(
                f"{self.place} does not keep the key {missing[0]} of repository {repository.id}",
                next_step="use the profile that the set was made with, or keep the set again",
            )
        folder = self.folder / folder_name(repository.id, self.view[repository.id])
        keys = tuple((self.folder / self.keys[url]).as_uri() for url in policy.keys)
        return replace(repository, baseurl=folder.as_uri(), ca_file=None, signatures=replace(policy, keys=keys))


def keep(snapshot: Snapshot, wanted: Mapping[str, Iterable[str]], folder: Path, place: str) -> int:
    """Fill a folder; what is there already stays. The list of contents comes last, so a folder that was not finished is none.

    :param wanted: repository id -> hrefs of packages. :param place: how errors call the folder.
    :returns: bytes that the folder holds of this view.
    :raises UsageError: the folder keeps another view.
    :raises InfrastructureError: the folder cannot be written.
    :raises TopcoatError: as ``Snapshot.fetch``.
    """
    view = dict(snapshot.view)
    if (folder / CONTENTS).exists() and dict(load(folder, place).view) != view:
        raise UsageError(f"{place} keeps another state of the repositories", next_step="keep each state in a folder, or under a tag, of its own")
    keys: dict[str, str] = {}
    held = 0
    try:
        for frozen in snapshot.repositories:
            for file in frozen.keyring.files:
                keys[file.source] = f"keys/{len(keys)}"
                write_whole(folder / keys[file.source], file.content)
            held += _keep_one(snapshot, frozen, wanted.get(frozen.id, ()), folder)
        contents = {"schema": SCHEMA, "view": view, "keys": keys}
        write_whole(folder / CONTENTS, json.dumps(contents, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise InfrastructureError(f"cannot write {folder}: {error}", retriable=False, next_step="make room, or name another folder") from error
    return held


def _keep_one(snapshot: Snapshot, frozen: FrozenRepository, packages: Iterable[str], folder: Path) -> int:
    """Metadata but the twins in SQLite and the changelogs, which no transaction reads, and packages."""
    into = folder / folder_name(frozen.id, frozen.checksum)
    records = [record for kind, record in frozen.records.items() if not kind.endswith("_db") and not kind.startswith("other")]
    held = 0
    for path in snapshot.fetch_all([(frozen.id, href) for href in (REPOMD, *(record.href for record in records), *packages)]):
        held += _place(path, into / path.relative_to(frozen.directory))
    signature = frozen.directory / f"{REPOMD}.asc"
    if signature.exists():
        held += _place(signature, into / f"{REPOMD}.asc")
    return held


def _place(source: Path, target: Path) -> int:
    """The file under another name, or a copy where the folder lies elsewhere; its size in bytes."""
    size = source.stat().st_size
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    link_or_copy(source, temporary)
    temporary.replace(target)
    return size


def load(folder: Path, place: str) -> Kept:
    """What a folder keeps.

    :param place: how errors call it.
    :raises UsageError: there is no such folder, or it was not finished.
    :raises ContentError: its list of contents is damaged.
    """
    path = folder / CONTENTS
    if not path.is_file():
        raise UsageError(f"{place} keeps no repositories, or its making did not end: there is no {CONTENTS}", next_step=_DOOR.next_step)
    document = _DOOR.json_object(_DOOR.read(path, "the list of what is kept"), "the list of what is kept", where=f"{place}: {CONTENTS}")
    shape = _DOOR.shape("the list of what is kept", where=f"{place}: {CONTENTS}")
    shape.one_of(document.get("schema"), "schema", (SCHEMA,))
    view, keys = shape.texts(document.get("view"), "view"), shape.texts(document.get("keys"), "keys")
    for name in keys.values():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            shape.refuse("keys", "paths below the folder")
    return Kept(folder.absolute(), place, view, keys)
