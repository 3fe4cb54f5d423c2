"""``topcoat join-receipts``: one receipt out of those of several nodes."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.zuul import join_receipts


@click.command()
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT...")
@click.option("--output", required=True, metavar="FILE", help="Where the joined receipt is written.")
def command(receipts: tuple[str, ...], output: str) -> None:
    """Join the RECEIPTs of the shards of one plan; the status is the worst of them."""
    from topcoat.report.document import load, save

    joined = join_receipts([load(Path(receipt)) for receipt in receipts])
    save(joined, Path(output))
    click.echo(f"{len(joined.images)} images, {joined.status}")
