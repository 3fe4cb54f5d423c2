"""``topcoat copy``: images, sets and what is attached to them between registries; only what is missing goes over the wire.

This module must never change an image: digests are the same on both sides.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option
from topcoat.cli._selection import newest_handed_over
from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference
from topcoat.process.each import each

_LIST = Door(UsageError, "make one with 'topcoat discover --output'")


@click.command()
@click.argument("references", nargs=-1, metavar="[HOST/REPOSITORY:TAG | @DIGEST]...")
@click.option(
    "--to", "destination", required=True, metavar="HOST[/NAMESPACE]", help="Where to copy to; the last part of the repository's name stays."
)
@click.option("--tag", help="Tag to give there, instead of the source's.")
@click.option(
    "--zuul",
    "--artifacts",
    "artifacts_file",
    metavar="FILE",
    help="Copy the newest container image of each name that Zuul handed over: its variables, or zuul.artifacts.",
)
@click.option("--list", "list_file", metavar="FILE", help="Resolved list (topcoat discover --output): copy its images.")
@click.option("--without-attached", is_flag=True, help="Leave inventories and other attached artifacts behind.")
@click.option("--parallel", default=4, show_default=True, help="Images at a time.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    references: tuple[str, ...],
    destination: str,
    tag: str | None,
    artifacts_file: str | None,
    list_file: str | None,
    without_attached: bool,
    parallel: int,
    dry_run: bool,
    output_format: str,
) -> None:
    """Copy images to another registry or namespace; a run that was cut off goes on where it stopped."""
    from topcoat.publisher import Publisher

    sources = [ImageReference.parse(text) for text in references]
    if artifacts_file:
        sources += [image.reference for image in newest_handed_over(Path(artifacts_file))]
    if list_file:
        sources += _listed(Path(list_file))
    if not sources:
        raise UsageError("nothing to copy", next_step="name images, or give --zuul or --list")
    pairs = [(source, _target(source, destination, tag)) for source in sources]
    seen: dict[str, ImageReference] = {}
    for source, target in pairs:
        other = seen.setdefault(str(target), source)
        if other != source:
            raise UsageError(f"{source} and {other} would both become {target}", next_step="copy them in two runs with different namespaces")
    if dry_run:
        rows = each(pairs, lambda pair: _would(settings, *pair), workers=parallel)
    else:
        done = Publisher(settings.registries).copy_set(pairs, artifacts=not without_attached, workers=parallel)
        rows = [
            _row(source, target, one.digest, one.unchanged, one.bytes_pushed, one.bytes_mounted)
            for (source, target), one in zip(pairs, done, strict=True)
        ]
    word = "would copy" if dry_run else "copied"
    lines = [f"{'same already' if row['unchanged'] else word}: {row['source']} -> {row['target']}" for row in rows]
    sent = sum(int(str(row["bytes_pushed"])) for row in rows)
    lines.append(f"{len(rows)} images, {sum(not row['unchanged'] for row in rows)} {'to copy' if dry_run else 'copied'}, {sent} bytes sent")
    emit(rows, output_format, "\n".join(lines))


def _would(settings: Settings, source: ImageReference, target: ImageReference) -> dict[str, object]:
    """What a copy would do."""
    digest = settings.registries.client(source.host).head(source.repository, source.target)
    if digest is None:
        raise ContentError(f"{source} does not exist", next_step="check the reference")
    there = settings.registries.client(target.host).head(target.repository, target.tag or digest) == digest
    return _row(source, target, digest, there, 0, 0)


def _row(source: ImageReference, target: ImageReference, digest: str, unchanged: bool, pushed: int, mounted: int) -> dict[str, object]:
    return {
        "source": str(source),
        "target": str(target),
        "digest": digest,
        "unchanged": unchanged,
        "bytes_pushed": pushed,
        "bytes_mounted": mounted,
    }


def _target(source: ImageReference, destination: str, tag: str | None) -> ImageReference:
    host, _, namespace = destination.partition("/")
    name = source.repository.rpartition("/")[2]
    return ImageReference(host, f"{namespace}/{name}" if namespace else name, tag or source.tag, None if tag or source.tag else source.digest)


def _listed(path: Path) -> list[ImageReference]:
    shape = _LIST.shape("the resolved list", where=str(path))
    found = []
    for entry in shape.items(shape.need(shape.table(_LIST.yaml_file(path, "the resolved list"), "it"), "images", list), "images", dict):
        reference = ImageReference.parse(shape.need(entry, "reference", str, "images"))
        tag = shape.text(entry.get("tag"), "tag")
        external = "external" in entry and shape.need(entry, "external", bool, "images")
        found.append(replace(reference, tag=tag) if tag and not external else reference)
    return found
