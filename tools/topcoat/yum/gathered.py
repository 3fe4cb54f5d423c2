"""Frozen repositories as those who ask a server for them must see them: every package lies below its repository.

This module must never change what a repository holds, only where its metadata says that it lies.

A location in primary.xml may name another base than the repository's own (``xml:base``), as createrepo_c writes for ``--baseurl``. Whoever freezes
takes the package from there; a build has no way to that place, and need have none.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

from topcoat.errors import ContentError, InfrastructureError, machine_error
from topcoat.process.files import write_whole
from topcoat.rpm import compression
from topcoat.yum.repomd import Record
from topcoat.yum.repositories import REPOMD, FrozenRepository, Snapshot
from topcoat.yum.transport import Checksum

_LOCATION = re.compile(rb"<location\b[^<>]*>")
_BASE = re.compile(rb"""\s+xml:base\s*=\s*(?:"[^"]*"|'[^']*')""")
_CHUNK = 1 << 20
_LEVEL = 1


class Gathered:
    """The files of a view; safe for several threads."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._own: dict[str, dict[str, Path]] = {}

    def fetch(self, repo_id: str, href: str) -> Path:
        """As ``Snapshot.fetch``, but with metadata that sends nobody elsewhere.

        :raises ContentError: also where the metadata cannot be read. :raises InfrastructureError: also where it cannot be written.
        """
        frozen = self._snapshot.repository(repo_id)
        with self._lock:
            own = self._own.get(repo_id)
            if own is None:
                own = self._own[repo_id] = _described(frozen) if any(package.base for package in self._snapshot.packages(repo_id)) else {}
        return own.get(href) or self._snapshot.fetch(repo_id, href)


def _described(frozen: FrozenRepository) -> dict[str, Path]:
    """Href → file, of what is another than the repository's own; made anew for each view, beside the frozen repository."""
    folder = frozen.directory.with_name(f"{frozen.directory.name}.gathered")
    primary = frozen.metadata("primary")
    assert primary is not None  # every frozen repository has it
    try:
        folder.mkdir(exist_ok=True)
        record, path = _without_bases(primary, folder)
        # What tells of the same packages in another form tells of the same places.
        kept = {kind: one for kind, one in frozen.records.items() if not kind.endswith(("_zck", "_db"))}
        write_whole(folder / "repomd.xml", _repomd({**kept, "primary": record}))
    except (OSError, *compression.ERRORS) as error:
        machine = machine_error(error)
        if machine:
            raise machine from error
        if isinstance(error, OSError):
            raise InfrastructureError(
                f"cannot write {folder}: {error}", retriable=False, next_step="make room, or name another cache folder"
            ) from error
        raise ContentError(f"repository {frozen.id}: {primary.name} is corrupt: {error}", next_step="have its metadata made again") from error
    return {REPOMD: folder / "repomd.xml", record.href: path}


def _without_bases(primary: Path, folder: Path) -> tuple[Record, Path]:
    """primary.xml without its bases, compressed, under a name that holds its checksum."""
    handle, name = tempfile.mkstemp(prefix=".primary-", dir=folder)
    try:
        length = 0
        with primary.open("rb") as stream, os.fdopen(handle, "wb") as sink:
            with gzip.GzipFile("", "wb", _LEVEL, sink, mtime=0) as packed:
                for piece in _pieces(compression.opened(stream)):
                    plain = _LOCATION.sub(lambda found: _BASE.sub(b"", found.group()), piece)
                    length += len(plain)
                    packed.write(plain)
        content = Path(name)
        with content.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        path = content.replace(folder / f"{digest}-primary.xml.gz")
    finally:
        Path(name).unlink(missing_ok=True)
    return Record("primary", f"repodata/{path.name}", Checksum("sha256", digest), path.stat().st_size, length), path


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """The whole stream, in pieces that cut no element's tag in two."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        text, found, tail = (rest + chunk).rpartition(b"<")
        if found:
            yield text
        rest = found + tail
    yield rest


def _repomd(records: dict[str, Record]) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<repomd xmlns="http://linux.duke.edu/metadata/repo">']
    for kind, record in records.items():
        sizes = (("size", record.size), ("open-size", record.open_size))
        inside = [
            f"<checksum type={quoteattr(record.checksum.algorithm)}>{record.checksum.value}</checksum>",
            f"<location href={quoteattr(record.href)}/>",
        ]
        inside += [f"<{name}>{size}</{name}>" for name, size in sizes if size is not None]
        lines.append(f"<data type={quoteattr(kind)}>{''.join(inside)}</data>")
    return "\n".join([*lines, "</repomd>\n"])
