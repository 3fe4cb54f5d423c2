"""``topcoat discover``: the image list with what the registry really holds.

This module must never write a list of which an image is missing, unless it was asked to leave missing ones out.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option, pairs
from topcoat.errors import UsageError, machine_error
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
    from topcoat.promotion.deployment import WantedImages, look_up
    from topcoat.promotion.discover import Rule

    if bool(hashes) + bool(label) + bool(stable) > 1:
        raise UsageError("--hash, --label and --stable exclude each other", next_step="choose one")
    wanted = WantedImages(
        list_name,
        pairs(values, "--value") | ({"tag": tag} if tag else {}),
        services=services,
        include=include,
        exclude=exclude,
        rule=Rule(label=label, hashes=hashes, stable=stable, pattern=tag_pattern),
        by_digest=by == "digest",
        external=external,
        present_only=present_only,
    )
    found = look_up(wanted, settings.profile, settings.set_recipes, settings.recipes_dir, settings.registries)
    if output:
        _write(Path(output), found.document())
    if environment:
        _write(Path(environment), found.environment())
    if form:
        text, left = found.file(form, resource)
        for key, why in left:
            click.echo(f"left to the deployer's default: {key} ({why})", err=True)
        click.echo(text, nl=False)
    else:
        emit(found.document(), output_format, "\n".join(map(found.reference, found.kept)))
    if found.missing:
        click.echo(f"left out, not in the registry: {', '.join(entry.image.name for entry in found.missing)}", err=True)


def _write(path: Path, data: object) -> None:
    import yaml

    try:
        write_whole(path, yaml.safe_dump(data, sort_keys=False, default_flow_style=False))
    except OSError as error:
        raise machine_error(error) or UsageError(f"cannot write {path}: {error.strerror}", next_step="check the path") from error
