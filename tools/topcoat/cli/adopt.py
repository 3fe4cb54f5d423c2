"""``topcoat adopt``: a tree of images that somebody else builds.

This module must never decide anything about an image.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option
from topcoat.errors import UsageError


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--list", "lists", multiple=True, metavar="FILE", help="One reference or PARAMETER=reference a line, or tcib's containers.yaml.")
@click.option("--from", "namespaces", multiple=True, metavar="HOST/NAMESPACE", help="Every repository there that has the tag; may be repeated.")
@click.option("--tag", default="", help="Tag of what --from finds, and of references without one.")
@click.option("--prefix", default="", help="Take this off the names: the profile's prefix, which puts it back.")
@click.option("--suffix", default="", help="The same at their end.")
@click.option("--exclude", multiple=True, metavar="REGEX", help="Not the images whose name matches; may be repeated.")
@click.option("--class", "image_class", type=click.Choice(["openstack", "infra"]), default="openstack", show_default=True, help="Their class.")
@click.option("--pin", is_flag=True, help="Write the digests of today instead of tags.")
@click.option("--output", default="container-images", show_default=True, metavar="DIR", help="The tree to write.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there with another content.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    images: tuple[str, ...],
    lists: tuple[str, ...],
    namespaces: tuple[str, ...],
    tag: str,
    prefix: str,
    suffix: str,
    exclude: tuple[str, ...],
    image_class: str,
    pin: bool,
    output: str,
    overwrite: bool,
    dry_run: bool,
    output_format: str,
) -> None:
    """Write a tree of images without recipes, out of references, lists and namespaces: such images are updated and promoted, never built."""
    from topcoat import adoption
    from topcoat.model import ImageReference

    if not (images or lists or namespaces):
        raise UsageError("nothing to adopt", next_step="name images, or give --list FILE or --from HOST/NAMESPACE")
    if namespaces and not tag:
        raise UsageError("--from needs --tag", next_step="say which tag of each repository is meant")
    client = settings.registries.client
    given = [adoption.FoundImage(ImageReference.parse(image)) for image in images]
    given += [image for path in lists for image in adoption.read_list(Path(path))]
    kept = [image.found for image in adoption.name_images(given, prefix=prefix, suffix=suffix, exclude=exclude)] if given else []
    found = list(adoption.in_references(kept, client, tag=tag))
    for namespace in namespaces:
        inside, without = adoption.in_namespace(namespace, tag, client)
        found += inside
        if without:
            click.echo(f"left out, no tag {tag}: {', '.join(without)}", err=True)
    named = adoption.name_images(found, prefix=prefix, suffix=suffix, exclude=exclude)
    changed = adoption.write_tree(Path(output), named, image_class=image_class, pin=pin, overwrite=overwrite, dry_run=dry_run)
    data = {"images": [{"name": image.name, "adopted": str(image.found.reference), "digest": image.found.digest} for image in named]}
    word = "would write" if dry_run else "wrote"
    emit({**data, "files": list(changed)}, output_format, f"{len(named)} images adopted; {word} {len(changed)} files below {output}")
