"""The plan: per image one action, with a reason code and a sentence.

This module must never decide; ``topcoat.planner`` does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from topcoat.model.image import Digest
from topcoat.model.package import Nevra, PackageChange


class Action(enum.Enum):
    """What happens to an image in a run."""

    BUILD = "build"
    UPDATE = "update"
    REUSE = "reuse"


class Phrase(NamedTuple):
    """What is true of an image: the verb for one, the verb for several, and the rest."""

    one: str
    many: str
    rest: str


class Reason(enum.Enum):
    """Why. The code steers; ``action`` travels with it, and ``phrase`` says it for people."""

    NEW_IMAGE = ("new-image", Action.BUILD, Phrase("has", "have", "no reference image yet"))
    RECIPE_CHANGED = ("recipe-changed", Action.BUILD, Phrase("has", "have", "a changed recipe"))
    FILE_CHANGED = ("file-changed", Action.BUILD, Phrase("copies", "copy", "a file that changed"))
    PARENT_RECIPE_CHANGED = ("parent-recipe-changed", Action.BUILD, Phrase("stands", "stand", "on a parent whose recipe changed"))
    FULL_REBUILD = ("full-rebuild", Action.BUILD, Phrase("is", "are", "part of the full rebuild that was asked for"))
    RPM_GATED = ("rpm-gated", Action.UPDATE, Phrase("takes", "take", "packages of the changes under test"))
    RPM_UPGRADE = ("rpm-upgrade", Action.UPDATE, Phrase("has", "have", "newer packages in the repositories"))
    UNCHANGED = ("unchanged", Action.REUSE, Phrase("holds", "hold", "nothing that changed"))

    def __init__(self, code: str, action: Action, phrase: Phrase) -> None:
        self.code = code
        self.action = action
        self.phrase = phrase

    @classmethod
    def of(cls, code: str) -> Reason:
        """The reason with this code; ValueError when there is none."""
        for reason in cls:
            if reason.code == code:
                return reason
        raise ValueError(f"unknown reason code {code!r}")


@dataclass(frozen=True)
class PlannedImage:
    """One line of the plan."""

    name: str
    reason: Reason
    sentence: str
    parent: str | None
    fingerprint: str
    reference: Digest | None = None
    """Digest of the reference image's manifest (None: there is none)."""
    changes: tuple[PackageChange, ...] = ()
    """What the update layer will change, no more and no less (update only)."""
    update_base: Digest | None = None
    """Manifest that the update layer goes on: the reference itself, or, where the reference already carries an update layer, the image below it."""
    held_back: tuple[str, ...] = ()
    """What the image's own configuration keeps from being updated, as sentences: the package, and in parentheses why."""

    @property
    def action(self) -> Action:
        """What to do, derived from the reason."""
        return self.reason.action


@dataclass(frozen=True)
class Plan:
    """All images of a run, parents first."""

    profile: str
    images: tuple[PlannedImage, ...]
    repositories: tuple[tuple[str, str], ...] = ()
    """(repository id, sha256 of its repomd.xml): the frozen view that the decision was made on."""
    gated: tuple[Nevra, ...] = ()
    """Every binary package of the gating repository."""

    def of(self, name: str) -> PlannedImage:
        """The line of one image; KeyError when the plan has none."""
        for image in self.images:
            if image.name == name:
                return image
        raise KeyError(name)

    def count(self, action: Action) -> int:
        """How many images have this action."""
        return sum(image.action is action for image in self.images)
