"""Images of somebody else: built and pushed by plain buildah, without a label or a document of ours.

This module must never use our own builder, writer or publisher.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.functional.layers.others import Storage
from tests.functional.runs.site import Site, base_packages, packages
from tests.functional.updater.world import need, rpm
from topcoat_demo.rpms import RpmSpec, make_repository

SYSIMAGE = "/usr/lib/sysimage/rpm"
TAG = "2024.1"


class Vendor:
    """Somebody who publishes images in the registry of a site; ``close`` it."""

    def __init__(self, site: Site, namespace: str = "vendor") -> None:
        need("buildah", "rpm")
        self.site = site
        self.namespace = namespace
        self.storage = Storage(site.path("vendor-storage"))
        self._specs = {spec.name: spec for spec in packages()}

    def close(self) -> None:
        """Free the storage's mounts."""
        self.storage.run("buildah", "rm", "--all")

    def place(self, name: str) -> str:
        """``host/repository`` of an image."""
        return f"{self.site.server.host}/{self.namespace}/{name}"

    @contextlib.contextmanager
    def changed(self, below: str) -> Iterator[tuple[str, Path]]:
        """A container from an image, and its files."""
        container = self.storage.run("buildah", "from", "--pull-never", below)
        yield container, Path(self.storage.run("buildah", "mount", container))
        self.storage.run("buildah", "rm", container)

    def image(
        self,
        name: str,
        *layers: Sequence[str | RpmSpec],
        below: str = "scratch",
        database: str = "/var/lib/rpm",
        form: str = "docker",
        user: str = "",
    ) -> str:
        """Build an image: one layer for each list of packages, the first with a shell; the id of the last."""
        for number, names in enumerate(layers):
            with self.changed(below) as (container, root):
                rpms = [self._specs[one] if isinstance(one, str) else one for one in names]
                first = [*base_packages()] if below == "scratch" else []
                repository = make_repository(self.site.path("vendor-rpms"), [*first, *rpms])
                rpm(root, "-i", "--nosignature", *map(str, sorted(repository.glob("*.rpm"))), database=database)
                self.storage.run("buildah", "config", "--label", f"vendor={name}", "--entrypoint", '["/bin/sh"]', container)
                if user:
                    self.storage.run("buildah", "config", "--user", user, container)
                below = self.storage.run("buildah", "commit", "--quiet", "--format", form, container, f"localhost/{name}-{number}")
        return below

    def without_rpm(self, name: str) -> str:
        """An image of one static program."""
        with self.changed("scratch") as (container, root):
            (root / "usr/bin").mkdir(parents=True)
            shutil.copy(shutil.which("busybox") or "", root / "usr/bin/proxy")
            self.storage.run("buildah", "config", "--entrypoint", '["/usr/bin/proxy"]', container)
            return self.storage.run("buildah", "commit", "--quiet", container, f"localhost/{name}")

    def push(self, identity: str, name: str, tag: str = TAG) -> str:
        """Publish an image under a tag; its digest, as the registry answers."""
        access = ["--authfile", str(self.site.server.authfile), "--cert-dir", str(self.site.server.certificates)]
        self.storage.run("buildah", "push", *access, identity, f"docker://{self.place(name)}:{tag}")
        return str(self.site.client.head(f"{self.namespace}/{name}", tag))

    def push_index(self, identity: str, name: str, tag: str = TAG) -> str:
        """Publish an image as one of two platforms of an index."""
        with self.changed("scratch") as (container, root):
            (root / "other").write_text("another machine's\n")
            self.storage.run("buildah", "config", "--arch", "arm64", container)
            other = self.storage.run("buildah", "commit", "--quiet", container, f"localhost/{name}-arm64")
        both = f"localhost/{name}-index"
        self.storage.run("buildah", "manifest", "create", both, other, identity)
        access = ["--authfile", str(self.site.server.authfile), "--cert-dir", str(self.site.server.certificates)]
        self.storage.run("buildah", "manifest", "push", "--all", *access, both, f"docker://{self.place(name)}:{tag}")
        return str(self.site.client.head(f"{self.namespace}/{name}", tag))

    def publish(self, tag: str = TAG) -> None:
        """The set: several layers in Docker's format with a user, one with the database below /usr in OCI's, an index, one without rpm."""
        base = self.image("base", ["basetool"])
        nova = self.image("nova-base", ["python3-oslo", "python3-nova"], below=base)
        self.push(self.image("nova-api", ["openstack-nova-api"], below=nova, user="42436"), "nova-api", tag)
        self.push_index(self.image("nova-compute", ["openstack-nova-compute"], below=nova, form="oci"), "nova-compute", tag)
        self.push(self.image("keystone", ["basetool"], ["python3-oslo", "python3-keystone"], database=SYSIMAGE, form="oci"), "keystone", tag)
        self.push(self.without_rpm("proxy"), "proxy", tag)
