"""``topcoat sbom``: the bill of materials of an image."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option(
    "--sbom-format", type=click.Choice(["cyclonedx", "spdx"]), default="cyclonedx", show_default=True, help="CycloneDX 1.6 or SPDX 2.3, as JSON."
)
@click.option("--output", metavar="FILE", help="Write to a file instead of standard output.")
@click.option("--attach", is_flag=True, help="Make it anew and store it in the registry, attached to the image.")
@dry_run_option
@click.pass_obj
def command(settings: Settings, image: str, sbom_format: str, output: str | None, attach: bool, dry_run: bool) -> None:
    """Print the bill of materials of an image (host/repository:tag or @digest) without pulling it: the attached one, else made from the inventory."""
    from topcoat.process.files import write_whole
    from topcoat.runs import bills

    stored, bill = bills.of_image(settings, image, sbom_format, anew=attach)
    text = bill.text
    if attach and dry_run:
        click.echo(f"would attach {len(text)} bytes to {stored.reference}", err=True)
    elif attach:
        bills.attach(settings, stored, bill)
        click.echo(f"attached to {stored.reference}", err=True)
    if output and not dry_run:
        write_whole(Path(output), text)
    elif not output and not attach:
        click.echo(text, nl=False)
