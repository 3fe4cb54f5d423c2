"""What an image's own configuration says of its inventory: the digests of its files, and the layers it was read from.

This module must never accept a claim that does not name exactly the layers of the image that carries it.

A document that hangs beside an image proves nothing: whoever can write to the repository can hang another there. The configuration lies under the
image's digest, so a digest in it binds the document to the image. Labels are inherited, though: an image that somebody builds on ours carries our
label. So the claim also names the layers, and an image with one layer more has no claim at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from topcoat.documents import Door, Shape
from topcoat.errors import UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest

_MOST_FILES = 8
_DOOR = Door(UsageError, "what it says is not believed", limit=4096)


@dataclass(frozen=True)
class Sketch:
    """The document of an image's files: its digest, and how many of the layers, lowest first, it is about.

    An update has that of the image it goes on.
    """

    digest: Digest
    layers: int


@dataclass(frozen=True)
class Claim:
    """What an image says of its inventory: name of each file -> its digest, none where it says nothing; and of the document of its files."""

    files: Mapping[str, Digest] = field(default_factory=dict)
    sketch: Sketch | None = None


def claim(files: Mapping[str, Digest], diff_ids: Sequence[Digest], sketch: Sketch | None = None) -> str:
    """The label's text.

    :param files: name of each file of the inventory -> its digest.
    :param diff_ids: the image's layers, lowest first.
    """
    document: dict[str, object] = {"files": dict(sorted(files.items())), "layers": _layers(diff_ids)}
    if sketch is not None:
        document["sketch"] = {"digest": sketch.digest, "layers": sketch.layers}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def claimed(text: str | None, diff_ids: Sequence[Digest]) -> Claim:
    """What the label of an image with these layers says; nothing where it is none, or about other layers."""
    try:
        document, shape = _DOOR.json_object(text or "", "the claim"), _DOOR.shape("the claim")
    except UsageError:
        return Claim()
    return Claim(_files(document, shape), _sketch(document, shape, len(diff_ids))) if document.get("layers") == _layers(diff_ids) else Claim()


def _files(document: Mapping[str, object], shape: Shape) -> dict[str, Digest]:
    try:
        files = {name: check_digest(digest) for name, digest in shape.texts(document.get("files"), "files").items()}
    except UsageError:
        return {}
    return files if len(files) <= _MOST_FILES else {}


def _sketch(document: Mapping[str, object], shape: Shape, most: int) -> Sketch | None:
    try:
        found = shape.table(document.get("sketch"), "sketch")
        count = shape.number(found.get("layers"), "sketch.layers", most=most)
        return Sketch(check_digest(shape.text(found.get("digest"), "sketch.digest")), count) if count else None
    except UsageError:
        return None


def _layers(diff_ids: Sequence[Digest]) -> Digest:
    return Digest("sha256:" + hashlib.sha256("\n".join(diff_ids).encode()).hexdigest())
