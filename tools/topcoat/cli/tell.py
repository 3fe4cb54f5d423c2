"""``topcoat tell``: a comment on each Gerrit change that a promoted set holds for the first time.

This module must never speak to a server by itself; ``topcoat.sets`` does.
"""

from __future__ import annotations

from pathlib import Path

import click

from topcoat.cli._context import Settings, dry_run_option, emit, format_option, say
from topcoat.errors import InfrastructureError


@click.command()
@click.argument("promotion", metavar="PROMOTION")
@click.option("--gerrit", required=True, metavar="URL", help="Root of the server; its account and HTTP password stand under its name in --authfile.")
@click.option("--board", default="", metavar="URL", help="Address of the promotion board, for a link.")
@dry_run_option
@format_option
@click.pass_obj
def command(settings: Settings, promotion: str, gerrit: str, board: str, dry_run: bool, output_format: str) -> None:
    """Tell each change of a Gerrit that a promoted set holds it for the first time; once for each floating name, without a vote.

    PROMOTION is the file that 'topcoat promote --output' wrote. A change is found by commits in versions of packages and in labels of images, and by
    ids and addresses of changes in the changelogs that are new; only merged ones are told.
    """
    from topcoat.sets import telling

    result = telling.tell(
        Path(promotion),
        gerrit,
        authfile=settings.authfile,
        ca_file=settings.ca_file,
        plain_http=settings.plain_http,
        board=board,
        dry_run=dry_run,
        say=say,
    )
    emit(result, output_format, telling.text(result))
    if result["failed"]:
        first = result["failed"][0]
        raise InfrastructureError(f"{len(result['failed'])} changes were not told; change {first['number']}: {first['error']}", retriable=False)
