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

from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest

_MOST_FILES = 8
_DOOR = Door(UsageError, "what it says is not believed", limit=4096)


def claim(files: Mapping[str, Digest], diff_ids: Sequence[Digest]) -> str:
    """The label's text.

    :param files: name of each file of the inventory -> its digest.
    :param diff_ids: the image's layers, lowest first.
    """
    return json.dumps({"files": dict(sorted(files.items())), "layers": _layers(diff_ids)}, sort_keys=True, separators=(",", ":"))


def claimed(text: str | None, diff_ids: Sequence[Digest]) -> dict[str, Digest] | None:
    """File name -> digest of an image's inventory; None where the image claims nothing, or something about other layers."""
    if not text:
        return None
    try:
        document, shape = _DOOR.json_object(text, "the claim"), _DOOR.shape("the claim")
        if document.get("layers") != _layers(diff_ids):
            return None
        files = {name: check_digest(digest) for name, digest in shape.texts(document.get("files"), "files").items()}
    except UsageError:
        return None
    return files if 0 < len(files) <= _MOST_FILES else None


def _layers(diff_ids: Sequence[Digest]) -> Digest:
    return Digest("sha256:" + hashlib.sha256("\n".join(diff_ids).encode()).hexdigest())
