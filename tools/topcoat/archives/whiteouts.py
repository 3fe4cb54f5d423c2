"""How "this is gone" is written: in a layer's archive, and in the directories that overlayfs stacks.

This module must never change a file; it only names and recognises.

Archives follow the OCI image specification 1.1, "Image Layer Filesystem Changeset" (whiteouts, opaque whiteouts); directories follow the kernel's
``Documentation/filesystems/overlayfs.rst`` (character device 0:0, ``trusted.overlay.opaque``).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

WHITEOUT_PREFIX = ".wh."
OPAQUE_NAME = ".wh..wh..opq"
RESERVED_PREFIX = ".wh..wh."
"""Names of older union filesystems; all but the opaque marker mean nothing to us."""

OPAQUE_XATTR = "trusted.overlay.opaque"
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
"""Attributes that steer overlayfs itself. One out of an archive could redirect a directory to another place, so they never enter or leave."""


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an entry of an overlay directory hides the same name below."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(directory: Path | str) -> bool:
    """Whether a directory hides everything below it."""
    try:
        return os.getxattr(directory, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def steers_overlay(name: str) -> bool:
    """Whether an extended attribute is overlayfs' own."""
    return name.startswith(OVERLAY_XATTRS)
