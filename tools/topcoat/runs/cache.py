"""What a digest names, kept on disk.

This module must never keep anything that a tag names: tags move.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from topcoat.errors import ContentError
from topcoat.model import Digest
from topcoat.model.image import check_digest
from topcoat.process.files import write_whole

_Value = TypeVar("_Value")


class DigestCache:
    """Files by digest and kind under one folder; written whole or not at all, safe for several processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, digest: Digest, kind: str) -> Path:
        algorithm, _, value = check_digest(digest).partition(":")
        return self._directory / algorithm / value[:2] / f"{value}.{kind}"

    def read(self, digest: Digest, kind: str) -> bytes | None:
        """The content, None when it is not kept."""
        try:
            return self._path(digest, kind).read_bytes()
        except FileNotFoundError:
            return None

    def load(self, digest: Digest, kind: str, parse: Callable[[bytes], _Value]) -> _Value | None:
        """What a content stands for; None when it is not kept, was cut off on our own disk, or is of another version.

        :param parse: raises ContentError for such a content.
        """
        kept = self.read(digest, kind)
        try:
            return parse(kept) if kept is not None else None
        except ContentError:
            return None

    def write(self, digest: Digest, kind: str, content: bytes) -> None:
        """Keep the content."""
        write_whole(self._path(digest, kind), content, mode=0o600)
