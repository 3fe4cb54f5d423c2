"""The options that choose images and say what a run is made from, and what Zuul handed over; shared by the commands that plan or take it.

This module must never decide anything about an image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings
from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.model.profile import COMPRESSION_FORMATS, IMAGE_FORMATS

if TYPE_CHECKING:
    from topcoat.model import RunRequest
    from topcoat.recipes import Selection
    from topcoat.zuul import Artifact

_ARTIFACTS = Door(UsageError, "give a list in the shape of zuul.artifacts, or the variables that hold it")
_RECORDED = ("items", "projects", "pipeline", "buildset", "build", "project", "branch")
_ITEMS = Door(UsageError, "write build, buildset and items of the variable 'zuul' into it")
_VIEW = Door(UsageError, "make it with 'topcoat freeze --output'")


def selection_options(function: Callable[..., object]) -> Callable[..., object]:
    """PATTERN... and --family, --class, --exclude, --images, --skip-parents; the command gets them as one ``selection``."""
    decorators = (
        click.argument("patterns", nargs=-1, metavar="[REGEX]...", shell_complete=_complete.images),
        click.option("--family", "families", multiple=True, shell_complete=_complete.families, help="Only images of this family; may be repeated."),
        click.option("--class", "classes", multiple=True, type=click.Choice(["openstack", "infra"]), help="Only images of this class."),
        click.option("--exclude", multiple=True, metavar="REGEX", help="Leave these images out; may be repeated."),
        click.option(
            "--images",
            metavar="LIST",
            help="Only the images that a list names: a name under lists/, or a file, also a containers.yaml or tripleo_containers.yaml(.j2).",
        ),
        click.option("--skip-parents", is_flag=True, help="Do not add the parents of what is selected."),
    )

    @functools.wraps(function)
    def packed(
        *positional: object,
        patterns: tuple[str, ...],
        families: tuple[str, ...],
        classes: tuple[str, ...],
        exclude: tuple[str, ...],
        images: str | None,
        skip_parents: bool,
        **others: object,
    ) -> object:
        from topcoat.recipes import Selection

        listed = None if images is None else _listed(images)
        return function(*positional, selection=Selection(patterns, families, classes, exclude, listed, not skip_parents), **others)

    return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), packed)


def matching(*patterns: str, parents: bool = True) -> Selection:
    """The images whose names match one of some regular expressions."""
    from topcoat.recipes import Selection

    return Selection(patterns, with_parents=parents)


def _listed(images: str) -> tuple[str, ...]:
    """The images that a list names."""
    from topcoat.lists import load_template

    settings = click.get_current_context().find_object(Settings)
    assert settings is not None
    return load_template(images, root=settings.recipes_dir).names()


@dataclass(frozen=True)
class Sources:
    """What a run is made from, as the options give it."""

    gating_repo: str | None
    reference_tag: str | None
    artifacts: str | None
    view: str | None
    full: bool
    image_format: str | None = None
    compression_format: str | None = None
    kept: str | None = None

    @property
    def formats(self) -> dict[str, str]:
        """Those of the profile that were asked for otherwise."""
        asked = {"image_format": self.image_format, "compression_format": self.compression_format}
        return {name: value for name, value in asked.items() if value}


def source_options(function: Callable[..., object]) -> Callable[..., object]:
    """Where reference images and packages come from, and in which formats images are written; the command gets the options as one ``sources``."""
    decorators = (
        click.option("--gating-repo", metavar="DIR|URL", help="Repository of the RPMs under test."),
        click.option("--reference-tag", metavar="TAG", help="Tag of the reference images, instead of the profile's."),
        click.option("--artifacts", metavar="FILE", help="zuul.artifacts as JSON: images of changes ahead, oldest first."),
        click.option("--view", metavar="FILE", help="View that 'topcoat freeze' wrote: repositories are used in exactly these states."),
        click.option(
            "--kept",
            metavar="DIR|docker://NAME",
            help="What 'topcoat freeze --keep' filled: the repositories are read from it, and no mirror is asked.",
        ),
        click.option("--full", is_flag=True, help="Build every selected image, whatever is published."),
        click.option(
            "--image-format",
            type=click.Choice(IMAGE_FORMATS),
            help="Format of built images, instead of the profile's; auto is docker where an image has a health check. Updates keep their base's.",
        ),
        click.option(
            "--compression-format",
            type=click.Choice(COMPRESSION_FORMATS),
            help="Of new layers, instead of the profile's; images in Docker's format have gzip.",
        ),
    )

    @functools.wraps(function)
    def packed(
        *positional: object,
        gating_repo: str | None,
        reference_tag: str | None,
        artifacts: str | None,
        view: str | None,
        kept: str | None,
        full: bool,
        image_format: str | None,
        compression_format: str | None,
        **others: object,
    ) -> object:
        sources = Sources(gating_repo, reference_tag, artifacts, view, full, image_format, compression_format, kept)
        return function(*positional, sources=sources, **others)

    return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), packed)


def request_of(settings: Settings, selection: Selection, sources: Sources) -> RunRequest:
    """Turn the options above into the request of a run."""
    from topcoat.model import RunRequest
    from topcoat.runs.planning import artifacts_from, read_kept

    artifacts = read_artifacts(Path(sources.artifacts)) if sources.artifacts else []
    view = _VIEW.shape("the view", where=sources.view).texts(_VIEW.json_file(Path(sources.view), "the view"), "it") if sources.view else None
    profile = replace(settings.profile, **sources.formats)  # type: ignore[arg-type]
    if sources.kept:
        profile, view = read_kept(profile, sources.kept, view, registries=settings.registries, work=settings.work_dir / "kept")
    return RunRequest(
        profile=profile,
        recipes=settings.recipes,
        names=selection.of(settings.recipes),
        reference_tag=sources.reference_tag or settings.profile.reference_tag,
        gating_repository=sources.gating_repo,
        artifacts=artifacts_from(artifacts),
        full=sources.full,
        view=view,
        recipes_root=settings.recipes_dir,
    )


def images_handed_over(path: Path) -> tuple[Artifact, ...]:
    """The container images of ``zuul.artifacts`` in a file; see ``read_artifacts``."""
    from topcoat.zuul import parse_artifacts

    return parse_artifacts(read_artifacts(path))


def newest_handed_over(path: Path) -> tuple[Artifact, ...]:
    """Of these the newest image for each repository and tag."""
    from topcoat.zuul import newest_images

    return newest_images(images_handed_over(path))


def under_test(path: Path) -> dict[str, object]:
    """Of all that Zuul handed over, what says what was tested: a receipt is published, so nothing else comes into it."""
    from topcoat.zuul import load_variables

    found = load_variables(_ITEMS.read(path, "the file of what is under test"), where=str(path))
    _ITEMS.shape("the file of what is under test", where=str(path)).items(found.get("items"), "items", dict, "objects")
    return {name: found[name] for name in _RECORDED if name in found}


def read_artifacts(path: Path) -> list[dict[str, object]]:
    """``zuul.artifacts`` out of a file, which holds the list itself or all that Zuul handed over: a list of mappings.

    :raises UsageError: it is something else.
    """
    from topcoat.zuul import read_inventory, variable

    shape = _ARTIFACTS.shape("zuul.artifacts", where=str(path))
    found = read_inventory(_ARTIFACTS.read(path, "zuul.artifacts"), where=str(path))
    if isinstance(found, dict):
        found = variable(found, where=str(path)).get("artifacts", [])
    return shape.items(shape.need({"it": found}, "it", list), "it", dict, "mappings")
