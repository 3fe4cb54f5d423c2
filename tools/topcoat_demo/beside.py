"""An image that the product updated beside the same image after ``dnf -y update`` in a container: nothing may differ but what says when it was made.

This module must never use our own reader of layers or databases: buildah, podman, dnf and rpm are asked. It leaves nothing in the storage.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.process import run
from topcoat_demo.trees import differences, tree

IMAGES = ("mariadb", "keystone", "ovn-nb-db-server", "rabbitmq", "horizon", "nova-libvirt")
"""Of very different kinds: a database, Python under httpd, C with units and databases of its own, Erlang, a web interface of small files, and the one
with the most packages."""

_DNF = (
    # That dnf runs in the container is this test's doing, and so would be what Python compiles for it.
    *("env", "PYTHONDONTWRITEBYTECODE=1", "dnf"),
    "-y",
    "--nogpgcheck",
    "--nodocs",
    "--setopt=install_weak_deps=False",
    "--setopt=clean_requirements_on_remove=False",
    "--setopt=plugins=False",
    "--setopt=keepcache=False",
)
_LITTER = (
    *("var/log/dnf.log", "var/log/hawkey.log", "var/log/dnf.librepo.log", "var/log/dnf.rpm.log", "var/cache/dnf", "var/lib/dnf"),
    # Names the inodes of the machine that it was made on.
    "var/cache/ldconfig/aux-cache",
    # Databases are compared by what rpm reads in them.
    "var/lib/rpm",
    # Mount points of a container that runs, and what it is told there.
    *("proc", "sys", "dev", "tmp", "etc/resolv.conf", "etc/hosts", "etc/hostname", "run/.containerenv"),
)
# Options of plain buildah: that of Debian 13 asks for more open files than some machines grant.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
_MOUNTED = "/tmp/software"
_HEADERS = "%{nevra} %{sha256header} %{sigmd5} %{rsaheader:pgpsig} [%{filestates},]\\n"
_VERIFIED = re.compile(r"^\S+\s+(?:\w )?\s*/(.*)$")


@dataclass(frozen=True)
class Compared:
    """What was compared of one image."""

    paths: int
    packages: int
    changed: int
    """Packages that the update changed."""


class Beside:
    """Comparisons in a storage of their own, shared by all images so that common layers come once."""

    def __init__(self, storage: Path, access: tuple[str, ...], repository: Path, podman: Callable[..., str]) -> None:
        """
        :param access: options of buildah for the registry.
        :param repository: a folder that holds repodata, what the update comes from.
        :param podman: runs podman in a storage that holds the updated images.
        """
        self._storage = storage
        self._access = access
        self._repository = repository.absolute()
        self._podman = podman

    def buildah(self, *words: str, timeout: float = 600) -> str:
        """Its standard output."""
        command = ["buildah", "--root", str(self._storage / "root"), "--runroot", str(self._storage / "run"), "--storage-driver", "overlay"]
        return run([*command, *words], timeout=timeout).output.strip()

    def compare(self, name: str, before: str, after: str) -> Compared:
        """Update ``before`` by plain dnf and compare with ``after`` as buildah and as podman unpack it.

        :param before: reference by digest, as ``after``.
        :raises ContentError: they differ; the first differences are in the error.
        """
        with self._container(before) as (container, root):
            old = _rpm(root, "-qa", "--qf", "%{nevra}\\n").splitlines()
            self._update(container)
            facts = _facts(root)
            verified = _rpm(root, "-Va", "--nodeps", check=False).splitlines()
            owned = {path.lstrip("/") for path in _rpm(root, "-qal").splitlines()}
            expected = _kept(tree(root, without=_LITTER), owned)
        # Their times are rpm's matter, and rpm was asked; what a scriptlet wrote has the time at which it ran.
        timed = owned - {match[1] for match in map(_VERIFIED.match, verified) if match}
        with self._container(after) as (_, root):
            self._equal(name, "buildah", _timeless(expected, timed), _timeless(_kept(tree(root, without=_LITTER), owned), timed))
            found = _facts(root)
        if facts != found:
            wrong = sorted(set(facts) ^ set(found))
            raise ContentError(f"rpm knows other packages than after dnf -y update: {'; '.join(wrong[:5])}", image=name)
        root = Path(self._podman("image", "mount", after).strip())
        try:
            self._equal(name, "podman", _timeless(expected, timed), _timeless(_kept(tree(root, without=_LITTER), owned), timed))
        finally:
            self._podman("image", "unmount", after)
        new = {line.split(" ")[0] for line in facts}
        return Compared(len(expected), len(facts), len(new - set(old)))

    def _equal(self, name: str, tool: str, expected: Mapping[str, tuple], found: Mapping[str, tuple]) -> None:
        wrong = differences(dict(expected), dict(found))
        if wrong:
            shown = [f"{path}: dnf {one}, published {other}" for path, (one, other) in list(wrong.items())[:8]]
            raise ContentError(f"{len(wrong)} paths differ from dnf -y update as {tool} unpacks them: {' | '.join(shown)}", image=name)

    @contextmanager
    def _container(self, reference: str) -> Iterator[tuple[str, Path]]:
        container = self.buildah("from", "--pull-always", "--quiet", *LIMITS, *self._access, reference).splitlines()[-1]
        try:
            yield container, Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)

    def _update(self, container: str) -> None:
        words = [*_DNF, f"--repofrompath=software,file://{_MOUNTED}", "--repo=software", "update"]
        options = ("--isolation=chroot", "--user=0", f"--volume={self._repository}:{_MOUNTED}:ro")
        self.buildah("run", *options, container, "--", *words, timeout=1800)

    def clean(self) -> None:
        """Images and containers of the storage go."""
        self.buildah("rm", "--all")
        self.buildah("rmi", "--all", "--force")


def _kept(entries: Mapping[str, tuple], owned: set[str]) -> dict[str, tuple]:
    """Without what a build leaves below /run beside directories and no package owns: systemd-tmpfiles puts links there when systemd is updated, and a
    container gets a /run of its own when it starts. The product leaves such entries out of every layer."""
    return {path: facts for path, facts in entries.items() if not path.startswith("run/") or path in owned or facts[0].startswith("0o4")}


def _timeless(entries: Mapping[str, tuple], timed: set[str]) -> dict[str, tuple]:
    return {path: facts if path in timed else (*facts[:3], 0, *facts[4:]) for path, facts in entries.items()}


def _rpm(root: Path, *words: str, check: bool = True) -> str:
    command = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite", *words]
    return run(command, timeout=600, check=check, env={**os.environ, "LC_ALL": "C.UTF-8"}).output


def _facts(root: Path) -> list[str]:
    """Every package with the digests of its header and payload, its signature, and the state of each file; the database is whole."""
    _rpm(root, "--verifydb")
    return sorted(_rpm(root, "-qa", "--qf", _HEADERS).splitlines())
