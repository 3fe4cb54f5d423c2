"""What every command shares: the global options turned into recipes, profile, registries and output.

This module must never do work at import; each property is made when a command first asks for it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from topcoat.documents import Door
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.model import Plan, Profile, Receipt, Recipe, RunOptions
    from topcoat.registry import Registries

_VALUES = Door(UsageError, "write one 'name: value' a line, in YAML")

format_option = click.option(
    "--format", "output_format", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True, help="How the result is printed."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")


def say(line: str) -> None:
    """What goes on, for people: on standard error, beside the result."""
    click.echo(harmless(line), err=True)


def harmless(text: str) -> str:
    """A text of several lines without anything that moves a terminal's cursor or sets its colours: words of registries and changes are in it."""
    lines = text.split("\n")
    if all(map(str.isprintable, lines)):
        return text
    from topcoat.report.console import clean

    return "\n".join(map(clean, lines))


def pairs(words: Iterable[str], option: str, *, empty: bool = True) -> dict[str, str]:
    """The values of an option that takes NAME=VALUE and may be repeated; of two for one name the last counts.

    :param empty: a value may be empty.
    :raises UsageError: one is not of that form.
    """
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not (value or empty):
            raise UsageError(f"{option} wants NAME=VALUE, not {word!r}", next_step=f"write {option} name=value")
        found[name] = value
    return found


def emit(data: object, output_format: str, text: str) -> None:
    """Print a result as text, JSON or YAML on standard output."""
    if output_format == "json":
        click.echo(json.dumps(data, indent=2, sort_keys=False))
    elif output_format == "yaml":
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, default_flow_style=False), nl=False)
    elif text:
        click.echo(harmless(text))


def emit_plan(plan: Plan, output_format: str) -> None:
    """Print a plan: a table, or its document."""
    from topcoat.report import plans

    emit(plans.plan_to_dict(plan), output_format, plans.table(plan))


def emit_receipt(receipt: Receipt, output_format: str) -> None:
    """Print what a run did: the last screen, or the receipt's document."""
    from topcoat.report import console, document

    if output_format == "text":
        console.show(receipt)
    else:
        emit(document.receipt_to_dict(receipt), output_format, "")


class Settings:
    """The global options of one call."""

    def __init__(
        self,
        *,
        profile: str,
        arch: str | None = None,
        recipes: str,
        recipe_format: str,
        settings: tuple[str, ...],
        settings_file: str | None,
        extra_config: str | None,
        registry: str | None,
        namespace: str | None,
        authfile: str | None,
        ca_file: str | None,
        plain_http: tuple[str, ...],
        work_dir: str,
        progress: str,
    ) -> None:
        self.profile_name = profile
        self.arch = arch or None
        self.recipes_dir = Path(recipes)
        self.recipe_format = recipe_format
        self.extra_config = Path(extra_config) if extra_config else None
        self.registry_host = registry
        self.namespace = namespace
        self.authfile = Path(authfile) if authfile else None
        self.ca_file = Path(ca_file) if ca_file else None
        self.plain_http = plain_http
        self.work_dir = Path(work_dir).absolute()
        self.progress = progress
        self._settings = settings
        self._settings_file = settings_file

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """Values for the profile's placeholders: the file first, then ``--set``."""
        values: dict[str, str] = {}
        if self._settings_file:
            loaded = _VALUES.yaml_file(Path(self._settings_file), "the file of values")
            shape = _VALUES.shape("the file of values", where=self._settings_file)
            if not isinstance(loaded, dict):
                shape.refuse("it", "a mapping of names and values")
            values.update({name: shape.scalar(value, name) or "" for name, value in loaded.items()})
        return values | pairs(self._settings, "--set")

    @cached_property
    def all_recipes(self) -> dict[str, Recipe]:
        """Every recipe of the tree, before the profile's conditions."""
        from topcoat.recipes import load_recipes

        return load_recipes(self.recipes_dir, recipe_format=self.recipe_format, variables=self.variables, extra_config=self.extra_config)

    @cached_property
    def profile(self) -> Profile:
        """The profile, with ``--registry`` and ``--namespace`` applied.

        The reference images stay where the profile says: an own registry for this run's images does not move them. Where the profile says
        nothing, its variable ``registry`` or ``namespace`` being without value, the options are the value of both.
        """
        from topcoat.recipes import load_profile

        options = {"registry": self.registry_host, "namespace": self.namespace}
        fallback = {name: value for name, value in options.items() if value is not None}
        profile = load_profile(self.profile_name, root=self.recipes_dir, variables=self.variables, fallback=fallback, arch=self.arch)
        if self.registry_host:
            profile = replace(profile, reference_registry=profile.reference_registry or profile.registry, registry=self.registry_host)
        if self.namespace is not None:
            profile = replace(profile, reference_namespace=profile.reference_namespace or profile.namespace, namespace=self.namespace)
        return profile

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes that this profile has: those that exist for it, and of these what its image list names."""
        if self.profile.images is None:
            return self.possible_recipes
        from topcoat.lists import wanted

        return wanted(self.possible_recipes, self.profile.images, tree=self.all_recipes, root=self.recipes_dir)

    def of_architecture(self, name: str) -> Settings:
        """The same call for another architecture of the profile."""
        found = copy.copy(self)
        found.arch = name
        for made in ("profile", "recipes", "possible_recipes", "set_recipes"):  # by the architecture before
            found.__dict__.pop(made, None)
        return found

    @cached_property
    def set_recipes(self) -> dict[str, Recipe]:
        """The recipes of a whole set: of every architecture, as each has it; what several have is that of the one that this call is for."""
        others = [one.name for one in self.profile.architectures if one.name != self.profile.arch]
        return {**{name: recipe for arch in others for name, recipe in self.of_architecture(arch).recipes.items()}, **self.recipes}

    @cached_property
    def old_names(self) -> dict[str, tuple[str, ...]]:
        """Image of the tree → the names that it had before and still answers to."""
        from topcoat.lists import old_names

        return old_names(self.recipes_dir, self.all_recipes)

    @cached_property
    def possible_recipes(self) -> dict[str, Recipe]:
        """The recipes that exist for this profile, whether its image list names them or not."""
        from topcoat.recipes import apply_profile

        return apply_profile(self.all_recipes, self.profile)

    def run_options(self, **options: Any) -> RunOptions:
        """How a run is carried out, with what the global options say of it; ``receipt`` and ``logs`` lie in the work folder where nothing is said.

        :param options: fields of ``RunOptions``.
        """
        from topcoat.model import RunOptions

        given = {"receipt": self.work_dir / "receipt.json", "logs": self.work_dir / "logs", **options}
        return RunOptions(work=self.work_dir, authfile=self.authfile, ca_file=self.ca_file, plain_http=self.plain_http, **given)

    @cached_property
    def registries(self) -> Registries:
        """Clients for every registry, with the credentials given."""
        from topcoat.registry import Registries

        for path in (self.authfile, self.ca_file):
            if path and not path.is_file():
                raise UsageError(f"{path} is not a file", next_step="check --authfile and --ca-file")
        return Registries(self.authfile, self.ca_file, plain_http_hosts=self.plain_http)
