"""``topcoat inventory``: the packages installed in an image."""

from __future__ import annotations

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--rebuild", is_flag=True, help="Read the image's layers even where an inventory is attached.")
@format_option
@click.pass_obj
def command(settings: Settings, image: str, rebuild: bool, output_format: str) -> None:
    """List the packages of an image (host/repository:tag or @digest), from the inventory beside it or from its layers."""
    from topcoat.runs.inspect import read_inventory

    found = read_inventory(settings, image, rebuild=rebuild)
    rows = [
        {"nevra": str(package.nevra), "source_rpm": package.source_rpm, "size": package.size, "signers": _signers(package.signers)}
        for package in sorted(found.packages, key=lambda package: package.nevra)
    ]
    emit(rows, output_format, "\n".join(str(row["nevra"]) for row in rows))


def _signers(text: str | None) -> list[str] | None:
    """Ids of the keys that signed a package; None where the inventory, made by an earlier version, does not say."""
    return None if text is None else text.split()
