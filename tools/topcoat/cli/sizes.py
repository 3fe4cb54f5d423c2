"""``topcoat sizes``: what images cost: per image and layer, shared and own, against a reference, with a limit for CI.

This module must never pull an image.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=_complete.images)
@click.option("--tag", help="Tag of images that are named by recipe, instead of the profile's reference tag.")
@click.option("--reference-tag", help="Tag to compare with, instead of the profile's reference tag.")
@click.option("--max-growth", metavar="LIMIT", help="Growth against the reference that fails the command: 5% or 10MB.")
@click.option("--deep", is_flag=True, help="Read the layers too, and count the bytes that later layers hide.")
@click.option("--chart", type=click.Path(path_type=Path), help="Also write a bar chart to this SVG file.")
@format_option
@click.pass_obj
def command(
    settings: Settings,
    images: tuple[str, ...],
    tag: str | None,
    reference_tag: str | None,
    max_growth: str | None,
    deep: bool,
    chart: Path | None,
    output_format: str,
) -> None:
    """Measure images: references, or regular expressions for recipe names (none: every recipe). Exit 1 when one grew too much."""
    from topcoat.inspection import measure
    from topcoat.inspection.remote import RemoteImages
    from topcoat.inspection.sizes import allowed_growth
    from topcoat.inspection.targets import targets

    if max_growth is not None:
        allowed_growth(max_growth, 0)
    remote = RemoteImages(settings.registries, settings.profile.platform)
    profile = settings.profile
    wanted = targets(images, recipes=settings.recipes, profile=profile, tag=tag or profile.reference_tag, before=reference_tag)
    found = remote.each([target.reference for target in wanted], remote.image)
    same = [target.before == target.reference for target in wanted]
    earlier = [None if target.before is None or itself else remote.optional(target.before) for target, itself in zip(wanted, same, strict=True)]
    layers = {target.name: [(layer.digest, layer.size) for layer in image.layers] for target, image in zip(wanted, found, strict=True)}
    references = {
        target.name: [(layer.digest, layer.size) for layer in (image if itself else before).layers]  # type: ignore[union-attr]
        for target, image, before, itself in zip(wanted, found, earlier, same, strict=True)
        if itself or before is not None
    }
    hidden = {target.name: remote.tree(target.reference, image).hidden_bytes for target, image in zip(wanted, found, strict=True)} if deep else None
    report = measure(layers, references=references, hidden=hidden, limit=max_growth)
    if chart is not None:
        from topcoat.inspection.chart import svg

        chart.write_text(svg(report), encoding="utf-8")
    emit(report.to_data(), output_format, report.to_text())
    if report.problems:
        click.get_current_context().exit(1)
