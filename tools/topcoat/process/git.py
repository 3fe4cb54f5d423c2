"""Git in one directory, called the same way by every room.

This module must never decide whose configuration counts: who calls says so, with settings and environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from topcoat.errors import ContentError, TopcoatError
from topcoat.process import Result, run


class Git:
    """One checkout or repository."""

    def __init__(
        self,
        directory: Path,
        *,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        seconds: float = 120.0,
        log: Path | None = None,
        failure: type[TopcoatError] = ContentError,
    ) -> None:
        """:param settings: ``name=value``, stronger than any configuration file.

        :param environment: the whole environment of git; None: ours.
        :param seconds: how long a command may take. :param log: file that gets what it says.
        :param failure: error class of a command that fails.
        """
        self.directory = directory
        self._settings = tuple(part for setting in settings for part in ("-c", setting))
        self._environment = environment
        self._seconds = seconds
        self._log = log
        self._failure = failure

    def run(
        self,
        *words: str,
        check: bool = True,
        failure: type[TopcoatError] | None = None,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """One command.

        :param environment: variables for it alone, beside those of the repository.
        """
        whole = {**(os.environ if self._environment is None else self._environment), **(environment or {})}
        argv = ["git", *self._settings, "-C", str(self.directory), *words]
        return run(argv, timeout=self._seconds, log=self._log, env=whole, stdin=stdin, check=check, failure=failure or self._failure)

    def __call__(self, *words: str) -> str:
        """Output of a command, stripped."""
        return self.run(*words).output.strip()

    def seconds_of(self, revision: str, whose: str = "%ct") -> int:
        """When a commit was made (``%ct``) or written (``%at``): seconds since the epoch, with a year of four digits.

        Git keeps whatever somebody's clock said and shows nothing for a commit object that is broken.

        :raises TopcoatError: of the class ``failure``: it is of no such time.
        """
        said = self("log", "-1", "--no-show-signature", f"--format={whose}|%H", revision)
        seconds, _, commit = said.partition("|")
        if not re.fullmatch("[0-9]{1,11}", seconds):
            raise self._failure(
                f"commit {commit[:12]} is of no time that can be used: {seconds[:30] or 'none'}",
                where=str(self.directory),
                next_step="amend the commit, with the date of its author too, and push it again",
            )
        return int(seconds)


def identity(name: str, email: str, date: str | None = None) -> dict[str, str]:
    """The variables that make somebody author and committer of a commit.

    :param date: of both, as git reads it (``SECONDS +0000``, or ISO 8601); None: now.
    """
    who = {"NAME": name, "EMAIL": email, **({} if date is None else {"DATE": date})}
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
