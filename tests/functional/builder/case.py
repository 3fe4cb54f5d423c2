"""What the tests of building share: a world with a base image that has a working dnf, and both ways to build on it.

This module must never hold a test.
"""

from __future__ import annotations

from tests.functional.updater.world import WorldCase, need
from topcoat.builder import Buildah, Builder, DirectBuilder
from topcoat.layers import BuiltImage
from topcoat.model import Base, ImageReference, Profile, Recipe
from topcoat.process.network import PrivateNetwork
from topcoat.transactions import Options, Transactions
from topcoat.yum.server import RepositoryServer
from topcoat_demo import distribution
from topcoat_demo.registry import push_layout
from topcoat_demo.rpms import RpmSpec


class BuildCase(WorldCase):
    """Recipes built on the demo's base image, from one frozen repository."""

    packages: tuple[RpmSpec, ...]

    @classmethod
    def setUpClass(cls) -> None:
        need("buildah", "skopeo")
        super().setUpClass()
        made = distribution.shared()
        cls.base_digest = push_layout(cls.world.server, made.real.directory, "base/real", "9")
        cls.parent = cls.world.client.image("base/real", cls.base_digest)[1]
        repository = cls.world.repository("current", cls.packages)
        cls.snapshot = cls.world.snapshot(repository)
        cls.addClassCleanup(cls.snapshot.close)
        base = Base(f"{cls.world.server.host}/base/real", cls.base_digest)
        cls.profile = Profile("test", "demo", "9", "x86_64", base, (repository,), cls.world.server.host, "demo")
        cls.network = PrivateNetwork()
        cls.addClassCleanup(cls.network.close)
        server = RepositoryServer(cls.snapshot, cls.network)
        server.__enter__()
        cls.addClassCleanup(server.__exit__, None, None, None)
        cls.repo_file = server.repo_file()
        cls.transactions = cls.pool()
        cls.addClassCleanup(cls.transactions.close)
        cls.buildah = cls.storage()
        cls.builder = Builder(
            cls.world.store, cls.transactions, cls.buildah, cls.world.path("work"), repo_file=cls.repo_file, release="9", network=cls.network.path
        )

    @classmethod
    def storage(cls) -> Buildah:
        return Buildah(cls.world.path("storage"), authfile=cls.world.server.authfile, certificates=cls.world.server.certificates)

    def contained(self, recipe: Recipe, builder: Builder | None = None, **changes) -> BuiltImage:
        self.log = self.world.path("build.log")
        reference = ImageReference(self.world.server.host, "base/real", digest=self.base_digest)
        arguments = {"profile": self.profile, "parent": self.parent, "parent_reference": reference, "labels": {"l": "m"}, "log": self.log}
        return (builder or self.builder).build(recipe, **(arguments | changes))

    @classmethod
    def pool(cls) -> Transactions:
        return Transactions(cls.snapshot, cls.world.path("dnf"), options=Options(release="9"), workers=1)

    def direct(self, recipe: Recipe, transactions: Transactions | None = None, **changes) -> BuiltImage:
        self.log = self.world.path("direct.log")
        arguments = {"profile": self.profile, "parent": self.parent, "client": self.world.client, "repository": "base/real", "labels": {"l": "m"}}
        return DirectBuilder(self.world.store, transactions or self.transactions).build(recipe, log=self.log, **(arguments | changes))
