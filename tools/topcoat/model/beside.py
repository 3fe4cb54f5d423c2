"""Names of the repositories that we keep in a namespace beside those of its images.

This module must never say what lies in them: that is their writers' and readers' business.
"""

from __future__ import annotations

CONTROL = "topcoat-promotions"
"""Records, locks and the history of promotions, and what a collection of garbage remembers."""
RUNS = "topcoat-runs"
"""Receipts of finished runs, and the steps of searches."""
CHANGELOGS = "topcoat-changelogs"
"""Changelogs of source packages."""

KEPT = "topcoat-kept"
"""Repositories of packages as sets were made of them, where a site keeps them beside its images."""


def within(namespace: str, name: str) -> str:
    """Path of such a repository in a namespace, which may be empty."""
    return f"{namespace}/{name}" if namespace else name
