"""``topcoat report``: a receipt as a screen, a page, a JUnit file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from topcoat.cli import _complete
from topcoat.cli._context import Settings, emit, format_option, say

if TYPE_CHECKING:
    from topcoat.report.changelog import Against


@click.command()
@click.option("--receipt", required=True, metavar="FILE", help="Receipt of a run.")
@click.option("--html", metavar="FILE", help="Write the reviewer's page: one file, no scripts; logs of failed images are looked up beside it.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML: one case an image and one a gated package.")
@click.option(
    "--against",
    metavar="NAME",
    shell_complete=_complete.sets,
    help="With --html: say too how the images differ from this set, with changelogs; a tag or promotion record, current-passed-ci.",
)
@format_option
@click.pass_obj
def command(settings: Settings, receipt: str, html: str | None, junit: str | None, against: str | None, output_format: str) -> None:
    """Show what a run did: failures first, with what to do about them and whether a recheck can help."""
    from topcoat.report import console, document, page
    from topcoat.report import junit as junit_file

    found = document.load(Path(receipt))
    if html:
        beside = _against(settings, against, receipt) if against and found.status.usable else None
        page.save(found, Path(html), receipt_file=Path(receipt), against=beside)
    if junit:
        junit_file.save(found, Path(junit))
    if output_format == "text":
        console.show(found)
    else:
        emit(document.receipt_to_dict(found), output_format, "")


def _against(settings: Settings, name: str, receipt: str) -> Against:
    """The images of a run beside a promoted set. A page is made all the same where they cannot be compared: it says why."""
    from topcoat.errors import TopcoatError
    from topcoat.report.changelog import Against
    from topcoat.sets import SetReader, comparison, find

    try:
        profile = settings.profile
        before = find(name, registries=settings.registries, profile=profile, images=tuple(settings.set_recipes))
        after = find(str(Path(receipt).absolute()), registries=settings.registries, profile=profile, images=())
        # a review may make some of the images only: those that it leaves out did not go
        before = before.only(after.images)
        reader = SetReader(settings.registries, settings.work_dir, profile.platform)
        return Against(comparison.document(reader, before, after, profile, changelog=True), links=tuple(profile.links))
    except TopcoatError as error:
        say(f"not compared with {name}: {error.what}")
        return Against(None, error.what)
