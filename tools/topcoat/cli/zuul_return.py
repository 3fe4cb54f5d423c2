"""``topcoat zuul-return``: the receipt as data for ``zuul_return``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from topcoat.zuul import merge_returned, returned_artifacts, returned_findings


@click.command()
@click.option("--receipt", required=True, metavar="FILE", help="Receipt of a run.")
@click.option(
    "--part", type=click.Choice(["all", "artifacts", "findings"]), default="all", show_default=True, help="Images, or page, warnings and comments."
)
@click.option("--report-url", metavar="URL", help="Where the reviewer's page is; relative to the log folder of the build.")
@click.option(
    "--comments/--no-comments", default=False, help="Whether the change under test holds the recipes, so that their lines can be commented."
)
def command(receipt: str, part: str, report_url: str | None, comments: bool) -> None:
    """Print what a job returns to Zuul, as JSON: images in the shape of zuul-jobs with their digests, warnings, comments."""
    from topcoat.report.document import load

    document = load(Path(receipt))
    data: dict[str, object] = {}
    if part in ("all", "artifacts"):
        data = returned_artifacts(document)
    if part in ("all", "findings"):
        data = merge_returned(data, returned_findings(document, report_url=report_url, comments=comments))
    click.echo(json.dumps(data, indent=1))
