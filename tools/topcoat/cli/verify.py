"""``topcoat verify``: whether built images keep the contract: program, user, accounts, modes, labels, leftovers; and who signed what is inside.

This module must never start a service.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=_complete.images)
@click.option("--tag", help="Tag of images that are named by recipe, instead of the profile's reference tag.")
@click.option("--allow", multiple=True, metavar="PATTERN", help="Setuid or world-writable path to accept, no leading slash; may be repeated.")
@click.option("--run", "also_run", is_flag=True, help="Also pull each image and ask its program for the version, with podman; no service is started.")
@click.option(
    "--signatures", "with_signatures", is_flag=True, help="Also check the signatures of installed packages against the keys that the profile names."
)
@click.option(
    "--signed",
    "signed_by",
    metavar="FILE",
    help="Also ask skopeo whether each image is signed as it must be: by a public key (PEM), or as a policy.json of podman says.",
)
@format_option
@click.pass_obj
def command(
    settings: Settings,
    images: tuple[str, ...],
    tag: str | None,
    allow: tuple[str, ...],
    also_run: bool,
    with_signatures: bool,
    signed_by: str | None,
    output_format: str,
) -> None:
    """Check built images: references, or regular expressions for recipe names (none: every recipe). Exit 1 when a promise is broken."""
    from topcoat.inspection.targets import targets
    from topcoat.inspection.verify import Verification

    wanted = targets(images, recipes=settings.recipes, profile=settings.profile, tag=tag or settings.profile.reference_tag)
    access = {"authfile": settings.authfile, "ca_file": settings.ca_file, "plain_http": settings.plain_http}
    verification = Verification(wanted, settings.registries, settings.profile, **access)
    verification.contract(settings.recipes, allow=allow, storage=settings.work_dir / "verify" if also_run else None)
    if with_signatures:
        verification.package_signatures()
    if signed_by:
        verification.signed(Path(signed_by))
    found = verification.found
    broken = [one for one in found if one.problems]
    lines = [line for one in found for line in one.lines()]
    lines.append(f"{len(found) - len(broken)} of {len(found)} images keep the contract.")
    emit({"images": [one.as_dict() for one in found]}, output_format, "\n".join(lines))
    if broken:
        click.get_current_context().exit(1)
