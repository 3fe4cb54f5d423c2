"""Both ways of building hold packages to the signature policy of their repository, and say the same when one is refused."""

from pathlib import Path

from tests.functional.updater.world import WorldCase, digests, need, rpm
from topcoat.builder import Buildah, Builder
from topcoat.builder.direct import DirectBuilder
from topcoat.errors import ContentError
from topcoat.layers import BuiltImage
from topcoat.model import Base, ImageReference, Package, Profile, Recipe, Repository, SignaturePolicy
from topcoat.process.network import PrivateNetwork
from topcoat.transactions import Options, Transactions
from topcoat.yum.server import RepositoryServer
from topcoat_demo import distribution, signing
from topcoat_demo.registry import push_layout
from topcoat_demo.rpms import File, RpmSpec, make_repository

TOOL = RpmSpec("tool", "1.0", files=(File("/usr/share/tool", "tool\n"),))


class Signed(WorldCase):
    @classmethod
    def setUpClass(cls) -> None:
        need("buildah")
        super().setUpClass()
        made = distribution.shared()
        cls.digest = push_layout(cls.world.server, made.real.directory, "base/real", "9")
        cls.parent = cls.world.client.image("base/real", cls.digest)[1]

    def build(self, signer: signing.Key | None, policy: str, key: signing.Key) -> dict[str, BuiltImage | str]:
        """Way → image or error."""
        key_file = self.world.path("KEY")
        key_file.write_text(key.armored())
        folder = make_repository(self.world.path("repo"), [TOOL], signer=signer)
        repository = Repository("tools", folder.as_uri(), signatures=SignaturePolicy(policy, (key_file.as_uri(),)))
        host = self.world.server.host
        profile = Profile("t", "demo", "9", "x86_64", Base(f"{host}/base/real", self.digest), (repository,), host, "demo")
        recipe = Recipe("tool", "tool", "infra", None, packages=(Package("tool"),))
        results: dict[str, BuiltImage | str] = {}
        with (
            self.world.snapshot(repository) as snapshot,
            Transactions(snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1) as transactions,
            PrivateNetwork() as network,
            RepositoryServer(snapshot, network) as server,
        ):
            storage = Buildah(self.world.path("storage"), authfile=self.world.server.authfile, certificates=self.world.server.certificates)
            builder = Builder(
                self.world.store,
                transactions,
                storage,
                self.world.path("work"),
                repo_file=server.repo_file(),
                refusal=server.refusal,
                network=network.path,
                release="9",
            )
            common = {"profile": profile, "parent": self.parent, "labels": {}}
            reference = ImageReference(host, "base/real", digest=self.digest)
            ways = {
                "containerfile": lambda log: builder.build(recipe, parent_reference=reference, log=log, **common),
                "direct": lambda log: DirectBuilder(self.world.store, transactions).build(
                    recipe, client=self.world.client, repository="base/real", log=log, **common
                ),
            }
            for name, build in ways.items():
                log: Path = self.world.path(f"{name}.log")
                try:
                    results[name] = build(log)
                except ContentError as error:
                    self.assertEqual((error.image or "tool", error.exit_code), ("tool", 1))
                    results[name] = error.what
        return results

    def test_refused_with_one_reason(self) -> None:
        for signer, words in ((None, "is not signed, and the profile requires it"), (signing.key("other"), "is signed by the unknown key")):
            results = self.build(signer, "required", signing.DEMO)
            self.assertIn(f"repository tools: {TOOL.filename} {words}", str(results["containerfile"]))
            self.assertEqual(results["containerfile"], results["direct"])

    def test_accepted_and_equal(self) -> None:
        for signer, policy in ((signing.DEMO, "required"), (signing.key("other"), "optional"), (None, "optional"), (None, "never")):
            with self.subTest(signer=signer, policy=policy):
                results = self.build(signer, policy, signing.DEMO)
                one, two = results["containerfile"], results["direct"]
                assert isinstance(one, BuiltImage) and isinstance(two, BuiltImage), results
                self.assertEqual(digests(one), digests(two))
                digest = self.world.publish(one, "demo/tool", source="base/real")
                with self.world.tree("demo/tool", digest) as root:
                    said = rpm(root, "-q", "--qf", "%{RSAHEADER:pgpsig}%{DSAHEADER:pgpsig}", "tool")
                    self.assertIn(signer.signing_id[-8:] if signer else "(none)", said)
