"""The package database of an image as rpm keeps it, and the settings it is written with.

This module must never change a package.
"""

# ruff: noqa: PTH103, PTH108, PTH113, PTH114, PTH118, PTH119, PTH207

from __future__ import annotations

import contextlib
import glob
import os
import re
import sqlite3
import time

import rpm
from protocol import Refused, environment

DATABASES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
# What an image's own macro files may say about how packages are laid out in it (rpm's macros file: "%name value").
_IMAGE_MACROS = ("_install_langs", "_netsharedpath", "_excludedocs")


def facts(request: dict) -> dict:
    """The latest build and the file dates of the installed packages, and what of theirs has one of some names (without ghosts, which no package
    brings). Not by path: the same file may be owned under another one, through a link in the image.
    """
    root = request["root"]
    with macros(root, database(root), request["work"]):
        dates, names, owned = Dates(), set(request["names"]), set()
        transaction = rpm.TransactionSet(root, rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)
        try:
            for header in transaction.dbMatch():
                dates.add(header)
                if not names.isdisjoint(header[rpm.RPMTAG_BASENAMES] or ()):
                    flags = header[rpm.RPMTAG_FILEFLAGS]
                    for number, path in enumerate(header[rpm.RPMTAG_FILENAMES]):
                        if os.path.basename(path) in names and not flags[number] & rpm.RPMFILE_GHOST:
                            owned.add(path)
        finally:
            transaction.closeDB()
    return {"ok": True, **dates.answer(), "owned": sorted(owned)}


class Dates:
    """The dates that packages bring: when they were built, and of their files."""

    def __init__(self) -> None:
        self._built = 0
        self._files = set()  # type: ignore[var-annotated]

    def add(self, header) -> None:  # type: ignore[no-untyped-def]
        """Those of one more package. A build in the future cannot be true, so it is not believed."""
        built = header[rpm.RPMTAG_BUILDTIME] or 0
        if built <= time.time():
            self._built = max(self._built, built)
        self._files.update(header[rpm.RPMTAG_FILEMTIMES] or ())

    def answer(self) -> dict:
        """``built``: the latest build; ``dates``: all file dates, both in seconds since 1970."""
        return {"built": self._built, "dates": sorted(self._files)}


def installed(root: str) -> list:
    """Every installed package: (name-epoch:version-release.arch, build time); two builds of one name differ in the second."""
    transaction = rpm.TransactionSet(root, rpm._RPMVSF_NOSIGNATURES | rpm._RPMVSF_NODIGESTS)
    try:
        found = []
        for header in transaction.dbMatch():
            name = header[rpm.RPMTAG_NAME]
            if name == "gpg-pubkey":
                continue
            nevra = f"{name}-{header[rpm.RPMTAG_EPOCH] or 0}:{header[rpm.RPMTAG_VERSION]}-{header[rpm.RPMTAG_RELEASE]}.{header[rpm.RPMTAG_ARCH]}"
            found.append((nevra, header[rpm.RPMTAG_BUILDTIME] or 0))
        return sorted(found)
    finally:
        transaction.closeDB()


def database(root: str) -> str:
    """Where the image keeps its package database, relative to the root; only what this host's rpm can write."""
    for path in DATABASES:
        place = os.path.join(root, path)
        if os.path.islink(place):
            continue
        if os.path.isfile(os.path.join(place, "rpmdb.sqlite")):
            return path
        for other in ("Packages", "Packages.db"):
            if os.path.isfile(os.path.join(place, other)):
                raise Refused("content", f"the image's package database /{path}/{other} has a format that this host's rpm does not write")
    raise Refused("content", "the image holds no package database (looked in /" + " and /".join(DATABASES) + ")")


def checkpoint(directory: str) -> None:
    """Bring the write-ahead log into the database file: layers hold one consistent file, nothing beside it."""
    with contextlib.closing(sqlite3.connect(os.path.join(directory, "rpmdb.sqlite"))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for name in ("rpmdb.sqlite-wal", "rpmdb.sqlite-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


@contextlib.contextmanager
def macros(root: str, database: str, work: str):  # type: ignore[no-untyped-def]
    """rpm's settings for this image: where its database is, and what its own macro files say about languages and documentation."""
    # No plugins of the host's rpm: they would speak to its services, and want rights that a transaction does not have.
    values = {"_dbpath": f"/{database}", "_db_backend": "sqlite", "__plugindir": "/nonexistent"}
    pattern = re.compile(r"%(\w+)\s+(\S.*)")
    for path in sorted(glob.glob(f"{root}/usr/lib/rpm/macros.d/macros*") + glob.glob(f"{root}/etc/rpm/macros*")):
        if os.path.islink(path) or not os.path.isfile(path):
            continue  # a link could lead out of the image
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                match = pattern.match(line)
                if match and match.group(1) in _IMAGE_MACROS and "%" not in match.group(2):
                    values[match.group(1)] = match.group(2).strip()
    # A file, not addMacro: libdnf reads rpm's configuration anew whenever it makes a sack, and forgets what was added.
    home = os.path.join(work, "home")
    settings = os.path.join(home, ".config")
    os.makedirs(os.path.join(settings, "rpm"))
    # rpm 4.20 reads the second of these and not the first.
    for path in (os.path.join(home, ".rpmmacros"), os.path.join(settings, "rpm/macros")):
        with open(path, "w", encoding="utf-8") as sink:
            sink.writelines(f"%{name} {value}\n" for name, value in sorted(values.items()))
    with environment(HOME=home, XDG_CONFIG_HOME=settings):
        rpm.reloadConfig()
        yield
