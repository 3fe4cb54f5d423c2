"""Control groups that bound the processes and the memory of a transaction, seen from the process that starts the workers.

This module must never end a process, and never touch a group that is not named after this program.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from topcoat.process.jail import limits

_PREFIX = "topcoat-"


def fresh() -> str:
    """A name for a worker's group. Groups of workers whose starter is gone (a kill) are removed on the way."""
    for parent in limits.parents():
        for group in Path(parent).glob(f"{_PREFIX}*"):
            owner = group.name.removeprefix(_PREFIX).partition("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                _remove(group)
    return f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


def remove(name: str) -> None:
    """Remove a worker's group, if it was made."""
    for parent in limits.parents():
        _remove(Path(parent, name))


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):  # not there, or its last process is still ending: the next worker's start takes it away
        group.rmdir()
