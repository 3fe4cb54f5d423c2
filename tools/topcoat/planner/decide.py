"""The rules of the plan, parents first: build what has another recipe, update what the solver would change, reuse the rest.

What is adopted has no recipe here: it is never built.

This module must never do input or output, and never decide for a family of images: an update layer on a parent does not reach its children.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from topcoat.errors import ContentError, UsageError
from topcoat.model import Action, Digest, Nevra, PackageChange, Plan, PlannedImage, Profile, Reason, Recipe, ancestry
from topcoat.planner import sentences


class FingerprintLike(Protocol):
    """What the planner needs of ``topcoat.containerfile.Fingerprint``."""

    @property
    def total(self) -> str:
        """The fingerprint."""

    @property
    def parts(self) -> Mapping[str, str]:
        """What went into it, by kind."""


@dataclass(frozen=True)
class Reference:
    """The reference image of one recipe, as the registry has it.

    ``digest`` is its manifest, ``fingerprint`` and ``parts`` its labels (None and empty where it carries none), ``packages`` what it has
    installed. ``update_base`` is the manifest below its update layer, None where it has no such layer; the update is always computed from the
    packages of that image. ``base_inventory`` is whatever ``changes_of`` needs to do so; the planner does not look at it.
    """

    name: str
    digest: Digest
    fingerprint: str | None
    parts: Mapping[str, str] = field(default_factory=dict)
    packages: frozenset[Nevra] = frozenset()
    update_base: Digest | None = None
    base_inventory: object = None
    taken_from: str = ""
    """Where the maker of an adopted image publishes it, when it is taken anew from there."""


def plan(
    recipes: Mapping[str, Recipe],
    fingerprints: Mapping[str, FingerprintLike],
    references: Mapping[str, Reference | None],
    changes_of: Callable[[Reference], tuple[PackageChange, ...]],
    *,
    profile: Profile,
    gated: Iterable[Nevra],
    view: Iterable[tuple[str, str]],
    full_rebuild: bool = False,
    held_back: Callable[[Reference], tuple[str, ...]] = lambda _: (),
) -> Plan:
    """Make the plan.

    :param recipes: the images of the run by name. A parent that is not among them is left as it is.
    :param changes_of: what an update layer on the image below the reference's update layer (on the reference where it has none) would change.
    :param gated: every binary package of the gating repository.
    :param view: (repository id, sha256 of repomd.xml) of the frozen repositories.
    :param full_rebuild: build every image, whatever its reference.
    :param held_back: what an image's own configuration keeps from being updated, as sentences.
    :returns: one line an image, parents before children, then by name.
    :raises UsageError: no recipes, a recipe without fingerprint, or parents that form a circle.
    :raises ContentError: an image's packages cannot be satisfied; the error carries the image's name.
    """
    if not recipes:
        raise UsageError("no image is selected", next_step="'topcoat list' shows what can be")
    gated = tuple(sorted(set(gated)))
    wanted = frozenset(gated)
    planned: dict[str, PlannedImage] = {}
    failures: list[ContentError] = []
    for name in _order(recipes):
        try:
            planned[name] = _decide(recipes[name], fingerprints, references.get(name), planned, changes_of, wanted, full_rebuild, held_back)
        except ContentError as error:
            error.image = error.image or name
            failures.append(error)
    if failures:
        raise _together(failures)
    return Plan(profile.name, tuple(planned.values()), tuple((str(key), str(value)) for key, value in view), gated)


def _decide(
    recipe: Recipe,
    fingerprints: Mapping[str, FingerprintLike],
    reference: Reference | None,
    planned: Mapping[str, PlannedImage],
    changes_of: Callable[[Reference], tuple[PackageChange, ...]],
    gated: frozenset[Nevra],
    full_rebuild: bool,
    held_back: Callable[[Reference], tuple[str, ...]],
) -> PlannedImage:
    if recipe.name not in fingerprints:
        raise UsageError(
            "the recipe has no fingerprint", image=recipe.name, where=recipe.where or None, next_step="this is a defect: please report it"
        )
    fingerprint = fingerprints[recipe.name]
    parent = planned.get(recipe.parent) if recipe.parent else None
    held: tuple[str, ...] = ()

    def line(reason: Reason, sentence: str, **more: object) -> PlannedImage:
        digest = reference.digest if reference else None
        if recipe.wants_network and reason.action is Action.BUILD:
            sentence += "; its build asks for the machine's network"
        if reference and reference.taken_from:
            sentence += f"; taken from {reference.taken_from}"
        if more.get("held_back"):
            sentence += f"; {sentences.held_back(held)}"
        return PlannedImage(recipe.name, reason, sentence, recipe.parent, fingerprint.total, **{"reference": digest, **more})  # type: ignore[arg-type]

    if recipe.adopted:
        if reference is None:
            raise ContentError(
                "the registry has no reference image, and there is no recipe to build it from: it is adopted",
                where=recipe.where or None,
                next_step="publish it under the reference tag, or say where its maker does: 'adopted: host/repository:tag'",
            )
        if not reference.packages and reference.update_base is None:
            return line(Reason.UNCHANGED, "it holds no RPM, so there is nothing to update")
    elif full_rebuild:
        return line(Reason.FULL_REBUILD, "a full rebuild was asked for")
    elif reference is None:
        return line(Reason.NEW_IMAGE, "the registry has no reference image")
    elif reference.fingerprint != fingerprint.total:
        return line(*_why_changed(recipe, fingerprint, reference, parent))
    elif parent is not None and parent.action is Action.BUILD:
        return line(Reason.PARENT_RECIPE_CHANGED, sentences.parent_is_built(parent))
    changes = changes_of(reference)
    held = held_back(reference)
    below = reference.update_base
    if not changes:
        if below is not None:
            # What the update layer brought is no longer in the repositories' offer: the image below it is the right one as it is.
            return line(Reason.UNCHANGED, "nothing to change in the image below the reference's update layer", reference=below, held_back=held)
        same = "its packages are" if recipe.adopted else "recipe and packages are"
        return line(Reason.UNCHANGED, f"{same} those of the reference image", held_back=held)
    if below is not None and not _is_rebuilt(changes) and _gives(reference, changes):
        return line(Reason.UNCHANGED, "the reference image carries exactly this update already", held_back=held)
    reason = Reason.RPM_GATED if any(change.new in gated for change in changes) else Reason.RPM_UPGRADE
    return line(reason, sentences.changed_packages(changes, gated), changes=changes, update_base=below or reference.digest, held_back=held)


def _gives(reference: Reference, changes: tuple[PackageChange, ...]) -> bool:
    """Whether the reference's packages are its update base's packages with these changes applied."""
    came = {change.new for change in changes if change.new}
    went = {change.old for change in changes if change.old} - came
    return _base_packages(reference) is not None and (_base_packages(reference) - went) | came == reference.packages  # type: ignore[operator]


def _base_packages(reference: Reference) -> frozenset[Nevra] | None:
    return getattr(reference.base_inventory, "nevras", None)


def _is_rebuilt(changes: tuple[PackageChange, ...]) -> bool:
    # Names and versions cannot tell which of two builds of one NEVRA the reference holds, so such an update is always made.
    return any(change.old == change.new for change in changes)


def _why_changed(recipe: Recipe, fingerprint: FingerprintLike, reference: Reference, parent: PlannedImage | None) -> tuple[Reason, str]:
    """The most specific reason that the parts of the fingerprint allow: the image's own recipe before its files, both before its parent."""
    if reference.fingerprint is None or not reference.parts:
        return Reason.RECIPE_CHANGED, "the reference image carries no fingerprint of its recipe"
    differing = {part for part in {*fingerprint.parts, *reference.parts} if fingerprint.parts.get(part) != reference.parts.get(part)}
    if differing & {"containerfile", "arguments"}:
        return Reason.RECIPE_CHANGED, sentences.recipe_changed(differing)
    if "files" in differing:
        return Reason.FILE_CHANGED, "a file that the recipe copies has another content"
    if differing == {"parent"}:
        if recipe.parent is None:
            return Reason.PARENT_RECIPE_CHANGED, "the base image is another one"
        return Reason.PARENT_RECIPE_CHANGED, sentences.parent_is_built(parent) if parent else f"the recipe of its parent {recipe.parent} changed"
    return Reason.RECIPE_CHANGED, "the fingerprint of the recipe differs"


def _order(recipes: Mapping[str, Recipe]) -> tuple[str, ...]:
    """Parents before children; among those that are ready, by name within each generation."""
    for circle in ancestry.circles(recipes):
        raise UsageError(f"images are their own parents: {' -> '.join(circle)}", image=circle[0], next_step="correct 'from' of one of them")
    depth = ancestry.depths(recipes)
    return tuple(sorted(recipes, key=lambda name: (depth[name], name)))


def _together(failures: list[ContentError]) -> ContentError:
    first = failures[0]
    if len(failures) == 1:
        return first
    others = ", ".join(error.image or "?" for error in failures[1:])
    return ContentError(
        f"{first.what} (and {len(failures) - 1} more images cannot be updated: {others})",
        image=first.image,
        next_step=first.next_step,
        where=first.where,
    )
