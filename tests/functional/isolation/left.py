"""Processes that were left behind, told by how long they sleep: other tests run beside ours."""

import contextlib
from pathlib import Path


def sleeping(seconds: int) -> list[str]:
    """Numbers of the machine's processes that are ``sleep SECONDS``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(path.parent.name)
    return found
