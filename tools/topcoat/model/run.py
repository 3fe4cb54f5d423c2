"""A run as a value: what it is asked for, and how it is carried out.

This module must never hold anything that is open: no client, no process, no handle. Such things are made from these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.model.plan import Action
from topcoat.model.profile import Profile
from topcoat.model.recipe import Recipe


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked for: with the same registry and repositories, equal requests have equal plans."""

    profile: Profile
    recipes: Mapping[str, Recipe]
    names: tuple[str, ...]
    """The selected images, with their parents."""
    reference_tag: str
    gating_repository: str | None = None
    """Folder or URL."""
    artifacts: tuple[Mapping[str, object], ...] = ()
    """``zuul.artifacts``, oldest first."""
    full: bool = False
    view: Mapping[str, str] | None = None
    """Repository id → sha256 of repomd.xml: the states that an earlier ``freeze`` took for this buildset."""
    recipes_root: Path | None = None
    """The recipe tree: a receipt names recipes by their path from here, which is the same on every machine."""


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``total``; the first is 1."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclass(frozen=True)
class RunOptions:
    """How a request is carried out; see the options of ``topcoat build``."""

    tag: str
    """Unique tag of the run."""
    receipt: Path
    logs: Path
    """Folder for the log of each image."""
    work: Path = Path("work")
    """Folder for caches and working trees."""
    floating_tags: tuple[str, ...] = ()
    expected_plan: Path | None = None
    """The plan must be the one in this file."""
    locks: Path | None = None
    """Folder of the locks that the images' packages must be as; None: nothing is locked."""
    events: Path | None = None
    workers: int = 0
    """Images worked on at a time; 0: one a core."""
    way: str = "auto"
    update_way: str = "auto"
    """``auto``: an update is composed where that is proven to give the same, else made by a transaction; ``transaction``: always by one;
    ``composed``: never by one, which is an error where it would be needed."""
    keep_going: bool = True
    check_coverage: bool = True
    only: frozenset[Action] = frozenset(Action)
    shard: Shard | None = None
    """The part of the plan that is this machine's; None: all of it."""
    zuul: dict[str, object] = field(default_factory=dict)
    old_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Image -> names that it had before and still answers to."""
    bills: tuple[str, ...] = ("spdx",)
    """Formats of bills of materials to attach to what is built or updated."""
    authfile: Path | None = None
    """This and the next two: how external programs reach registries; our own clients use the same."""
    ca_file: Path | None = None
    plain_http: tuple[str, ...] = ()

    def log_of(self, name: str) -> Path:
        """Log file of an image."""
        return self.logs / f"{name.replace('/', '-')}.log"
