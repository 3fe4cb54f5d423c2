"""``topcoat attest``: attach to each image of a run a signed statement of what it was made from, as SLSA provenance.

This module must never say more than the receipt does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option
from topcoat.cli._signing import key_options

if TYPE_CHECKING:
    from topcoat.signing import Identity, SigningKey


@click.command()
@click.option("--receipt", "receipt_file", required=True, metavar="FILE", help="Receipt of the run that made the images.")
@click.option("--builder", metavar="URI", help="Who ran it, as a URI that your policies trust: the Zuul of your site.")
@key_options(required=True)
@dry_run_option
@format_option
@click.pass_obj
def command(settings: Settings, receipt_file: str, builder: str | None, key: SigningKey | Identity, dry_run: bool, output_format: str) -> None:
    """Attach signed provenance to the images of a run: base image, frozen repositories, changes under test, commit of the recipes."""
    from topcoat.report.document import load_finished
    from topcoat.signing.provenance import BUILDER
    from topcoat.signing.run import attest, statements_of

    found = statements_of(load_finished(Path(receipt_file)), builder=builder or BUILDER)
    if dry_run:
        documents = [json.loads(entry.statement) for entry in found]
        emit(documents, output_format, "\n".join(json.dumps(document, indent=1) for document in documents))
        return
    new = attest(settings.registries, key, found)
    rows = [{"image": entry.name, "reference": f"{entry.repository}@{entry.digest}", "new": fresh} for entry, fresh in zip(found, new, strict=True)]
    lines = [f"{'attested' if row['new'] else 'as it is'} {row['image']}  {row['reference']}" for row in rows]
    emit({"key": key.name, "images": rows}, output_format, "\n".join([*lines, f"{len(rows)} images have provenance by {key.name}"]))
