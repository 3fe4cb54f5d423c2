"""Token scopes (distribution project, "Token Scope Documentation").

This module must never ask for more than one call needs.
"""

from __future__ import annotations


def pull(repository: str) -> tuple[str, ...]:
    """Token scope to read a repository."""
    return (f"repository:{repository}:pull",)


def push(repository: str) -> tuple[str, ...]:
    """Token scope to write a repository."""
    return (f"repository:{repository}:pull,push",)


def delete(repository: str) -> tuple[str, ...]:
    """Token scope to delete in a repository."""
    return (f"repository:{repository}:delete",)
