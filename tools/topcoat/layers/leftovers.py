"""What a package transaction leaves behind that must not enter a layer: it differs from day to day, or means nothing in another container.

This module must never decide alone: what a package owns stays, wherever it lies, and only its caller can ask who owns what.
"""

from __future__ import annotations

import re
import stat

from topcoat.rpm.rpmdb import FOLDERS

DATABASE_SIDE_FILES = ("rpmdb.sqlite-wal", "rpmdb.sqlite-shm")
"""Files that belong to one state of the database. A new database over an old one of these is a damaged database, so below us they are hidden."""

_STATE = re.compile(
    rf"(?:{'|'.join(FOLDERS)})/(?:\.rpm\.lock|\.dbenv\.lock|__db\.\d+|rpmdb\.sqlite-(?:wal|shm|journal)|\.?rpmdb.*\.lock)"
    r"|(?:.*/)?\.nfs[0-9a-f]{16,}"
)
"""Of a process that runs, never of a package."""
_ALWAYS = re.compile(
    "|".join(
        (
            r"var/log/(?:dnf\S*|hawkey\.log\S*|yum\.log\S*)",
            r"var/cache/(?:dnf|yum|libdnf5|ldconfig)/.+",
            r"var/lib/dnf/(?:history\.sqlite\S*|repos(?:/.*)?|countme|\S*\.lock|expired_repos\.json)",
            r"(?:tmp|var/tmp|proc|sys|dev)/.+",
            r"run/secrets(?:/.*)?",
            r"etc/machine-id",
            r"etc/\.pwd\.lock",
        )
    )
)
# A directory under /run may be a package's own (mariadb, httpd) and the service needs it; sockets, pids and locks are the build's.
_UNLESS_DIRECTORY = re.compile(r"run/.+")
# Mount points that container tools make for the time of a build.
_WHEN_EMPTY = re.compile(r"etc/(?:hosts|hostname|resolv\.conf)|run/\.containerenv|\.dockerenv")


def is_junk(path: str, mode: int, size: int) -> bool:
    """Whether an entry of an upper directory stays out of the layer, unless a package owns it (``may_be_owned``).

    :param path: relative to the root, no leading slash.
    :param mode: ``st_mode``.
    :param size: ``st_size``.
    """
    if _ALWAYS.fullmatch(path) or _STATE.fullmatch(path):
        return True
    if _UNLESS_DIRECTORY.fullmatch(path) and not stat.S_ISDIR(mode):
        return True
    return bool(_WHEN_EMPTY.fullmatch(path)) and stat.S_ISREG(mode) and size == 0


def may_be_owned(path: str) -> bool:
    """Whether it is worth asking who owns an entry that ``is_junk`` names."""
    return not _STATE.fullmatch(path)


def is_database(path: str) -> bool:
    """Whether a path, relative to the root, is the folder of a package database or lies in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in FOLDERS)
