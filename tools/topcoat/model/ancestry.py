"""Which image stands on which: the walks along ``parent``, for anything that has one (recipes, drafts, lines of a plan, results).

This module must never assume that what it walks is whole: a parent that is no member ends a chain, and so does a circle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Standing(Protocol):
    """What stands on something."""

    @property
    def parent(self) -> str | None:
        """Name of what it stands on; None: on nothing of its kind."""


def chain(name: str, members: Mapping[str, Standing]) -> tuple[str, ...]:
    """The image itself and everything it stands on, nearest first; empty when it is no member."""
    found: dict[str, None] = {}
    current: str | None = name
    while current is not None and current in members and current not in found:
        found[current] = None
        current = members[current].parent
    return tuple(found)


def above(name: str, members: Mapping[str, Standing]) -> tuple[str, ...]:
    """Everything that an image stands on, nearest first."""
    return chain(name, members)[1:]


def circles(members: Mapping[str, Standing]) -> list[tuple[str, ...]]:
    """Each circle of parents once, its first name again at the end; in the order of the members."""
    settled: set[str] = set()
    found = []
    for name in members:
        links: dict[str, int] = {}
        current: str | None = name
        while current is not None and current in members and current not in settled and current not in links:
            links[current] = len(links)
            current = members[current].parent
        if current in links:
            found.append((*list(links)[links[current] :], current))
        settled.update(links)
    return found


def depths(members: Mapping[str, Standing]) -> dict[str, int]:
    """How many members each one stands on. Parents come first in the answer.

    :raises ValueError: there is a circle.
    """
    depth: dict[str, int] = {}
    for name in members:
        links: dict[str, None] = {}
        current: str | None = name
        while current is not None and current in members and current not in depth:
            if current in links:
                raise ValueError(f"the parents of {name} form a circle")
            links[current] = None
            current = members[current].parent
        level = depth[current] + 1 if current in depth else 0
        for link in reversed(links):
            depth[link] = level
            level += 1
    return depth


def children(members: Mapping[str, Standing]) -> dict[str | None, list[str]]:
    """What stands directly on each member, in the order of the members; under None what stands on no member."""
    found: dict[str | None, list[str]] = {}
    for name, member in members.items():
        found.setdefault(member.parent if member.parent in members else None, []).append(name)
    return found


def below(name: str, standing: Mapping[str | None, list[str]]) -> tuple[str, ...]:
    """The image itself and everything that stands on it, parents first.

    :param standing: what ``children`` answers.
    """
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = None
            waiting.extend(reversed(standing.get(current, ())))
    return tuple(found)
