"""The generation of a result: a sha256 over the sources of the code that makes it, so that mended code never finds what the old code made.

This module must never name a version by hand: whoever mends a maker cannot forget to count it up.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

IMAGES = (
    "archives",
    "builder",
    "containerfile",
    "layers",
    "model",
    "rpm",
    "solver",
    "synthesis",
    "transactions",
    "yum",
    "registry/oci.py",
    "process/jail",
)
"""Rooms and modules whose code decides about the bytes of an image. A test looks that nothing they import is forgotten."""
PACKAGES = ("gating", "model")
"""The same for packages of trees under test."""
WITHOUT_INFLUENCE = {
    "documents": "lets a document in as it stands, or not at all",
    "errors": "words for people",
    "generation": "it is the key",
    "process": "runs programs as it is told",
    "recipes": "what it makes of a recipe is rendered, and the fingerprint is over that",
    "registry": "carries bytes whose digest is proved on both sides",
    "zuul": "says which trees are under test; what a tree holds is hashed",
}
"""What the makers import that cannot change a byte of a result, and why."""


def images() -> str:
    """Generation of the code that makes images, hexadecimal."""
    return of(IMAGES)


def packages() -> str:
    """Generation of the code that makes packages of source trees, hexadecimal."""
    return of(PACKAGES)


@functools.cache
def of(parts: Iterable[str], root: Path = Path(__file__).parent) -> str:
    """sha256 over names and contents of every file of some rooms, hexadecimal; compiled files do not count.

    :param parts: paths of folders or files under ``root``.
    """
    total = hashlib.sha256()
    for part in parts:
        place = root / part
        files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        if not files:
            raise FileNotFoundError(f"{place} holds no source")
        for path in files:
            if "__pycache__" in path.parts or path.suffix == ".pyc":
                continue
            name = path.relative_to(root).as_posix()
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
