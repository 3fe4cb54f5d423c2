"""Advisories that a repository publishes (updateinfo): what a release of a package mends, in the words of those who made it.

This module must never read more of a file than a real one holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from topcoat.errors import ContentError
from topcoat.rpm import compression

_MOST_BYTES = 1 << 30
_LONGEST = 300


@dataclass(frozen=True)
class Advisory:
    """One advisory. ``kind`` is ``security``, ``bugfix`` or ``enhancement``; ``packages`` are (name, [epoch:]version-release)."""

    id: str
    kind: str
    severity: str
    title: str
    references: tuple[str, ...]
    """Ids of bugs and CVEs."""
    packages: frozenset[tuple[str, str]]


def read(path: Path) -> Iterator[Advisory]:
    """The advisories of an updateinfo file, as createrepo_c and Red Hat's tools write it.

    :raises ContentError: it is damaged, or larger than any real one.
    """
    try:
        with path.open("rb") as stream:
            for _, element in ElementTree.iterparse(_Bounded(compression.opened(stream))):
                if element.tag == "update":
                    yield _advisory(element)
                    element.clear()
    except (ElementTree.ParseError, ValueError, OSError, *compression.ERRORS) as error:
        raise ContentError(f"the advisories of a repository cannot be read: {error}", next_step="tell whoever keeps the repository") from error


class _Bounded:
    """A stream that ends with an error where no real file goes on."""

    def __init__(self, stream) -> None:  # type: ignore[no-untyped-def]
        self._stream = stream
        self._left = _MOST_BYTES

    def read(self, size: int = -1) -> bytes:
        """As of a stream."""
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it is larger than any real one")
        return data


def _advisory(update: ElementTree.Element) -> Advisory:
    packages = set()
    for package in update.iter("package"):
        epoch = package.get("epoch") or "0"
        evr = f"{package.get('version', '')}-{package.get('release', '')}"
        packages.add((package.get("name", ""), evr if epoch == "0" else f"{epoch}:{evr}"))
    references = dict.fromkeys(found.get("id") or "" for found in update.iter("reference"))
    text = {name: (update.findtext(name) or "").strip()[:_LONGEST] for name in ("id", "severity", "title")}
    return Advisory(
        text["id"], (update.get("type") or "")[:_LONGEST], text["severity"], text["title"], tuple(filter(None, references)), frozenset(packages)
    )
