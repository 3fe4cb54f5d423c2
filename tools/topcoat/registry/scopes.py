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


CATALOG = ("registry:catalog:*",)
"""Token scope to list every repository."""


def stand_ins(scopes: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """What to ask for, in this order, where a token server knows no such scope.

    ``delete`` and the catalog are the distribution project's words; quay knows ``pull``, ``push`` and ``*`` only, and who may push there may delete.
    """
    if scopes == CATALOG:
        return ((),)
    if len(scopes) == 1 and scopes[0].endswith(":delete"):
        base = scopes[0].removesuffix("delete")
        return ((f"{base}pull,push",), (f"{base}*",))
    return ()
