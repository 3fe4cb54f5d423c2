"""The options that choose images and say what a run is made from; shared by the commands that plan.

This module must never decide anything about an image.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from topcoat.cli._context import Settings
from topcoat.errors import UsageError


def selection_options(function: Callable) -> Callable:
    """PATTERN... and --family, --class, --exclude, --skip-parents."""
    decorators = (
        click.argument("patterns", nargs=-1, metavar="[REGEX]..."),
        click.option("--family", "families", multiple=True, help="Only images of this family; may be repeated."),
        click.option("--class", "classes", multiple=True, type=click.Choice(["openstack", "infra"]), help="Only images of this class."),
        click.option("--exclude", multiple=True, metavar="REGEX", help="Leave these images out; may be repeated."),
        click.option("--skip-parents", is_flag=True, help="Do not add the parents of what is selected."),
    )
    return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), function)


def selected(
    settings: Settings,
    patterns: Sequence[str],
    families: Sequence[str],
    classes: Sequence[str],
    exclude: Sequence[str],
    skip_parents: bool,
) -> tuple[str, ...]:
    """The names that the selection options mean, parents first; UsageError when they mean none."""
    from topcoat.recipes import select

    return select(settings.recipes, patterns, families=families, classes=classes, exclude=exclude, with_parents=not skip_parents)


def source_options(function: Callable) -> Callable:
    """--gating-repo, --reference-tag, --artifacts, --view, --full."""
    decorators = (
        click.option("--gating-repo", metavar="DIR|URL", help="Repository of the RPMs under test."),
        click.option("--reference-tag", metavar="TAG", help="Tag of the reference images, instead of the profile's."),
        click.option("--artifacts", metavar="FILE", help="zuul.artifacts as JSON: images of changes ahead, oldest first."),
        click.option("--view", metavar="FILE", help="View that 'topcoat freeze' wrote: repositories are used in exactly these states."),
        click.option("--full", is_flag=True, help="Build every selected image, whatever is published."),
    )
    return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), function)


def request_of(settings: Settings, options: dict):  # type: ignore[no-untyped-def]
    """Turn the options above into the request of a run (``topcoat.runs.planning.Request``)."""
    from topcoat.runs.planning import Request, artifacts_from

    names = selected(settings, options["patterns"], options["families"], options["classes"], options["exclude"], options["skip_parents"])
    artifacts = _json(options["artifacts"], "pass zuul.artifacts as a JSON file") if options["artifacts"] else []
    view = _json(options["view"], "make it with 'topcoat freeze --output'") if options["view"] else None
    if view is not None and not isinstance(view, dict):
        raise UsageError(f"{options['view']} holds no view", next_step="make it with 'topcoat freeze --output'")
    if not isinstance(artifacts, list):
        raise UsageError(f"{options['artifacts']} holds no list", next_step="pass zuul.artifacts, a list of mappings")
    return Request(
        profile=settings.profile,
        recipes=settings.recipes,
        names=names,
        reference_tag=options["reference_tag"] or settings.profile.reference_tag,
        gating_repository=options["gating_repo"],
        artifacts=artifacts_from(artifacts),
        full=options["full"],
        view=view,
    )


def _json(path: str, next_step: str) -> object:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}", next_step=next_step) from error
