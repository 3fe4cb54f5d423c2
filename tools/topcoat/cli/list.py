"""``topcoat list``: exactly the images to build, one a line; or an image list resolved from its template.

This module must never print an image that does not exist for the profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, emit, format_option, pairs
from topcoat.cli._selection import selection_options
from topcoat.errors import UsageError

if TYPE_CHECKING:
    from topcoat.recipes import Selection


@click.command("list")
@selection_options
@click.option("--template", metavar="NAME", help="Resolve the image list lists/NAME.yaml, or that of a file, instead of listing.")
@click.option("--references", is_flag=True, help="Print full image references instead of names.")
@click.option("--tag", help="Tag of the references, instead of the profile's or the template's.")
@click.option("--value", "values", multiple=True, metavar="NAME=VALUE", help="With --template: a value for the template; may be repeated.")
@click.option("--environment", is_flag=True, help="With --template: print a deployer's environment file, parameter to image reference.")
@click.option(
    "--convert", is_flag=True, help="With --template: print the list itself in this project's form, as YAML; for lists of tcib and TripleO."
)
@format_option
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    template: str | None,
    references: bool,
    tag: str | None,
    values: tuple[str, ...],
    environment: bool,
    convert: bool,
    output_format: str,
) -> None:
    """List images: those that a build would make, or with --template those that a deployment needs."""
    if template is not None:
        if convert:
            _converted(settings, template)
        else:
            _resolved(settings, template, tag, values, environment, output_format, not selection.is_everything)
        return
    if values or environment or convert:
        raise UsageError("--value, --environment and --convert need --template", next_step="add --template deploy")
    names = selection.of(settings.recipes)
    profile = settings.profile
    lines = []
    data = []
    for name in names:
        recipe = settings.recipes[name]
        reference = f"{profile.registry}/{profile.repository_of(name)}:{tag or profile.reference_tag}"
        data.append({"name": name, "family": recipe.family, "class": recipe.image_class, "parent": recipe.parent, "internal": recipe.internal})
        if references:
            data[-1]["reference"] = reference
        lines.append(reference if references else name)
    emit(data, output_format, "\n".join(lines))


def _converted(settings: Settings, template: str) -> None:
    from topcoat.lists import load_template, to_document

    emit(to_document(load_template(template, root=settings.recipes_dir)), "yaml", "")


def _resolved(
    settings: Settings, template: str, tag: str | None, values: tuple[str, ...], environment: bool, output_format: str, filtered: bool
) -> None:
    from topcoat.lists import load_template, resolve

    if filtered:
        raise UsageError("patterns and selection options do not apply to --template", next_step="filter the printed list instead")
    given = pairs(values, "--value")
    if tag is not None:
        given["tag"] = tag
    resolved = resolve(load_template(template, root=settings.recipes_dir), profile=settings.profile, values=given, recipes=settings.possible_recipes)
    if environment:
        data = {"parameter_defaults": resolved.parameters()}
        emit(data, "yaml" if output_format == "text" else output_format, "")
    else:
        emit(resolved.to_data(), output_format, "\n".join(image.reference for image in resolved.images))
