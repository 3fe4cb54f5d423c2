"""What a set holds as one small document: written when the set is promoted, so that comparing, searching and showing sets asks the registry once.

This module must never be believed about an image whose digest is another one than it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from topcoat.changes import ImageFacts
from topcoat.documents import packed
from topcoat.errors import ContentError, UsageError
from topcoat.model.image import check_digest

SCHEMA = "https://topcoat.dev/schemas/set-contents/1"
_MOST_UNPACKED = 256 << 20
_NEXT = "name the set by its tag instead: then its images are asked"


def pack(facts: Mapping[str, ImageFacts], platform: str = "", others: Mapping[str, Mapping[str, ImageFacts]] = MappingProxyType({})) -> bytes:
    """The document, compressed; the same set gives the same bytes. A package that many images hold is written once.

    :param platform: whose images of an index these are; empty: the set has no index. :param others: platform -> its images, of an index.
    """
    every = (facts, *(others[name] for name in sorted(others)))
    packages = sorted({package for side in every for one in side.values() for package in one.packages or ()})
    number = {package: place for place, package in enumerate(packages)}
    lists: list[list[int]] = []
    known: dict[frozenset[Any], int] = {}
    bundles: dict[str, str] = {}

    def written(side: Mapping[str, ImageFacts]) -> dict[str, dict[str, object]]:
        images: dict[str, dict[str, object]] = {}
        for name, one in sorted(side.items()):
            if one.packages is not None and one.packages not in known:
                known[one.packages] = len(lists)
                lists.append(_steps(sorted(number[package] for package in one.packages)))
            for source, digest in one.changelogs.items():
                bundles.setdefault(source, digest)
            words = {"fingerprint": one.fingerprint, "parts": dict(one.parts), "revision": one.revision, "source": one.source}
            images[name] = {"digest": one.digest, "list": known[one.packages] if one.packages is not None else None}
            images[name] |= {key: value for key, value in words.items() if value}
        return images

    own: dict[str, object] = {"platform": platform} if platform else {}
    own["images"] = written(facts)
    if others:
        own["others"] = {name: written(others[name]) for name in sorted(others)}
    changelogs: dict[str, list[str]] = {}
    for source, bundle in sorted(bundles.items()):
        changelogs.setdefault(bundle, []).append(source)
    return packed.pack({"schema": SCHEMA, **own, "packages": packages, "lists": lists, "changelogs": changelogs})


def _steps(places: Iterable[int]) -> list[int]:
    """A rising list as first value and steps: it packs to a fraction."""
    found, last = [], 0
    for place in places:
        found.append(place - last)
        last = place
    return found


def unpack(content: bytes, platform: str = "") -> dict[str, ImageFacts]:
    """Read back what ``pack`` gave.

    :param platform: that images are wanted for. What is written of an index is true for one platform only; for another nothing is known.
    :raises ContentError: it is damaged, or of another version.
    """
    try:
        document = packed.unpack(content, _MOST_UNPACKED)
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is {str(document['schema'])[:80]!r}")
        images = document["images"]
        if platform and document.get("platform", platform) != platform:
            images = document.get("others", {}).get(platform, {})
        packages = [(str(nevra), str(source), int(built)) for nevra, source, built in document["packages"]]
        lists = [frozenset(packages[place] for place in _places(steps, len(packages))) for steps in document["lists"]]
        changelogs = {str(source): check_digest(digest) for digest, sources in document["changelogs"].items() for source in sources}
        return {
            str(name): ImageFacts(
                check_digest(one["digest"]),
                None if one["list"] is None else lists[one["list"]],
                changelogs,
                str(one.get("fingerprint", "")),
                {str(part): str(value) for part, value in one.get("parts", {}).items()},
                str(one.get("revision", "")),
                str(one.get("source", "")),
            )
            for name, one in images.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError, UsageError) as error:
        raise ContentError(f"what is written about a set cannot be read: {error}", next_step=_NEXT) from error


def _places(steps: Iterable[int], count: int) -> list[int]:
    found, place = [], 0
    for step in steps:
        place += step
        if not 0 <= place < count:
            raise ValueError("it names a package that it does not list")
        found.append(place)
    return found
