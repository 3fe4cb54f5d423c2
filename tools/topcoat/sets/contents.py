"""What a set holds as one small document: written when the set is promoted, so that comparing, searching and showing sets asks the registry once.

This module must never be believed about an image whose digest is another one than it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from topcoat.changes import ImageFacts
from topcoat.documents import Door, Shape, packed
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest

SCHEMA = "https://topcoat.dev/schemas/set-contents/1"
_MOST_UNPACKED = 256 << 20
_DOOR = Door(ContentError, "name the set by its tag instead: then its images are asked")
_WHAT = "what is written about a set"


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
    shape = _DOOR.shape(_WHAT)
    try:
        document = shape.table(packed.unpack(content, _MOST_UNPACKED), "it")
        if document.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {str(document.get('schema'))[:80]!r}")
        images = shape.need(document, "images", dict)
        if platform and (shape.text(document.get("platform"), "platform") or platform) != platform:
            images = shape.table(shape.table(document.get("others"), "others").get(platform), "others")
        packages = [_package(entry, shape) for entry in shape.items(shape.need(document, "packages", list), "packages", list, "lists")]
        written = shape.items(shape.need(document, "lists", list), "lists", list, "lists")
        lists = [frozenset(packages[place] for place in _places(shape.items(steps, "lists", int), len(packages))) for steps in written]
        changelogs = {
            source: check_digest(digest)
            for digest, sources in shape.need(document, "changelogs", dict).items()
            for source in shape.items(sources, "changelogs", str)
        }
        return {name: _facts(shape.table(one, name), name, lists, changelogs, shape) for name, one in images.items()}
    except (ValueError, UsageError) as error:
        raise ContentError(f"{_WHAT} cannot be read: {error}", next_step=_DOOR.next_step) from error


def _package(entry: list[Any], shape: Shape) -> tuple[str, str, int]:
    if len(entry) != 3 or not isinstance(entry[0], str) or not isinstance(entry[1], str):
        shape.refuse("packages", "a list of a name, a source and a time each")
    return entry[0], entry[1], shape.number(entry[2], "packages")


def _facts(
    one: Mapping[str, Any], name: str, lists: list[frozenset[tuple[str, str, int]]], changelogs: Mapping[str, Digest], shape: Shape
) -> ImageFacts:
    place = one.get("list")
    return ImageFacts(
        check_digest(shape.need(one, "digest", str, name)),
        None if place is None else lists[shape.number(place, f"{name}.list", most=len(lists) - 1)],
        changelogs,
        shape.text(one.get("fingerprint"), f"{name}.fingerprint"),
        shape.texts(one.get("parts"), f"{name}.parts"),
        shape.text(one.get("revision"), f"{name}.revision"),
        shape.text(one.get("source"), f"{name}.source"),
    )


def _places(steps: Iterable[int], count: int) -> list[int]:
    found, place = [], 0
    for step in steps:
        place += step
        if not 0 <= place < count:
            raise ValueError("it names a package that it does not list")
        found.append(place)
    return found
