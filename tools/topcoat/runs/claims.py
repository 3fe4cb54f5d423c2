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
from dataclasses import dataclass

from topcoat.documents import Door
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


def claim(files: Mapping[str, Digest], diff_ids: Sequence[Digest], sketch: Sketch | None = None) -> str:
    """The label's text.

    :param files: name of each file of the inventory -> its digest.
    :param diff_ids: the image's layers, lowest first.
    """
    document: dict[str, object] = {"files": dict(sorted(files.items())), "layers": _layers(diff_ids)}
    if sketch is not None:
        document["sketch"] = {"digest": sketch.digest, "layers": sketch.layers}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def claimed(text: str | None, diff_ids: Sequence[Digest]) -> dict[str, Digest] | None:
    """File name -> digest of an image's inventory; None where the image claims nothing, or something about other layers."""
    try:
        document, shape = _opened(text, diff_ids), _DOOR.shape("the claim")
        files = {name: check_digest(digest) for name, digest in shape.texts(document.get("files"), "files").items()}
    except UsageError:
        return None
    return files if 0 < len(files) <= _MOST_FILES else None


def sketch(text: str | None, diff_ids: Sequence[Digest]) -> Sketch | None:
    """Which document is about an image's files; None where the image claims nothing of that, or something about other layers."""
    try:
        shape = _DOOR.shape("the claim")
        found = shape.table(_opened(text, diff_ids).get("sketch"), "sketch")
        count = shape.number(found.get("layers"), "sketch.layers", most=len(diff_ids))
        return Sketch(check_digest(shape.text(found.get("digest"), "sketch.digest")), count) if count else None
    except UsageError:
        return None


def _opened(text: str | None, diff_ids: Sequence[Digest]) -> dict[str, object]:
    """:raises UsageError: it is no claim, or one about other layers."""
    document = _DOOR.json_object(text or "", "the claim")
    if document.get("layers") != _layers(diff_ids):
        raise UsageError("the claim is about other layers", next_step=_DOOR.next_step)
    return document


def _layers(diff_ids: Sequence[Digest]) -> Digest:
    return Digest("sha256:" + hashlib.sha256("\n".join(diff_ids).encode()).hexdigest())
