"""Topcoat: put the change under test into the container images that will ship.

This package must not do anything at import time: no configuration is read, no logger is set up.
"""

from __future__ import annotations

import functools
import re


@functools.cache
def version() -> str:
    """The version of the installed distribution, which comes from git; ``unknown`` where the code runs without being installed."""
    from importlib import metadata

    try:
        return metadata.version("topcoat")
    except metadata.PackageNotFoundError:
        return "unknown"


def release() -> str:
    """The numbers of the version alone, without what tells commits apart: for documents whose bytes must not change with every commit."""
    return re.split(r"\.?[^0-9.]", version(), maxsplit=1)[0] or "0"
