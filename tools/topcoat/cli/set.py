"""``topcoat set compose``: a set of another one with some images exchanged.

This module must never touch a registry by itself; ``topcoat.sets`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, dry_run_option, emit, format_option, say


@click.command()
@click.argument("what", metavar="compose", type=click.Choice(["compose"]))
@click.option("--from", "source", metavar="TAG", required=True, shell_complete=_complete.sets, help="The set to start from: as of 'topcoat changes'.")
@click.option("--with", "given", metavar="IMAGE=REF", multiple=True, help="Take this image instead, by tag or digest; may be repeated.")
@click.option("--receipt", metavar="FILE", help="Write the receipt of the set: 'topcoat zuul-return' makes of it what jobs take.")
@dry_run_option
@format_option
@click.pass_obj
def command(settings: Settings, what: str, source: str, given: tuple[str, ...], receipt: str | None, dry_run: bool, output_format: str) -> None:
    """Compose a set of another one with some images exchanged, and give every image its tag.

    The tag is made of the names and digests of the images: the same set has the same tag wherever it is composed, and no other set has it. Nothing is
    built; images from elsewhere are copied into the profile's registry. An image that stands on an exchanged one is not built again.
    """
    from topcoat.sets import SetReader, compose, find

    profile = settings.profile
    wanted = compose.parse(given)
    named = find(source, registries=settings.registries, profile=profile, images=tuple(settings.set_recipes))
    composed = compose.compose(named, wanted, SetReader(settings.registries, settings.work_dir, profile.platform), settings.registries)
    shape = {
        "tag": composed.tag,
        "from": source,
        "images": {name: str(where) for name, where in sorted(composed.images.items())},
        "exchanged": dict(composed.replaced),
    }
    words = f"{composed.tag}: {len(composed.images)} images, {len(composed.replaced)} exchanged"
    if dry_run:
        emit({**shape, "state": "would-compose"}, output_format, f"would make {words}")
        return
    done = compose.publish(composed, settings.registries, profile, say=say)
    if receipt:
        from topcoat.report import save

        save(done, Path(receipt))
    emit({**shape, "state": "composed"}, output_format, words)
