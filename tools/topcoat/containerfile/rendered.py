"""What rendering a recipe gives.

This module must never read or write a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ContextFile = tuple[str, Path, int | None]
"""(path in the context, absolute source, mode)."""


@dataclass(frozen=True)
class Rendered:
    """A Containerfile and what its COPY instructions need: (path in the context, absolute source, mode or None for the source's own)."""

    containerfile: str
    files: tuple[ContextFile, ...]
