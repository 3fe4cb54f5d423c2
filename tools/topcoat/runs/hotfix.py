"""A hotfix as the request of a run: given RPM files, or local source trees, are the gating repository of images that somebody names.

This module must never let a package of the hotfix stay out of every image: what it is for would not be there, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from topcoat import gating
from topcoat.errors import ContentError
from topcoat.model import Plan, Profile, Recipe, RunRequest
from topcoat.registry import Registries
from topcoat.runs.planning import decide


def request(
    profile: Profile,
    recipes: Mapping[str, Recipe],
    names: tuple[str, ...],
    *,
    reference_tag: str | None,
    rpms: Sequence[Path],
    sources: Sequence[Path],
    registries: Registries,
    work: Path,
    say: Callable[[str], None],
) -> RunRequest:
    """Make the gating repository, and ask for one update on each of the images.

    :param rpms: files to put on the images. :param sources: or trees with a spec file, which are built first.
    :param reference_tag: of the images to start from; None: the profile's.
    :raises ContentError: a tree cannot be built, or no image takes a package of the trees.
    """
    output = work / "hotfix"
    output.parent.mkdir(parents=True, exist_ok=True)
    repository = gating.collect(rpms, output) if rpms else gating.build(sources, output, work=work / "gating", say=say)
    wanted = RunRequest(profile, recipes, names, reference_tag or profile.reference_tag, str(repository.directory))
    return _only_what_fits(wanted, decide(wanted, registries=registries, work=work).plan) if sources else wanted


def _only_what_fits(request: RunRequest, plan: Plan) -> RunRequest:
    """A source tree gives packages for many images: those that none of the selected images takes need not be proven."""
    taken = {change.new for image in plan.images for change in image.changes if change.new}
    if not taken & set(plan.gated):
        raise ContentError("no selected image takes a package of the source tree", next_step="'topcoat why PACKAGE' names the images that hold it")
    others = sorted({package.name for package in plan.gated if package not in taken})
    return replace(request, profile=replace(request.profile, not_containerised=(*request.profile.not_containerised, *others)))
