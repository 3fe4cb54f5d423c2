"""The plan: per image one action, with a reason code and a sentence.

This module must never decide; ``topcoat.planner`` does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from topcoat.model.image import Digest
from topcoat.model.package import Nevra, PackageChange


class Action(enum.Enum):
    """What happens to an image in a run."""

    BUILD = "build"
    UPDATE = "update"
    REUSE = "reuse"


class Reason(enum.Enum):
    """Why. The code steers, the sentence beside it is for people; ``action`` travels with the code."""

    NEW_IMAGE = ("new-image", Action.BUILD)
    RECIPE_CHANGED = ("recipe-changed", Action.BUILD)
    FILE_CHANGED = ("file-changed", Action.BUILD)
    PARENT_RECIPE_CHANGED = ("parent-recipe-changed", Action.BUILD)
    FULL_REBUILD = ("full-rebuild", Action.BUILD)
    RPM_GATED = ("rpm-gated", Action.UPDATE)
    RPM_UPGRADE = ("rpm-upgrade", Action.UPDATE)
    UNCHANGED = ("unchanged", Action.REUSE)

    def __init__(self, code: str, action: Action) -> None:
        self.code = code
        self.action = action

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
