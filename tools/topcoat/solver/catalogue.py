"""What filters may ask about a package that they know by its libsolv number.

This module must never hold data.
"""

from __future__ import annotations

from typing import Protocol

from topcoat.model import Nevra, Repository


class Catalogue(Protocol):
    """What is known about a package by its id."""

    def nevra(self, number: int) -> Nevra:
        """The package."""

    def repository(self, number: int) -> Repository:
        """Its repository."""
