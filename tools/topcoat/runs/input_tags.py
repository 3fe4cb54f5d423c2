"""The name of a result, computed from everything that goes into it, so that the registry can be asked before any work.

This module must never let a time, a path or a registry's host into a name.
"""

from __future__ import annotations

import hashlib
import json

from topcoat import generation
from topcoat.model import Digest, PlannedImage
from topcoat.yum.repositories import Snapshot

PREFIX = "input-"
_HEX = 40


def update_tag(planned: PlannedImage, base: Digest, snapshot: Snapshot, way: str) -> str:
    """Tag of an update's result: the image below, the exact files of every package that moves, and what their signatures were held to.

    :param way: ``RunOptions.update_way``: the ways give the same tree in other layers, and whoever asks for one gets no other.
    """
    moves = [[*change.key, snapshot.checksums.get(str(change.new), "") if change.new else ""] for change in planned.changes]
    return _tag(["update", way, base, moves, [list(entry) for entry in snapshot.policies]])


def build_tag(planned: PlannedImage, parent: Digest, snapshot: Snapshot) -> str:
    """Tag of a build's result: fingerprint, the parent's manifest, the frozen view of every repository with what its signatures are held to."""
    return _tag(["build", planned.fingerprint, parent, [list(entry) for entry in (*snapshot.view, *snapshot.policies)]])


def _tag(inputs: list[object]) -> str:
    # A maker that was mended must not find what it made before it was.
    text = json.dumps([generation.images(), *inputs], separators=(",", ":"))
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:_HEX]
