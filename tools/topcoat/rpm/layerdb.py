"""Reads the rpm database out of the layers of an image, as a container would see it, without unpacking them; and the files that steer dnf.

This module must never write to disk, and keeps nothing of a layer but these files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import BinaryIO

from topcoat.archives import tarstream
from topcoat.archives.plain import CutOffError, Plain
from topcoat.archives.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX
from topcoat.errors import ContentError
from topcoat.rpm import settings
from topcoat.rpm.rpmdb import FOLDERS, FOREIGN, SQLITE, WAL, Database, WithoutRpmError, choose

_WANTED = (SQLITE, WAL, *FOREIGN)
_CHUNK = 1 << 18
_MAX_DATABASE = 1 << 29
"""Bytes; ten times what the largest installations have."""
# OCI image specification 1.1, "Image Layer Filesystem Changeset": whiteouts hide what lies in layers below, never in their own.


_TRACES = ("bin/rpm", *(f"usr/bin/{name}" for name in ("rpm", "dnf", "yum", "microdnf")), "usr/lib/rpm/", "usr/share/rpm/", "etc/yum.repos.d/")
_TRACES += tuple(f"{folder}/" for folder in FOLDERS)
"""What only images have that were made of RPMs: where one of these is and no database, the database was taken away."""


def read_layers(layers: Iterable[Callable[[], BinaryIO]]) -> Database:
    """The database that the stacked layers show; newest first, opened one after the other, and no further than needed.

    :raises WithoutRpmError: there is none, and no layer shows a trace of rpm.
    :raises ContentError: there is none, it is not SQLite, or a layer is no readable tar archive.
    """
    view = _View()
    for open_layer in layers:
        _open_and_read(open_layer, view)
        if view.complete():
            break
    return view.database()


def read_layers_with_settings(layers: Iterable[Callable[[], BinaryIO]]) -> tuple[Database, dict[str, bytes]]:
    """The same, and the files that ``settings.wanted`` names. Such a file may lie in any layer, so all are read."""
    view = _View()
    for open_layer in layers:
        _open_and_read(open_layer, view)
    return view.database(), view.settings()


def _open_and_read(open_layer: Callable[[], BinaryIO], view: _View) -> None:
    stream = open_layer()
    try:
        _read_layer(stream, view)
    except tarstream.TarError as error:
        raise ContentError(f"a layer is no readable tar archive: {error}", next_step="push the image again") from error
    except CutOffError as error:
        raise ContentError("a layer is no readable tar archive: it ends in the middle", next_step="push the image again") from error
    finally:
        stream.close()


class _View:
    """What has been seen so far of the few paths that matter, newest layer first."""

    def __init__(self) -> None:
        self._files: dict[str, bytes | None] = {}
        self._hidden: set[str] = set()
        self._emptied: set[str] = set()
        self._links: dict[str, str] = {}
        self.traces: set[str] = set()
        """Paths that only images of RPMs have, also those that a newer layer hides."""

    def apply(self, files: dict[str, bytes | None], links: dict[str, str], hidden: set[str], emptied: set[str]) -> None:
        """Add one layer below those seen; what newer layers hid or replaced stays hidden."""
        for path, content in files.items():
            if path not in self._files and not self._is_hidden(path):
                self._files[path] = content
        for path, target in links.items():
            if path not in self._links and not self._is_hidden(path):
                self._links[path] = target
        self._hidden |= hidden
        self._emptied |= emptied

    def _is_hidden(self, path: str) -> bool:
        # A newer link in the place of a folder hides the folder's old content as well.
        above = map(str, PurePosixPath(path).parents)
        return path in self._hidden or any(folder in self._hidden or folder in self._emptied or folder in self._links for folder in above)

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
            if folder in FOLDERS:
                found.setdefault(folder, {})[name] = content
        return found

    def database(self) -> Database:
        """The database.

        :raises WithoutRpmError: there is none and never was. :raises ContentError: see ``choose``.
        """
        folders = self.folders()
        if not folders and not self.traces:
            raise WithoutRpmError("no rpm database and no trace of rpm", next_step="is this an image of an RPM distribution?")
        if not folders:
            raise ContentError(
                f"no rpm database in {' or '.join(f'/{folder}' for folder in FOLDERS)}, although it holds /{min(self.traces)}",
                next_step="is the database kept elsewhere, or was it removed? Build the image with its database",
            )
        return choose(folders)

    def settings(self) -> dict[str, bytes]:
        """The files that steer dnf."""
        return {path: content for path, content in self._files.items() if content is not None and settings.wanted(path)}


_FOLDERS = (*FOLDERS, *settings.FOLDERS, *(path.rpartition("/")[0] for path in settings.FILES))
_ABOVE = frozenset(str(parent) for folder in _FOLDERS for parent in (PurePosixPath(folder), *PurePosixPath(folder).parents))


def _read_layer(stream: BinaryIO, view: _View) -> None:
    files: dict[str, bytes | None] = {}
    links: dict[str, str] = {}
    hidden: set[str] = set()
    emptied: set[str] = set()
    source = Plain(iter(lambda: stream.read(_CHUNK), b""))
    reader = tarstream.Reader(source.next)
    for entry in reader:
        path = "/".join(part for part in entry.name.split("/") if part not in ("", "."))
        folder, _, name = path.rpartition("/")
        if path.startswith(_TRACES) or name == SQLITE:
            view.traces.add(path)
        if name == OPAQUE_NAME and (folder or ".") in _ABOVE:
            emptied.add(folder or ".")
        elif name.startswith(WHITEOUT_PREFIX) and (folder or ".") in _ABOVE:
            hidden.add(str(PurePosixPath(folder) / name.removeprefix(WHITEOUT_PREFIX)))
        elif entry.kind == tarstream.SYMLINK and path in _ABOVE:
            links[path] = entry.link
        elif folder in FOLDERS and name in _WANTED:
            files[path] = _content(reader, entry, name)
        elif settings.wanted(path):
            if entry.kind == tarstream.REGULAR:
                files[path] = _bytes(reader, entry, settings.MOST_BYTES, "a file of dnf's settings")
            else:
                hidden.add(path)  # as a link it says nothing, and still hides what lies below
    while source.next():  # to the end, so that whoever gives the stream can prove its digest
        pass
    view.apply(files, links, hidden, emptied)


def _content(reader: tarstream.Reader, entry: tarstream.Member, name: str) -> bytes | None:
    if name not in (SQLITE, WAL):
        return None
    if entry.kind != tarstream.REGULAR:
        raise tarstream.TarError(f"{entry.name} is no regular file")
    return _bytes(reader, entry, _MAX_DATABASE, "a package database")


def _bytes(reader: tarstream.Reader, entry: tarstream.Member, most: int, what: str) -> bytes:
    if entry.size > most:
        raise tarstream.TarError(f"{entry.name} has {entry.size} bytes; {what} has at most {most}")
    return b"".join(bytes(piece) for piece in reader.content())  # a hole's length makes as many zeros
