"""A small real world for tests: a registry with TLS, yum repositories, and images made of RPMs on a busybox.

This module must never touch a container storage or a mount outside its own folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import unittest
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.layers import BuiltImage, LayerStore
from topcoat.model import PlannedImage, Reason, Repository
from topcoat.publisher import Publisher
from topcoat.registry.oci import Image
from topcoat.registry.registries import Registries
from topcoat.rpm import inventory
from topcoat.rpm.inventory import Inventory
from topcoat.rpm.repositories import Snapshot, freeze
from topcoat.rpm.solver import UpdateSolver
from topcoat.updater import Options, Transactions, Updater
from topcoat_demo.filesystem import filesystem
from topcoat_demo.registry import RegistryServer
from topcoat_demo.rpms import File, RpmSpec, make_repository, symlink

APPLETS = [
    "sh",
    "cat",
    "cp",
    "echo",
    "ls",
    "mkdir",
    "rm",
    "mv",
    "touch",
    "ln",
    "chmod",
    "chown",
    "true",
    "false",
    "sleep",
    "grep",
    "sed",
    "id",
    "test",
    "stat",
    "date",
    "env",
    "getcap",
    "setcap",
    "ps",
    "kill",
    "wc",
]


def need(*programs: str) -> None:
    """Skip the test with a reason when a program or root is missing."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root: it mounts images")
    for program in programs:
        if not shutil.which(program):
            raise unittest.SkipTest(f"needs {program} (see bindep.txt)")


def busybox() -> RpmSpec:
    """A shell and small tools."""
    links = [symlink(f"/usr/bin/{name}", "busybox") for name in APPLETS]
    return RpmSpec(
        "busybox",
        "1.35.0",
        arch="x86_64",
        files=(File("/usr/bin/busybox", Path(shutil.which("busybox") or ""), mode=0o755), *links),
        provides=("/bin/sh",),
    )


@dataclass
class Base:
    """A published image."""

    repository: str
    digest: str
    image: Image
    inventory: Inventory


class World:
    """Everything one test class shares; ``close`` it."""

    def __init__(self, directory: Path) -> None:
        need("docker-registry", "busybox", "rpm", "dnf", "rpmdb2solv", "unshare")
        self.directory = directory
        self.server = RegistryServer(directory / "registry").start()
        self.registries = Registries(authfile=self.server.authfile, ca_file=self.server.ca_file)
        self.client = self.registries.client(self.server.host)
        self.publisher = Publisher(self.registries)
        self.store = LayerStore(directory / "store")
        self._counter = 0

    def close(self) -> None:
        """End the registry and delete what was made."""
        self.store.close()
        self.registries.close()
        self.server.stop()

    def folder(self, name: str) -> Path:
        """A fresh folder."""
        self._counter += 1
        return self.directory / f"{self._counter:03d}-{name}"

    def repository(self, name: str, rpms: Sequence[RpmSpec], **options: object) -> Repository:
        """A yum repository with these packages."""
        return Repository(name, make_repository(self.folder(name), rpms).as_uri(), **options)  # type: ignore[arg-type]

    def root(self, rpms: Sequence[RpmSpec], *, database: str = "/var/lib/rpm") -> Path:
        """A root with filesystem, busybox and these packages, installed by rpm itself."""
        root = self.folder("root")
        root.mkdir()
        repository = make_repository(self.folder("rpms"), [filesystem(), busybox(), *rpms])
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1735689600", "HOME": str(root)}
        rpm(root, database, "-i", "--nosignature", *map(str, sorted(repository.glob("*.rpm"))), environment=environment)
        for leftover in (root / database.lstrip("/")).iterdir():
            if leftover.name != "rpmdb.sqlite":
                leftover.unlink()
        return root

    def publish_root(self, root: Path, name: str, *, config: dict[str, object] | None = None, tag: str = "current-passed-ci") -> Base:
        """Publish a root as an image of one layer."""
        from topcoat.layers import write_layer
        from topcoat.registry.oci import Descriptor, append_layer

        layer = write_layer(root, [], self.folder("layer.tar.gz"), epoch=1735689600)
        empty = Image({"architecture": "amd64", "os": "linux", "config": config or {}, "rootfs": {"type": "layers", "diff_ids": []}}, ())
        image = append_layer(
            empty, Descriptor(layer.media_type, layer.digest, layer.size), layer.diff_id, created_by="test", created="2025-01-01T00:00:00Z"
        )
        published = self.publisher.publish(f"{self.server.host}/{name}", image, {layer.digest: layer.path}, [tag])
        _, image = self.client.image(name, published.digest)
        return Base(name, published.digest, image, inventory.from_root(root))

    def base(self, name: str, rpms: Sequence[RpmSpec], *, database: str = "/var/lib/rpm", config: dict[str, object] | None = None) -> Base:
        """Publish an image with these packages."""
        return self.publish_root(self.root(rpms, database=database), name, config=config)

    def snapshot(self, *repositories: Repository) -> Snapshot:
        """A frozen view."""
        return freeze(repositories, self.directory / "frozen", allow_empty=[repository.id for repository in repositories])

    def plan(self, base: Base, snapshot: Snapshot) -> tuple[PlannedImage, object]:
        """What the planner would say of one image: (line, request)."""
        solver = UpdateSolver(snapshot, arch="x86_64")
        changes = solver.changes(base.inventory)
        line = PlannedImage(base.repository, Reason.RPM_UPGRADE, "", None, "", base.digest, changes, base.digest)
        return line, solver.request(base.inventory)

    def update(
        self, base: Base, snapshot: Snapshot, *, store: LayerStore | None = None, log: Path | None = None, timeout: float = 120.0
    ) -> BuiltImage:
        """Plan and make the update layer of one image."""
        line, request = self.plan(base, snapshot)
        store = store or self.store
        with Transactions(snapshot, self.folder("dnf"), options=Options(release="9"), workers=1, timeout=timeout) as transactions:
            return Updater(store, transactions).update(
                line, base.image, base_digest=base.digest, client=self.client, repository=base.repository, request=request, log=log
            )

    def publish(self, built: BuiltImage, name: str, tag: str = "updated") -> str:
        """Publish a built image; returns its digest."""
        assert built.layer is not None
        return self.publisher.publish(f"{self.server.host}/{name}", built.image, {built.layer.digest: built.layer.path}, [tag]).digest


def rpm(root: Path, database: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run the host's rpm on a root."""
    command = ["rpm", "--root", str(root), "--dbpath", database, "--define", "_db_backend sqlite", "--define", "_pkgverify_level none", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment or {**os.environ, "HOME": "/nonexistent"}, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def manifest_of(world: World, name: str, digest: str) -> dict:
    """A manifest as the registry holds it."""
    return json.loads(world.client.manifest(name, digest).body)
