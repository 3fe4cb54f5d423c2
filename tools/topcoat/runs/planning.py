"""The decision of a run: references, inventories and one frozen view of the repositories go in, a plan comes out.

This module must never start a container, pull an image or need root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from topcoat import planner
from topcoat.containerfile import Fingerprint, fingerprints
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference, Nevra, Plan, Profile, Recipe, Repository, RunRequest, SignaturePolicy
from topcoat.publisher import kept as stored
from topcoat.registry import Registries
from topcoat.runs import references
from topcoat.runs.references import ImageReader, ReferenceImage
from topcoat.solver.solver import UpdateSolver
from topcoat.yum import kept
from topcoat.yum import repositories as repos
from topcoat.yum.repositories import Snapshot

if TYPE_CHECKING:
    from topcoat.gating import GatedPackage

GATING_ID = "gating"
GATING_PRIORITY = 1
_ANYTHING_WHOLE = SignaturePolicy()


@dataclass(frozen=True)
class Decision:
    """A plan with everything it was made from, which is what carrying it out needs."""

    request: RunRequest
    plan: Plan
    fingerprints: Mapping[str, Fingerprint]
    references: Mapping[str, ReferenceImage | None]
    snapshot: Snapshot
    solver: UpdateSolver


def gating_repository(location: str, signatures: SignaturePolicy = _ANYTHING_WHOLE) -> Repository:
    """The gating repository as an entry of the repo set: highest priority, packages at exactly their NEVRA.

    :param location: folder or URL.
    :raises UsageError: a folder without repodata. It must not pass for "nothing is gated".
    """
    if "://" not in location:
        from topcoat import gating

        location = gating.load(Path(location)).directory.absolute().as_uri()
    return Repository(GATING_ID, location, priority=GATING_PRIORITY, module_hotfixes=True, gated=True, signatures=signatures)


def under_test(snapshot: Snapshot, location: str | None) -> tuple[Nevra, ...]:
    """The packages that images must hold, as the metadata of the frozen gating repository names them.

    :param location: as of ``gating_repository``; None: there is none.
    :raises ContentError: the list beside the metadata has packages that the metadata lacks. They would be asked of no image.
    """
    listed = {Nevra.parse(package.nevra) for package in listed_under_test(location)}
    lost = sorted(listed - {package.nevra for package in snapshot.packages(GATING_ID)}) if listed else []
    if lost:
        raise ContentError(
            f"the gating repository {location} lists {len(lost)} package(s) that its metadata does not have: {', '.join(map(str, lost[:3]))}",
            next_step="copy the repository whole, or build it again with 'topcoat gating'",
        )
    return snapshot.gated()


def listed_under_test(location: str | None) -> tuple[GatedPackage, ...]:
    """What a gating repository of ours says of itself; one behind a URL says nothing."""
    if location is None or "://" in location:
        return ()
    from topcoat import gating

    return gating.load(Path(location)).packages


def repo_set(profile: Profile, gating: str | None) -> tuple[Repository, ...]:
    """The profile's repositories, and the gating one before them."""
    if gating is None:
        return profile.repositories
    if any(repository.id == GATING_ID for repository in profile.repositories):
        raise UsageError(f"profile {profile.name} has a repository {GATING_ID!r} of its own", next_step="rename it, or leave --gating-repo out")
    return (gating_repository(gating, profile.gating_signatures), *profile.repositories)


def read_kept(profile: Profile, place: str, view: Mapping[str, str] | None, *, registries: Registries, work: Path) -> tuple[Profile, dict[str, str]]:
    """The profile with its repositories read from where they are kept, and their state.

    :param place: a folder, or ``docker://`` and a name in a registry, of which the folder is made below ``work``.
    :param view: states that were asked for beside it; they must be those that are kept.
    :raises UsageError: other states are kept there, or not all repositories of the profile.
    :raises TopcoatError: as ``topcoat.publisher.kept.fetch``.
    """
    where = ImageReference.of_url(place)
    if where:
        folder = work / hashlib.sha256(place.encode()).hexdigest()[:16]
        stored.fetch(registries.client(where.host), where, folder, last=kept.CONTENTS)
    found = kept.load(folder if where else Path(place), place)
    other = sorted(name for name, checksum in (view or {}).items() if found.view.get(name, checksum) != checksum)
    if other:
        raise UsageError(f"{place} keeps another state of {other[0]} than the view names", next_step="leave --view out: what is kept names its own")
    return replace(profile, repositories=found.instead_of(profile.repositories)), {**(view or {}), **found.view}


def decide(request: RunRequest, *, registries: Registries, work: Path) -> Decision:
    """Make the plan.

    :raises InfrastructureError: a registry or repository does not answer.
    :raises ContentError: an inventory cannot be had, or the packages cannot be satisfied.
    """
    wanted = set(request.names)
    recipes = {name: recipe for name, recipe in request.recipes.items() if name in wanted}
    if not recipes:
        raise UsageError("no image is selected", next_step="'topcoat list' shows what can be")
    prints = fingerprints(request.recipes, request.profile)
    snapshot = repos.freeze(repo_set(request.profile, request.gating_repository), work / "repositories", view=request.view)
    solver = UpdateSolver(snapshot, arch=request.profile.arch)
    reader = ImageReader(registries, work, request.profile.platform)
    names = references.reference_names(request.profile, recipes, request.reference_tag, request.artifacts)
    found = references.collect(reader, names, recipes, anew=request.full)
    known = {name: references.as_planner_reference(name, image) if image else None for name, image in found.items()}
    return planned(request, recipes, prints, known, found, snapshot, solver)


def planned(
    request: RunRequest,
    recipes: Mapping[str, Recipe],
    prints: Mapping[str, Fingerprint],
    known: Mapping[str, planner.Reference | None],
    found: Mapping[str, ReferenceImage | None],
    snapshot: Snapshot,
    solver: UpdateSolver,
) -> Decision:
    """The plan for images of which everything is known.

    :param recipes: of the images to plan. :param known: what the planner is to know of each that is ``found``.
    :raises ContentError: the packages of an image cannot be satisfied.
    """
    plan = planner.plan(
        recipes,
        prints,
        known,
        lambda reference: solver.changes(found[reference.name].base_inventory),  # type: ignore[union-attr]
        profile=request.profile,
        gated=under_test(snapshot, request.gating_repository),
        view=snapshot.view,
        full_rebuild=request.full,
        held_back=lambda reference: solver.held_back(found[reference.name].base_inventory),  # type: ignore[union-attr]
    )
    return Decision(request, plan, prints, found, snapshot, solver)


def artifacts_from(documents: Iterable[object]) -> tuple[Mapping[str, object], ...]:
    """Check the shape of ``zuul.artifacts``: a list of mappings; anything else is a UsageError."""
    found = []
    for document in documents:
        if not isinstance(document, Mapping):
            raise UsageError("artifacts must be a list of mappings, as zuul.artifacts is", next_step="pass zuul.artifacts as JSON")
        found.append(document)
    return tuple(found)
