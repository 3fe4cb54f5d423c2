"""``topcoat index``: one set out of the images of several architectures.

This module must never touch a registry by itself; ``topcoat.sets`` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option, say
from topcoat.cli._selection import selection_options

if TYPE_CHECKING:
    from topcoat.recipes import Selection
    from topcoat.sets.index import Joined


@click.command()
@selection_options
@click.option("--tag", required=True, metavar="TAG", help="Tag of the set: that which the runs of the architectures were given.")
@click.option(
    "--receipt",
    "receipts",
    multiple=True,
    metavar="FILE",
    help="Receipt of an architecture's run, instead of the one in the registry; may be repeated.",
)
@click.option("--reference-tag", metavar="TAG", help="Tag whose images are carried, instead of the profile's.")
@click.option("--output", metavar="FILE", help="Write the receipt of the set: 'topcoat promote' and 'topcoat zuul-return' read it.")
@dry_run_option
@format_option
@click.pass_obj
def command(
    settings: Settings,
    selection: Selection,
    tag: str,
    receipts: tuple[str, ...],
    reference_tag: str | None,
    output: str | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Make an image index of each image over what the runs of the profile's architectures published, and give it the tag of the set.

    Nothing is built, and no layer is read; the images, and what is attached to them, stay what they are. What is done about an architecture that is
    not there is said by the profile.
    """
    from topcoat.model.image import check_tag
    from topcoat.report import load, save
    from topcoat.sets import architectures, index

    profile = settings.profile
    check_tag(tag)
    own = [settings.of_architecture(one.name) for one in profile.architectures]
    wanted = [architectures.WantedPart(one, its.profile, selection.of(its.recipes)) for one, its in zip(profile.architectures, own, strict=True)]
    joiner = index.Joiner(settings.registries, profile, wanted, work=settings.work_dir, reference_tag=reference_tag or "")
    joined = joiner.join(tag, architectures.given([load(Path(path)) for path in receipts], tag, wanted))
    if dry_run:
        emit({**_shape(joined), "state": "would-index"}, output_format, _words(joined, "would make "))
        return
    done = joiner.publish(joined, settings.recipes_dir, say=say)
    if output:
        save(done, Path(output))
    emit({**_shape(joined), "state": "indexed"}, output_format, _words(joined, ""))


def _shape(joined: Joined) -> dict[str, object]:
    return {
        "tag": joined.tag,
        "images": {name: manifest.digest for name, manifest in sorted(joined.indexes.items())},
        "children": {name: {child.arch: child.reference.digest for child in children} for name, children in sorted(joined.children.items())},
        "architectures": {part.name: part.problem or "there" for part in joined.parts},
        "notes": list(joined.notes),
        "skew": list(joined.skew),
    }


def _words(joined: Joined, would: str) -> str:
    first = f"{would}{joined.tag}: {len(joined.indexes)} images of {', '.join(part.name for part in joined.parts if not part.problem)}"
    return "\n".join([first, *joined.notes, *joined.skew])
