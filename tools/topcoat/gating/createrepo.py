"""createrepo_c, made to give the same bytes for the same packages.

This module must never sign or change a package.
"""

from __future__ import annotations

from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.process import run

_OPTIONS = (
    "--quiet",
    "--no-database",
    "--simple-md-filenames",
    "--revision=1",
    "--set-timestamp-to-revision",
    # each version has a default of its own
    "--general-compress-type=gz",
)


class CreateRepo:
    """All calls of createrepo_c."""

    def make(self, directory: Path) -> None:
        """Write ``repodata/`` for the RPMs of a folder.

        :raises InfrastructureError: createrepo_c is missing or fails.
        """
        run(
            ["createrepo_c", *_OPTIONS, str(directory)],
            timeout=600,
            failure=InfrastructureError,
        )
