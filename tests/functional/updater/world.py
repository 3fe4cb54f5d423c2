"""A small real world for tests: a registry with TLS, yum repositories, and images made of RPMs on a busybox.

This module must never touch a container storage or a mount outside its own folder.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests import needs
from topcoat.builder import Updater
from topcoat.layers import BuiltImage, LayerStore
from topcoat.model import Digest, ImageRepository, PlannedImage, Reason, Repository
from topcoat.process.bounds import Bounds
from topcoat.publisher import Publisher, Source
from topcoat.registry.oci import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Image, append_layer
from topcoat.registry.registries import Registries
from topcoat.rpm import inventory
from topcoat.rpm.inventory import Inventory
from topcoat.solver.solver import UpdateRequest, UpdateSolver
from topcoat.transactions import Options, Transactions
from topcoat.yum.repositories import Snapshot, freeze
from topcoat_demo.filesystem import filesystem
from topcoat_demo.registry import RegistryServer
from topcoat_demo.rpms import EPOCH, File, RpmSpec, make_repository, symlink

APPLETS = ("sh", "cat", "cp", "echo", "ls", "mkdir", "rm", "mv", "touch", "ln", "chmod", "chown", "true", "false", "sleep", "grep", "sed", "id")
CREATED = "2025-01-01T00:00:00Z"


def need(*programs: str) -> None:
    """Fail unless the programs are there and the test runs as root: it mounts images."""
    needs.need(*programs, root=True)


def busybox() -> RpmSpec:
    """A shell and small tools."""
    binary = File("/usr/bin/busybox", Path(shutil.which("busybox") or ""), mode=0o755)
    links = [symlink(f"/usr/bin/{name}", "busybox") for name in APPLETS]
    return RpmSpec("busybox", "1.35.0", arch="x86_64", files=(binary, *links), provides=("/bin/sh",))


@dataclass
class Base:
    """A published image."""

    repository: str
    digest: str
    image: Image
    inventory: Inventory
    root: Path


class World:
    """Everything one test class shares; ``close`` it."""

    def __init__(self, directory: Path, *, server: Any = None) -> None:
        """:param server: a registry that runs already, instead of a process of our own."""
        need("docker-registry", "htpasswd", "busybox", "rpm", "dnf", "rpmdb2solv", "unshare")
        self.directory = directory
        self.server = server or RegistryServer(directory / "registry").start()
        self.registries = Registries(
            authfile=self.server.authfile, ca_file=self.server.ca_file, plain_http_hosts=getattr(self.server, "plain_http", ())
        )
        self.client = self.registries.client(self.server.host)
        self.publisher = Publisher(self.registries)
        self.store = LayerStore(directory / "store")
        self._counter = 0

    def close(self) -> None:
        """End the registry."""
        self.store.close()
        self.registries.close()
        self.server.stop()

    def path(self, name: str) -> Path:
        """A fresh name."""
        self._counter += 1
        return self.directory / f"{self._counter:03d}-{name}"

    def repository(self, name: str, rpms: Sequence[RpmSpec], **options: object) -> Repository:
        """A yum repository with these packages."""
        return Repository(name, make_repository(self.path(name), rpms).as_uri(), **options)  # type: ignore[arg-type]

    def root(self, rpms: Sequence[RpmSpec], *, database: str = "/var/lib/rpm") -> Path:
        """A root with filesystem, busybox and these packages, installed by rpm itself; its database is checkpointed."""
        root = self.path("root")
        root.mkdir()
        repository = make_repository(self.path("rpms"), [filesystem(), busybox(), *rpms])
        rpm(root, "-i", "--nosignature", *map(str, sorted(repository.glob("*.rpm"))), database=database)
        for leftover in (root / database.lstrip("/")).iterdir():
            if leftover.name != "rpmdb.sqlite":
                leftover.unlink()
        return root

    def publish_root(
        self, root: Path, name: str, *, config: dict[str, object] | None = None, packages: Inventory | None = None, media_type: str = OCI_MANIFEST
    ) -> Base:
        """Publish a root, as it is, as an image of one layer: by tar, because our own writer would tidy the package database.

        No time of the day enters: the same root is the same base image in every world.
        """
        archive = self.path("layer.tar")
        times = ["--clamp-mtime", "--mtime=@1735689600", "--format=posix", "--pax-option=delete=atime,delete=ctime"]
        words = ["tar", "-C", root, "--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=*", *times, "-cf", archive, "."]
        subprocess.run(words, check=True)
        diff_id = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
        packed = archive.with_suffix(".tar.gz")
        content = gzip.compress(archive.read_bytes(), 1, mtime=0)
        packed.write_bytes(content)
        descriptor = Descriptor(OCI_LAYER_GZIP, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        empty = Image(
            {"architecture": "amd64", "os": "linux", "config": config or {}, "rootfs": {"type": "layers", "diff_ids": []}}, (), (), media_type
        )
        image = append_layer(empty, descriptor, diff_id, created_by="test", created=CREATED)
        published = self.publisher.publish(f"{self.server.host}/{name}", image, {descriptor.digest: packed}, ["current-passed-ci"])
        _, image = self.client.image(name, published.digest)
        return Base(name, published.digest, image, packages or inventory.from_root(root), root)

    def base(self, name: str, rpms: Sequence[RpmSpec], *, database: str = "/var/lib/rpm", config: dict[str, object] | None = None) -> Base:
        """Publish an image with these packages."""
        return self.publish_root(self.root(rpms, database=database), name, config=config)

    def snapshot(self, *repositories: Repository) -> Snapshot:
        """A frozen view."""
        return freeze(repositories, self.directory / "frozen", allow_empty=[repository.id for repository in repositories])

    def plan(self, base: Base, snapshot: Snapshot) -> tuple[PlannedImage, UpdateRequest]:
        """What the planner says of one image."""
        solver = UpdateSolver(snapshot, arch="x86_64")
        changes = solver.changes(base.inventory)
        line = PlannedImage(base.repository, Reason.RPM_UPGRADE, "", None, "", base.digest, changes, base.digest)
        return line, solver.request(base.inventory)

    @contextlib.contextmanager
    def updater(
        self, snapshot: Snapshot, *, store: LayerStore | None = None, timeout: float = 120.0, bounds: Bounds | None = None
    ) -> Iterator[Updater]:
        """An updater with one worker."""
        with Transactions(snapshot, self.path("dnf"), options=Options(release="9"), workers=1, timeout=timeout, bounds=bounds) as transactions:
            yield Updater(store or self.store, transactions)

    def update(
        self,
        base: Base,
        *repositories: Repository,
        line: PlannedImage | None = None,
        store: LayerStore | None = None,
        timeout: float = 120.0,
        bounds: Bounds | None = None,
    ) -> BuiltImage:
        """Plan (unless a plan is given) and make the update layer of one image."""
        snapshot = self.snapshot(*repositories)
        planned, request = self.plan(base, snapshot)
        self.log = self.path("update.log")
        with snapshot, self.updater(snapshot, store=store, timeout=timeout, bounds=bounds) as updater:
            return updater.update(
                line or planned,
                base.image,
                base_digest=base.digest,
                client=self.client,
                repository=base.repository,
                request=request,
                log=self.log,
            )

    def publish(self, built: BuiltImage, name: str, tag: str = "updated", *, source: str = "") -> str:
        """Publish a built image; layers below come from the repository ``source``. Returns its digest."""
        assert built.layers
        blobs: dict[Digest, Source] = {layer.digest: ImageRepository(self.server.host, source or name) for layer in built.image.layers}
        blobs |= {layer.digest: layer.path for layer in built.layers}
        return self.publisher.publish(f"{self.server.host}/{name}", built.image, blobs, [tag]).digest

    @contextlib.contextmanager
    def tree(self, name: str, digest: str) -> Iterator[Path]:
        """The files of a published image, pulled anew into a store of its own."""
        _, image = self.client.image(name, digest)
        with LayerStore(self.path("pulled")) as store:
            lower = store.ensure(self.client, name, image)
            with store.mount(lower) as space:
                yield space.root

    @contextlib.contextmanager
    def updated(self, base: Base, *repositories: Repository) -> Iterator[tuple[BuiltImage, Path]]:
        """Update, publish, pull back: (result, files). ``rpm -V`` of every package is clean."""
        built = self.update(base, *repositories)
        digest = self.publish(built, base.repository)
        with self.tree(base.repository, digest) as root:
            database = "/usr/lib/sysimage/rpm" if (root / "usr/lib/sysimage/rpm/rpmdb.sqlite").exists() else "/var/lib/rpm"
            complaints = [line for line in rpm(root, "-Va", database=database, check=False).splitlines() if " c " not in line]
            assert not complaints, complaints
            yield built, root


class WorldCase(unittest.TestCase):
    """A test class with one world."""

    world: World

    @classmethod
    def setUpClass(cls) -> None:
        holder = tempfile.TemporaryDirectory(prefix="topcoat-world-")
        cls.addClassCleanup(holder.cleanup)
        cls.world = World(Path(holder.name))
        cls.addClassCleanup(cls.world.close)

    @classmethod
    def access(cls) -> list[str]:
        """How buildah, podman and skopeo get into its registry."""
        return ["--authfile", str(cls.world.server.authfile), "--cert-dir", str(cls.world.server.certificates)]


def members(built: BuiltImage) -> dict[str, tarfile.TarInfo]:
    """The archives of a built image's new layers."""
    found = {}
    for layer in built.layers:
        with tarfile.open(layer.path) as archive:
            found |= {member.name: member for member in archive}
    return found


def digests(built: BuiltImage) -> list[tuple[Digest, Digest]]:
    """(digest, diff id) of a built image's new layers."""
    return [(layer.digest, layer.diff_id) for layer in built.layers]


def without_change(line: PlannedImage, name: str) -> PlannedImage:
    """A plan line that forgets one package."""
    return replace(line, changes=tuple(change for change in line.changes if change.name != name))


def mounts_below(directory: Path) -> list[str]:
    """Mount points of this process's namespace below a folder."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split(" ")[4] for line in table if line.split(" ")[4].startswith(os.fspath(directory.resolve()))]


def rpm(root: Path, *arguments: str, database: str = "/var/lib/rpm", check: bool = True) -> str:
    """Run the host's rpm on a root."""
    command = ["rpm", "--root", str(root), "--dbpath", database, "--define", "_db_backend sqlite", "--define", "_pkgverify_level none", *arguments]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "HOME": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode and check:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout
