"""Changelogs of source packages: read from package headers, packed into a bundle, and what of one is newer than another.

This module must never keep more of a changelog than its newest part: packages carry histories of twenty years.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from topcoat.documents import Door, Shape, packed
from topcoat.errors import ContentError
from topcoat.rpm import header

_TIME, _NAME, _TEXT = 1080, 1081, 1082
MOST_ENTRIES = 40
_LONGEST_TEXT = 4000
_DOOR = Door(ContentError, "remove it; the packages are not affected")
_MOST_UNPACKED = 64 << 20


@dataclass(frozen=True)
class ChangelogEntry:
    """One entry. ``time`` is seconds since the epoch; ``author`` as the package says, usually with address and version."""

    time: int
    author: str
    text: str


def of_header(blob: bytes) -> tuple[ChangelogEntry, ...]:
    """The newest entries, newest first, of a row of an rpm database.

    :raises header.Damaged: it is no header.
    """
    found = header.values(blob, (_TIME, _NAME, _TEXT))
    raw = b"".join(found.get(_TIME, ()))
    times = [int.from_bytes(raw[at : at + 4], "big") for at in range(0, len(raw) - 3, 4)]
    authors, texts = ([value.decode("utf-8", "replace") for value in found.get(tag, ())[:MOST_ENTRIES]] for tag in (_NAME, _TEXT))
    rows = zip(times[:MOST_ENTRIES], authors, texts, strict=False)
    return tuple(ChangelogEntry(time, author[:_LONGEST_TEXT], text[:_LONGEST_TEXT]) for time, author, text in rows)


def pack(changelogs: Mapping[str, Sequence[ChangelogEntry]]) -> bytes:
    """A bundle: source RPM -> entries; the same changelogs give the same bytes."""
    document = {source: [[entry.time, entry.author, entry.text] for entry in entries] for source, entries in sorted(changelogs.items())}
    return packed.pack(document)


def unpack(content: bytes) -> dict[str, tuple[ChangelogEntry, ...]]:
    """Read back what ``pack`` gave.

    :raises ContentError: it is no bundle, or a larger one than any real one.
    """
    shape = _DOOR.shape("a bundle of changelogs")
    try:
        document = shape.table(packed.unpack(content, _MOST_UNPACKED), "it")
    except ValueError as error:
        raise ContentError(f"a bundle of changelogs is damaged: {error}", next_step=_DOOR.next_step) from error
    return {source: tuple(_entry(entry, shape) for entry in shape.items(entries, source, list, "lists")) for source, entries in document.items()}


def _entry(entry: list[Any], shape: Shape) -> ChangelogEntry:
    if len(entry) != 3 or not isinstance(entry[1], str) or not isinstance(entry[2], str):
        shape.refuse("an entry", "a time, an author and a text")
    return ChangelogEntry(shape.number(entry[0], "the time of an entry"), entry[1], entry[2])


def newer(entries: Sequence[ChangelogEntry], than: Sequence[ChangelogEntry]) -> tuple[ChangelogEntry, ...]:
    """The entries that an older changelog lacks, newest first.

    Not by date alone: a day has several entries, and a branch gets entries with dates that lie before those of the package it replaces.
    """
    known = set(than)
    oldest = min((entry.time for entry in than), default=0)
    # What is older than all that is kept of the older one was cut off there, and is not new.
    return tuple(entry for entry in entries if entry not in known and entry.time >= oldest)
