"""``topcoat report``: a receipt as a screen, a page, a JUnit file."""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import emit, format_option


@click.command()
@click.option("--receipt", required=True, metavar="FILE", help="Receipt of a run.")
@click.option("--html", metavar="FILE", help="Write the reviewer's page: one file, no scripts; logs of failed images are looked up beside it.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML: one case an image and one a gated package.")
@format_option
def command(receipt: str, html: str | None, junit: str | None, output_format: str) -> None:
    """Show what a run did: failures first, with what to do about them and whether a recheck can help."""
    from topcoat.report import console, document, page
    from topcoat.report import junit as junit_file

    found = document.load(Path(receipt))
    if html:
        page.save(found, Path(html), receipt_file=Path(receipt))
    if junit:
        junit_file.save(found, Path(junit))
    if output_format == "text":
        console.show(found)
    else:
        emit(document.receipt_to_dict(found), output_format, "")
