"""Packages as RPM names them.

This module must never compare versions: order is ``topcoat.rpm.evr``'s business, and a text comparison is the classic mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from topcoat.errors import UsageError

_SNAPSHOT = re.compile(r"(?:^|\.)[0-9]{14}\.[0-9a-f]{7}(?:\.|$)")
_NEVRA = re.compile(r"(?P<name>.+)-(?:(?P<epoch>[0-9]{1,10}):)?(?P<version>[^-:]+)-(?P<release>[^-]+)\.(?P<arch>[^.-]+)")
_LONGEST = 1024
"""Letters. A file name has at most 255, and a package is a file."""


@dataclass(frozen=True, order=True)
class Nevra:
    """Name, epoch, version, release, architecture of one package. The dataclass order is for stable output only, it is not RPM's order."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str

    @classmethod
    def parse(cls, text: str) -> Nevra:
        """Parse ``name-[epoch:]version-release.arch``.

        :raises UsageError: not a NEVRA.
        """
        match = _NEVRA.fullmatch(text) if len(text) <= _LONGEST and text.isprintable() else None
        if not match:
            raise UsageError(f"not a NEVRA: {text[:_LONGEST]!r}", next_step="write name-[epoch:]version-release.arch")
        return cls(match["name"], int(match["epoch"] or 0), match["version"], match["release"], match["arch"])

    @property
    def evr(self) -> str:
        """``[epoch:]version-release``, the epoch only when it is not 0 (as dnf prints it)."""
        epoch = f"{self.epoch}:" if self.epoch else ""
        return f"{epoch}{self.version}-{self.release}"

    @property
    def full_evr(self) -> str:
        """``epoch:version-release`` always with epoch, the form that can be compared."""
        return f"{self.epoch}:{self.version}-{self.release}"

    @property
    def names_its_sources(self) -> bool:
        """Whether the release holds time and id of the sources, as DLRN and ``topcoat gating`` write it: other sources are another package then."""
        return _SNAPSHOT.search(self.release) is not None

    def __str__(self) -> str:
        return f"{self.name}-{self.evr}.{self.arch}"


@dataclass(frozen=True, order=True)
class PackageChange:
    """One line of an RPM diff: ``old`` is None for an install, ``new`` is None for a removal; both set for an up- or downgrade.

    A package that is replaced by another name (obsoletes) is a removal of the old and an install of the new.
    """

    old: Nevra | None
    new: Nevra | None
    repository: str | None = None
    """Id of the repository that ``new`` comes from; not part of equality between plan and result (see ``key``)."""

    @property
    def name(self) -> str:
        """Package name."""
        nevra = self.new or self.old
        if nevra is None:
            raise ValueError("a package change needs an old or a new package")
        return nevra.name

    @property
    def key(self) -> tuple[str, str]:
        """(old, new) as text: what a plan and the real rpmdb difference are compared by."""
        return (str(self.old or ""), str(self.new or ""))

    def __str__(self) -> str:
        if self.old and self.new:
            return f"{self.name} {self.old.evr} -> {self.new.evr}"
        if self.new:
            return f"{self.name} (none) -> {self.new.evr}"
        return f"{self.name} {self.old.evr if self.old else ''} -> (removed)"
