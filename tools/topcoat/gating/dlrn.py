"""DLRN, for projects whose packaging lives in a distgit of its own.

This module must never report a project as built when DLRN skipped it: no RPM is an error in the caller.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.gating.source import SourceTree
from topcoat.process import run


class Dlrn:
    """All calls of the ``dlrn`` program (https://github.com/softwarefactory-project/DLRN, "Running DLRN")."""

    def __init__(self, config: Path, work: Path, *, log: Path, timeout: float) -> None:
        self.config = config
        self.work = work
        self.log = log
        self.timeout = timeout

    @staticmethod
    def installed() -> bool:
        """Whether the program is on the path."""
        return shutil.which("dlrn") is not None

    def build(self, tree: SourceTree) -> list[Path]:
        """Build the checkout as it is (``--local``) and return its binary RPMs.

        :raises ContentError: DLRN fails, or does not know the project.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        run(
            ["dlrn", "--config-file", str(self.config), "--local", "--use-local", "--dev", "--package-name", tree.project],
            timeout=self.timeout,
            log=self.log,
            cwd=self.work,
            failure=ContentError,
        )
        found = sorted((self.work / "data" / "repos").rglob(f"*{tree.commit[:8]}*/*.rpm"))
        return [path for path in found if not path.name.endswith(".src.rpm")]
