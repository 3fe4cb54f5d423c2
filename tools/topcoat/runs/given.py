"""Images that somebody names, updated from repositories that he names: the plan of such a run, without recipes and without a profile.

This module must never plan anything but an update, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from topcoat.containerfile import Fingerprint
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference, Profile, Recipe, Repository, RunRequest
from topcoat.model.profile import Base
from topcoat.registry import Registries
from topcoat.runs import references
from topcoat.runs.planning import Decision, planned
from topcoat.runs.references import ImageReader
from topcoat.solver.solver import UpdateSolver
from topcoat.yum import repositories as repos

_NAME = "given"


def decide(
    images: Sequence[ImageReference], repositories: Sequence[Repository], *, arch: str, release: str, registries: Registries, work: Path
) -> Decision:
    """The plan of an update of these images; each is named by the path of its repository.

    :param arch: RPM architecture of the images that are wanted.
    :param release: value of dnf's ``$releasever``; may be empty.
    :raises UsageError: images of several registries, or two of one repository.
    :raises ContentError: an image does not exist, its packages cannot be read, or cannot be satisfied.
    :raises InfrastructureError: a registry or repository does not answer.
    """
    hosts = sorted({image.host for image in images})
    if len(hosts) != 1:
        raise UsageError(f"the images lie in several registries: {', '.join(hosts)}", next_step="name those of one registry at a time")
    names = {image.repository: image for image in images}
    if len(names) != len(images):
        raise UsageError("two of the images lie in one repository, and would get the same tag", next_step="name one of them at a time")
    profile = Profile(_NAME, "", release, arch, Base(""), tuple(repositories), hosts[0], "")
    recipes = {name: Recipe(name, "", "", None) for name in names}
    snapshot = repos.freeze(repositories, work / "repositories")
    solver = UpdateSolver(snapshot, arch=arch)
    found = references.collect(ImageReader(registries, work, profile.platform), names, recipes)
    absent = [str(names[name]) for name, image in found.items() if image is None]
    if absent:
        raise ContentError(f"{absent[0]} does not exist", next_step="check the reference")
    known = {name: references.as_planner_reference(name, image) for name, image in found.items() if image is not None}
    # What an image was built from does not matter here, so every image is of its own recipe.
    prints = {name: Fingerprint(reference.fingerprint or "", reference.parts) for name, reference in known.items()}
    known = {name: replace(reference, fingerprint=prints[name].total) for name, reference in known.items()}
    return planned(RunRequest(profile, recipes, tuple(names), ""), recipes, prints, known, found, snapshot, solver)
