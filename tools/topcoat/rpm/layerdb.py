"""Reads the rpm database out of the layers of an image, as a container would see it, without unpacking them.

This module must never write to disk, and keeps nothing of a layer but the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import BinaryIO

from topcoat.archives import tarstream
from topcoat.archives.plain import CutOffError, Plain
from topcoat.errors import ContentError
from topcoat.rpm.rpmdb import FOLDERS, FOREIGN, SQLITE, WAL, Database, choose

_WANTED = (SQLITE, WAL, *FOREIGN)
_CHUNK = 1 << 18
_MAX_DATABASE = 1 << 29
"""Bytes; ten times what the largest installations have."""
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
# OCI image specification 1.1, "Image Layer Filesystem Changeset": whiteouts hide what lies in layers below, never in their own.


def read_layers(layers: Iterable[Callable[[], BinaryIO]]) -> Database:
    """The database that the stacked layers show; newest first, opened one after the other, and no further than needed.

    :raises ContentError: there is none, it is not SQLite, or a layer is no readable tar archive.
    """
    view = _View()
    for open_layer in layers:
        stream = open_layer()
        try:
            _read_layer(stream, view)
        except tarstream.TarError as error:
            raise ContentError(f"a layer is no readable tar archive: {error}", next_step="push the image again") from error
        except CutOffError as error:
            raise ContentError("a layer is no readable tar archive: it ends in the middle", next_step="push the image again") from error
        finally:
            stream.close()
        if view.complete():
            break
    return choose(view.folders())


class _View:
    """What has been seen so far of the few paths that matter, newest layer first."""

    def __init__(self) -> None:
        self._files: dict[str, bytes | None] = {}
        self._hidden: set[str] = set()
        self._links: dict[str, str] = {}

    def apply(self, files: dict[str, bytes | None], links: dict[str, str], hidden: set[str]) -> None:
        """Add one layer below those seen; what newer layers hid or replaced stays hidden."""
        for path, content in files.items():
            if path not in self._files and not self._is_hidden(path):
                self._files[path] = content
        for path, target in links.items():
            if path not in self._links and not self._is_hidden(path):
                self._links[path] = target
        self._hidden |= hidden

    def _is_hidden(self, path: str) -> bool:
        parts = PurePosixPath(path)
        # A newer link in the place of a folder hides the folder's old content as well.
        return path in self._hidden or any(str(parent) in self._hidden or str(parent) in self._links for parent in parts.parents)

    def complete(self) -> bool:
        """Whether no older layer can matter. SQLite writes its log beside the file whenever it writes the file, so a log that counts lies in the
        same layer as the file or in a newer one.
        """
        return any(f"{folder}/{SQLITE}" in self._files for folder in FOLDERS)

    def folders(self) -> dict[str, dict[str, bytes | None]]:
        """The files by folder; a folder that is a link lends its target's files."""
        found: dict[str, dict[str, bytes | None]] = {}
        for path, content in self._files.items():
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, {})[name] = content
        return found


def _read_layer(stream: BinaryIO, view: _View) -> None:
    files: dict[str, bytes | None] = {}
    links: dict[str, str] = {}
    hidden: set[str] = set()
    above = {str(parent) for folder in FOLDERS for parent in (PurePosixPath(folder), *PurePosixPath(folder).parents)}
    source = Plain(iter(lambda: stream.read(_CHUNK), b""))
    reader = tarstream.Reader(source.next)
    for entry in reader:
        path = "/".join(part for part in entry.name.split("/") if part not in ("", "."))
        folder, _, name = path.rpartition("/")
        if name == _OPAQUE and (folder or ".") in above:
            hidden |= {f"{known}/{wanted}" for known in FOLDERS if not folder or f"{known}/".startswith(f"{folder}/") for wanted in _WANTED}
        elif name.startswith(_WHITEOUT) and (folder or ".") in above:
            hidden.add(str(PurePosixPath(folder) / name.removeprefix(_WHITEOUT)))
        elif entry.kind == tarstream.SYMLINK and path in above:
            links[path] = entry.link
        elif folder in FOLDERS and name in _WANTED:
            files[path] = _content(reader, entry, name)
    while source.next():  # to the end, so that whoever gives the stream can prove its digest
        pass
    view.apply(files, links, hidden)


def _content(reader: tarstream.Reader, entry: tarstream.Entry, name: str) -> bytes | None:
    if name not in (SQLITE, WAL):
        return None
    if entry.kind != tarstream.REGULAR:
        raise tarstream.TarError(f"{entry.name} is no regular file")
    if entry.size > _MAX_DATABASE:
        raise tarstream.TarError(f"{entry.name} has {entry.size} bytes; a package database has at most {_MAX_DATABASE}")
    return b"".join(bytes(piece) for piece in reader.content())  # a hole's length makes as many zeros
