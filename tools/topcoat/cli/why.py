"""``topcoat why``: which images hold a package, and how it got there."""

from __future__ import annotations

from fnmatch import fnmatchcase

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("package", metavar="PACKAGE")
@click.option("--reference-tag", metavar="TAG", help="Tag of the images that are looked at, instead of the profile's.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Only this image; may be repeated.")
@format_option
@click.pass_obj
def command(settings: Settings, package: str, reference_tag: str | None, images: tuple[str, ...], output_format: str) -> None:
    """List the images that hold a package (a name, or a pattern with * and ?), and which recipe or requirement brought it into each."""
    from topcoat.errors import UsageError
    from topcoat.report.origins import Requirements, origin
    from topcoat.runs import references

    unknown = sorted(set(images) - set(settings.recipes))
    if unknown:
        raise UsageError(f"no such image: {', '.join(unknown)}", next_step="'topcoat list' shows the names")
    names = [name for name in settings.recipes if not images or name in images]
    reader = references.ImageReader(settings.registries, settings.work_dir, settings.profile.platform)
    wanted = references.reference_names(settings.profile, names, reference_tag or settings.profile.reference_tag)
    found = references.collect(reader, wanted, settings.recipes)
    known: dict[str, Requirements] = {}
    rows = []
    for name, image in found.items():
        if image is None:
            continue
        held = sorted(nevra for nevra in image.packages if fnmatchcase(nevra.name, package))
        if not held:
            continue
        inventory = reader.inventory(image.stored)
        if inventory.key not in known:
            known[inventory.key] = Requirements(inventory, settings.profile.arch)
        for nevra in held:
            why = origin(nevra.name, settings.recipes, name, known[inventory.key])
            rows.append({"image": name, "package": str(nevra), "recipe": why.recipe, "chain": list(why.chain), "sentence": why.sentence()})
    missing = sum(image is None for image in found.values())
    if missing == len(found):
        raise UsageError(
            f"none of the {len(found)} images is in the registry under {reference_tag or settings.profile.reference_tag}",
            next_step="check --reference-tag and --registry",
        )
    width = max((len(str(row["image"])) for row in rows), default=0)
    lines = [f"{row['image']:<{width}}  {row['package']}  {row['sentence']}" for row in rows]
    if not rows:
        lines = [f"no image holds {package}"]
    if missing:
        lines.append(f"({missing} images are not in the registry)")
    emit(rows, output_format, "\n".join(lines))
