"""Runs what comes with a change and was reviewed by nobody: out of reach of the machine, where we are root and it could do harm.

This module must never show it a folder that was not named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from topcoat.process import Result, confined, run
from topcoat.process.bounds import Bounds


def run_fenced(words: Sequence[str], own: Path, *, shown: Iterable[str] = (), bounds: Bounds, log: Path, **environment: str) -> Result:
    """Run a program to its end; see ``topcoat.process.confined``.

    :param own: the one folder that it may write to. :param shown: further folders, read-only. :param environment: beside the plain one.
    :raises ContentError: it failed. :raises LimitError: it ran into a limit.
    """
    variables = confined.environment(LC_ALL="C.UTF-8", **environment)
    if os.geteuid() != 0:
        return run(list(words), timeout=bounds.seconds, log=log, env={**variables, "HOME": str(own)})
    folders = [(str(own.resolve()), "rw"), *((path, "ro") for path in shown)]
    return confined.run(words, folders=folders, env=variables, bounds=bounds, watched=[own], log=log)
