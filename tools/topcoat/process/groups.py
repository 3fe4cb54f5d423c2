"""Control groups that bound the processes and the memory of a transaction, seen from the process that starts the workers.

This module must never end a process, and never touch a group that is not named after this program.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

PARENTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
"""Where its controllers may be: version 1, version 2."""
_PREFIX = "topcoat-"


def fresh() -> str:
    """A name for a worker's group. Groups of workers whose starter is gone (a kill) are removed on the way."""
    for parent in PARENTS:
        for group in parent.glob(f"{_PREFIX}*"):
            owner = group.name.removeprefix(_PREFIX).partition("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                _remove(group)
    return f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


def remove(name: str) -> None:
    """Remove a worker's group, if it was made."""
    for parent in PARENTS:
        _remove(parent / name)


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):  # not there, or its last process is still ending: the next worker's start takes it away
        group.rmdir()
