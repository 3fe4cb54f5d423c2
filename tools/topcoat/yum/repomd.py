"""Reads repomd.xml, the table of contents of a yum repository.

This module must never open another file than the bytes it is given.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import PurePosixPath

from topcoat.yum.transport import Checksum

_MAX_DIGITS = 19
# Of a file system's limits (PATH_MAX, NAME_MAX) there must be room left for the folder and for the name of a partial file.
_MAX_PATH, _MAX_NAME = 2048, 200
_SHOWN = 80
_REPO = "{http://linux.duke.edu/metadata/repo}"


@dataclass(frozen=True)
class Record:
    """One metadata file. ``href`` is relative to the repository's base URL; size in bytes, None where repomd.xml does not say."""

    type: str
    href: str
    checksum: Checksum
    size: int | None
    open_size: int | None = None
    """Bytes of the plain content, None where repomd.xml does not say."""


def parse(text: bytes) -> dict[str, Record]:
    """The records by type.

    :raises ValueError: not a repomd.xml, no ``primary``, a record without checksum, or a location that leaves the repository.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not well-formed XML: {error}") from error
    if root.tag not in (f"{_REPO}repomd", "repomd"):
        raise ValueError(f"the root element is {root.tag!r}, not repomd")
    records: dict[str, Record] = {}
    for data in root.iter(f"{_REPO}data"):
        kind = data.get("type", "")
        location = data.find(f"{_REPO}location")
        checksum = data.find(f"{_REPO}checksum")
        size = data.findtext(f"{_REPO}size")
        if location is None or checksum is None or not location.get("href") or not checksum.text:
            raise ValueError(f"the record {kind!r} has no location or no checksum")
        records[kind] = Record(
            kind,
            safe_href(location.get("href", "")),
            Checksum(checksum.get("type", "").lower(), checksum.text.strip().lower()),
            _number(size),
            _number(data.findtext(f"{_REPO}open-size")),
        )
    if "primary" not in records:
        raise ValueError("it names no primary metadata")
    return records


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else None


def safe_href(href: str) -> str:
    """The href when it stays below the repository and is a possible file name, else ValueError: it becomes a path on this machine."""
    path = PurePosixPath(href)
    shown = repr(href if len(href) <= _SHOWN else href[:_SHOWN] + "...")
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError(f"the location {shown} leaves the repository")
    if (
        not href.isprintable()
        or len(href.encode(errors="replace")) > _MAX_PATH
        or any(len(part.encode(errors="replace")) > _MAX_NAME for part in path.parts)
    ):
        raise ValueError(f"the location {shown} is no possible file name")
    return href
