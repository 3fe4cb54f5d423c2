"""``topcoat sign``: sign published images, with every image of an index, as podman's policy and cosign read it.

This module must never sign what it cannot read from the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, emit, format_option
from topcoat.cli._selection import selection_options
from topcoat.cli._signing import key_options
from topcoat.errors import UsageError
from topcoat.model import ImageReference

if TYPE_CHECKING:
    from topcoat.recipes import Selection
    from topcoat.signing import Identity, SigningKey


@click.command()
@selection_options
@click.option("--tag", metavar="TAG", help="Tag of the images that recipes name, instead of the profile's reference tag.")
@click.option("--reference", "references", multiple=True, metavar="HOST/REPOSITORY[:TAG][@DIGEST]", help="Sign this image instead; may be repeated.")
@key_options(required=True)
@format_option
@click.pass_obj
def command(
    settings: Settings, selection: Selection, tag: str | None, references: tuple[str, ...], key: SigningKey | Identity, output_format: str
) -> None:
    """Sign images under the names they have; consumers then accept them by these names, and by digest. What is signed already stays as it is."""
    from topcoat.signing import Signer

    if references and (tag or not selection.is_everything):
        raise UsageError("--reference names whole images, so neither patterns nor --tag go with it", next_step="leave one of them out")
    wanted = [ImageReference.parse(text) for text in references]
    if not wanted:
        profile = settings.profile
        names = selection.of(settings.set_recipes)
        wanted = [ImageReference(profile.registry, profile.repository_of(name), tag or profile.reference_tag) for name in names]
    signed = Signer(settings.registries, key).sign(wanted)
    rows = [{"reference": str(image.reference), "manifests": image.manifests, "new": image.new} for image in signed]
    lines = [f"{'signed ' if image.new else 'as it is'} {image.reference}" for image in signed]
    lines.append(f"{len(signed)} images signed with {key.name}, {sum(image.new for image in signed)} signatures are new")
    emit({"key": key.name, "images": rows}, output_format, "\n".join(lines))
