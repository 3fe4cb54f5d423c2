"""Topcoat: put the change under test into the container images that will ship.

This package must not do anything at import time: no configuration is read, no logger is set up.
"""

from __future__ import annotations


def version() -> str:
    """The version of the installed distribution, which comes from git; ``unknown`` where the code runs without being installed."""
    from importlib import metadata

    try:
        return metadata.version("topcoat")
    except metadata.PackageNotFoundError:
        return "unknown"
