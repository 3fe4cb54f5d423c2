"""An image that tells dnf something of its own, updated by us and by plain dnf: module streams, lists, packages side by side, duplicates."""

from pathlib import Path

from tests.functional.equality import test_updates
from tests.functional.equality.zoo import LITTER
from tests.functional.layers.others import differences, tree
from tests.functional.solver.test_modules import default, document, state
from tests.functional.updater.world import rpm
from topcoat.model import Repository
from topcoat_demo.rpms import File, RpmSpec, make_repository


def package(name: str, version: str, **more) -> RpmSpec:
    return RpmSpec(name, version, files=(File(f"/opt/{name}-{version}", version),), **more)


def modular(name: str, version: str, stream: str) -> RpmSpec:
    return package(name, version, module=f"{stream}:1:00000000")


def kernel(version: str) -> RpmSpec:
    return package("kernel-core", version, provides=("installonlypkg(kernel)",))


ENABLED, SECOND = modular("node", "16.1", "node:16"), modular("node-npm", "8.1", "node:16")
NEWER, OTHER = modular("node", "16.2", "node:16"), modular("node", "18.0", "node:18")
BY_DEFAULT, DISABLED = modular("ruby", "3.1", "ruby:3"), modular("perl", "5.32", "perl:5")
MODULES = (
    document("node", "16", 1, ENABLED, SECOND)
    + document("node", "16", 2, NEWER)
    + document("node", "18", 1, OTHER)
    + document("ruby", "3", 1, BY_DEFAULT)
    + document("perl", "5", 1, DISABLED)
    + default("node", "18")
    + default("ruby", "3")
    + default("perl", "5")
)
PLAIN = [package("ruby", "9"), package("excluded", "2"), package("twice", "3"), kernel("4"), package("kept-safe", "9")]
OLD = [package("node", "16.0"), package("node-npm", "8.0"), package("ruby", "3.0"), package("perl", "5.30"), package("excluded", "1")]
OLD += [package("twice", "1"), package("twice", "2"), *(kernel(version) for version in "123"), package("kept-safe", "1")]
EXPECTED = {"node-16.2", "node-npm-8.1", "ruby-3.1", "perl-5.30", "excluded-1", "kernel-core-2", "kernel-core-3", "kernel-core-4", "kept-safe-1"}
STATE, FAIL_SAFE = "etc/dnf/modules.d", "var/lib/dnf/modulefailsafe"


class Rules(test_updates.Beside):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        root = cls.world.root(OLD)
        files = {
            "etc/dnf/dnf.conf": "[main]\nbest=True\nmodule_platform_id=platform:el9\nexclude=excl*\n",
            f"{STATE}/node.module": state("node", "16"),
            f"{STATE}/perl.module": state("perl", "", "disabled"),
            f"{STATE}/safe.module": state("safe", "1"),
            f"{FAIL_SAFE}/safe:1:x86_64.yaml": document("safe", "1", 1, package("kept-safe", "1")),
        }
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        cls.base = cls.world.publish_root(root, "rules")
        cls.directory = make_repository(cls.world.path("current"), [ENABLED, SECOND, NEWER, OTHER, BY_DEFAULT, DISABLED, *PLAIN], modules=MODULES)
        cls.repository = Repository("current", cls.directory.as_uri())

    def test_nothing_differs_from_plain_dnf(self) -> None:
        self.maxDiff = None
        digest = self.world.publish(self.world.update(self.base, self.repository), "rules")
        pulled = [("buildah", self.base.digest), ("buildah", digest)]
        references = [self.storage.unpacked(tool, f"docker://{self.world.server.host}/rules@{named}", *self.access()) for tool, named in pulled]
        with references[0] as plain, references[1] as ours:
            self.dnf(plain, self.directory, "update")
            expected = tree(plain, without=(*LITTER, str(self.world.directory).lstrip("/")))
            self.assertEqual(differences(undated(expected), undated(tree(ours, without=LITTER))), {})
            self.assertEqual(self.facts(plain), self.facts(ours))
            for folder in (STATE, FAIL_SAFE):
                self.assertEqual(contents(plain / folder), contents(ours / folder))
            names = set(rpm(ours, "-qa", "--qf", "%{name}-%{version}\n").split())
            self.assertLessEqual(EXPECTED, names)
            self.assertNotIn("kernel-core-1", names)

    def test_the_plan_says_what_the_image_holds_back(self) -> None:
        from topcoat.solver.solver import UpdateSolver

        with self.world.snapshot(self.repository) as snapshot:
            held = UpdateSolver(snapshot, arch="x86_64").held_back(self.base.inventory)
        self.assertEqual([line.partition(" ")[0] for line in held], ["excluded-2-1.el9.noarch", "kept-safe-9-1.el9.noarch"])


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def undated(entries: dict[str, tuple]) -> dict[str, tuple]:
    """Without the times of what dnf writes about modules."""
    return {path: (*facts[:3], 0, *facts[4:]) if path.startswith(STATE) else facts for path, facts in entries.items()}
