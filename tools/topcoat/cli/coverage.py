"""``topcoat coverage``: the proof for runs that were cut into shards or made earlier."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, emit, format_option


@click.command()
@click.option("--receipt", "receipts", multiple=True, required=True, metavar="FILE", help="Receipt of a run; name every shard's.")
@click.option("--gating-repo", required=True, metavar="DIR|URL", help="Repository of the RPMs under test.")
@format_option
@click.pass_obj
def command(settings: Settings, receipts: tuple[str, ...], gating_repo: str, output_format: str) -> None:
    """Prove that every RPM under test is installed in the images of the receipts, read from the registry by digest."""
    from topcoat.report import document
    from topcoat.runs import coverage
    from topcoat.runs.inspect import covered_by_receipts

    table = covered_by_receipts(settings, [document.load_finished(Path(receipt), part=True) for receipt in receipts], gating_repo)
    lines = [f"{'ok    ' if entry.ok else 'MISSING'} {entry.package}  {', '.join(entry.images) or entry.waived_by or '-'}" for entry in table]
    emit([entry.as_dict() for entry in table], output_format, "\n".join(lines))
    coverage.require(table)
