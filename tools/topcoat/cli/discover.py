"""``topcoat discover``: the image list with what the registry really holds.

This module must never write a list of which an image is missing, unless it was asked to leave missing ones out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.errors import ContentError, UsageError, machine_error
from topcoat.process.files import write_whole


@click.command()
@click.option("--list", "list_name", default="deploy", show_default=True, metavar="NAME", help="Image list under container-images/lists, or a file.")
@click.option("--tag", help="Tag to start from, instead of the profile's.")
@click.option("--value", "values", multiple=True, metavar="NAME=VALUE", help="Value for the list's template; may be repeated.")
@click.option("--service", "services", multiple=True, help="Only images that this service needs; may be repeated.")
@click.option("--include", multiple=True, metavar="REGEX", help="Only images whose name matches; may be repeated.")
@click.option("--exclude", multiple=True, metavar="REGEX", help="Not the images whose name matches; may be repeated.")
@click.option("--hash", "hashes", is_flag=True, help="Write the trunk hash that the tag stands for, found by promotion record or digest.")
@click.option("--label", default="", metavar="TEMPLATE", help="Write the tag that labels name, e.g. {version}_{release}; checked against the digest.")
@click.option("--stable", is_flag=True, help="Write the highest version-like tag.")
@click.option("--tag-pattern", default="", metavar="REGEX", help="With --hash or --stable: only tags that match.")
@click.option("--by", type=click.Choice(["digest", "tag"]), default="digest", show_default=True, help="How images are referred to.")
@click.option("--present-only", is_flag=True, help="Leave images out that the registry does not hold; without it they are an error.")
@click.option("--external", is_flag=True, help="Look images up too that are not built here.")
@click.option("--output", metavar="FILE", help="Write the resolved list (YAML).")
@click.option("--environment", metavar="FILE", help="Write the deployer's environment file: parameter to image reference.")
@click.option(
    "--output-format",
    "form",
    type=click.Choice(["openstackversion", "relatedimages", "env", "helm-values"]),
    help="Print the file that a deployer reads, complete or not at all; --list operators has the keys of OpenStackVersion.",
)
@click.option("--name", "resource", default="controlplane", show_default=True, help="Name of the OpenStackVersion.")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    list_name: str,
    tag: str | None,
    values: tuple[str, ...],
    services: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    hashes: bool,
    label: str,
    stable: bool,
    tag_pattern: str,
    by: str,
    present_only: bool,
    external: bool,
    output: str | None,
    environment: str | None,
    form: str | None,
    resource: str,
    output_format: str,
) -> None:
    """Resolve an image list against the registry: real hash tags or digests, in parallel, without a catalog."""
    from dataclasses import replace

    from topcoat.lists import Chosen, left_to_default, load_template, resolve
    from topcoat.lists import output as render
    from topcoat.promotion.discover import SCHEMA, Rule, discover

    if bool(hashes) + bool(label) + bool(stable) > 1:
        raise UsageError("--hash, --label and --stable exclude each other", next_step="choose one")
    given = dict(_pair(value) for value in values)
    if tag:
        given["tag"] = tag
    template = load_template(list_name, root=settings.recipes_dir)
    resolved = resolve(template, profile=settings.profile, values=given, recipes=settings.set_recipes)
    if services:
        resolved = resolved.for_services(services)
    images = tuple(image for image in resolved.images if _wanted(image.name, include, exclude))
    if not images:
        raise UsageError("the selection is empty", next_step="widen --include or --exclude")
    rule = Rule(label=label, hashes=hashes, stable=stable, pattern=tag_pattern)
    found = discover(
        replace(resolved, images=images),
        settings.registries.client,
        rule,
        namespace=given.get("namespace", settings.profile.namespace),
        external=external,
        platform=settings.profile.platform,
    )
    missing = [entry for entry in found if entry.digest is None and entry.how != "external"]
    if missing and not present_only:
        names = ", ".join(entry.image.name for entry in missing[:10])
        raise ContentError(
            f"the registry does not hold {len(missing)} of {len(found)} images: {names}{' ...' if len(missing) > 10 else ''}",
            next_step="build them, or leave them out with --present-only",
        )
    kept = [entry for entry in found if entry not in missing]
    if not kept:
        raise ContentError("the registry holds no image of the list", next_step="check registry, namespace and tag")
    rows: list[dict[str, Any]] = [
        {
            "name": entry.image.name,
            "reference": entry.pinned if by == "digest" else entry.reference,
            "tag": entry.tag,
            "digest": entry.digest,
            "found_by": entry.how,
            "external": entry.image.external,
            "source": entry.image.source,
            "parameters": list(entry.image.parameters),
            "services": list(entry.image.services),
        }
        for entry in kept
    ]
    data = {"schema": SCHEMA, "list": resolved.name, "images": rows, "missing": [entry.image.name for entry in missing]}
    parameters = {parameter: row["reference"] for row in rows for parameter in row["parameters"]}
    if output:
        _write(Path(output), data)
    if environment:
        _write(Path(environment), {"parameter_defaults": dict(sorted(parameters.items()))})
    if form:
        chosen = [Chosen(str(row["name"]), tuple(row["parameters"]), str(row["reference"])) for row in rows]
        whole = not (services or include or exclude)
        for key, why in left_to_default(template, given, chosen, whole=whole, incomplete=present_only):
            click.echo(f"left to the deployer's default: {key} ({why})", err=True)
        click.echo(render(form, chosen, name=resource), nl=False)
    else:
        emit(data, output_format, "\n".join(str(row["reference"]) for row in rows))
    if missing:
        click.echo(f"left out, not in the registry: {', '.join(entry.image.name for entry in missing)}", err=True)


def _pair(value: str) -> tuple[str, str]:
    name, equals, content = value.partition("=")
    if not equals:
        raise UsageError(f"--value wants NAME=VALUE, not {value!r}", next_step="write --value neutron_driver=ovn")
    return name, content


def _wanted(name: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    try:
        return (not include or any(re.search(one, name) for one in include)) and not any(re.search(one, name) for one in exclude)
    except re.error as error:
        raise UsageError(f"not a regular expression: {error}", next_step="quote special characters with a backslash") from error


def _write(path: Path, data: object) -> None:
    import yaml

    try:
        write_whole(path, yaml.safe_dump(data, sort_keys=False, default_flow_style=False))
    except OSError as error:
        raise machine_error(error) or UsageError(f"cannot write {path}: {error.strerror}", next_step="check the path") from error
