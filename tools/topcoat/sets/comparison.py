"""Two sets compared, as one document for every page, receipt and terminal that shows it.

This module must never leave a difference out because nobody could say where it comes from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from topcoat.model import Profile
from topcoat.report import changelog as report
from topcoat.sets.advising import advise
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader


def document(
    reader: SetReader, before: NamedSet, after: NamedSet, profile: Profile, *, changelog: bool = False, repositories: Path | None = None
) -> dict[str, Any]:
    """How the second set differs from the first, as plain data.

    :param changelog: with the changelog entries that the first lacks.
    :param repositories: work folder for the metadata of the profile's repositories, whose advisories are read; None: they are not asked.
    :raises TopcoatError: an image is gone, a document damaged, a registry or repository cannot be read.
    """
    changes = reader.changes(before, after)
    return report.document(
        changes,
        before.as_dict(),
        after.as_dict(),
        links=profile.links,
        entries=reader.entries(changes, before, after) if changelog else None,
        advisories=advise(changes, profile.repositories, repositories) if repositories else None,
        advisories_note=report.NO_ADVISORIES if repositories else report.NOT_ASKED,
    )
