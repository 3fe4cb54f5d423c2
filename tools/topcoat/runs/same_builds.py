"""Whether an image holds a package under test, or another package of the same name, version and time.

This module must never believe a name: what says which build is there is the digest of the package's header, which covers its files.

Two builds of one release with one time (``%use_source_date_epoch_as_buildtime`` of rpm) are one package for dnf, which leaves what is there. An
image that holds the older one has every name right, and the change is not in it.
"""

from __future__ import annotations

import threading

from topcoat.errors import ContentError
from topcoat.model import Nevra
from topcoat.rpm import header
from topcoat.rpm.inventory import Inventory
from topcoat.yum.repositories import RepositoryPackage, Snapshot


class SameBuilds:
    """The packages under test of a run. Safe for several threads."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        gated = set(snapshot.gated())
        self._packages: dict[Nevra, tuple[str, RepositoryPackage]] = {
            package.nevra: (frozen.id, package)
            for frozen in snapshot.repositories
            if frozen.repository.gated
            for package in snapshot.packages(frozen.id)
            # of one that names its sources each build is of the same, and need not be of the same bytes
            if package.nevra in gated and not package.nevra.names_its_sources
        }
        self._headers: dict[Nevra, str] = {}
        self._lock = threading.Lock()

    def require(self, image: str, inventory: Inventory) -> None:
        """The packages under test in an image are those of the gating repository.

        An inventory that does not tell digests of headers, or a package without one, proves nothing either way.

        :raises ContentError: one is of another build.
        """
        for package in inventory.packages:
            if package.nevra in self._packages and package.about and package.about.sha256 not in ("", self._header(package.nevra)):
                raise ContentError(
                    f"{package.nevra} is installed with other content than the gating repository has under the same name, version and time",
                    image=image,
                    next_step="build the package under test with a release of its own: dnf cannot tell these two apart",
                )

    def _header(self, nevra: Nevra) -> str:
        repo_id, package = self._packages[nevra]
        with self._lock:
            if nevra not in self._headers:
                try:
                    self._headers[nevra] = header.sha256_of_file(self._snapshot.fetch(repo_id, package.href))
                except header.Damaged as error:
                    raise ContentError(f"{package.href} of repository {repo_id}: {error}", next_step="build the repository again") from error
            return self._headers[nevra]
