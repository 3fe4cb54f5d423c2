"""What an image's own dnf.conf and its protected packages do to an update, compared with dnf."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.functional.solver.support import SolverTestCase, texts
from topcoat.errors import ContentError
from topcoat.rpm import inventory
from topcoat_demo.rpms import RpmSpec

TOOL = RpmSpec("tool", "1.0")
LIB = RpmSpec("lib", "1.0")
CONF = "etc/dnf/dnf.conf"


def replaces_protected() -> bool:
    """Newer dnf, as that of Debian 13, lets another package take the place of a protected one; the older ones refuse, and so do we."""
    told = subprocess.run(["dnf", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"(\d+)\.(\d+)", told)
    assert match, told
    return (int(match[1]), int(match[2])) > (4, 18)


def kernel(version: str, name: str = "kernel-core") -> RpmSpec:
    return RpmSpec(name, version, arch="x86_64", provides=("installonlypkg(kernel)",))


class ImageSettings(SolverTestCase):
    def root(self, specs, conf: str = "", **protected: str) -> Path:
        root = self.bench.root(specs)
        if conf:
            self.bench.write(root, CONF, f"[main]\n{conf}\n")
        for name, text in protected.items():
            self.bench.write(root, f"etc/dnf/protected.d/{name}.conf", text)
        return root

    def both_refuse(self, root: Path, *repos) -> str:
        solver = self.solver(*repos)
        found = inventory.from_root(root)
        with self.assertRaises(ContentError) as caught:
            solver.changes(found)
        theirs = self.ask_dnf(root, repos, upgrade=list(solver.request(found).upgrade))
        if not replaces_protected():
            self.assertIn("protected", theirs.get("error", ""), theirs)
        return str(caught.exception)

    def test_excluded_packages_stay_and_the_plan_says_why(self) -> None:
        current = self.bench.repository("current", [TOOL.bump(version="2.0"), LIB.bump(version="2.0")])
        root = self.root([TOOL, LIB], "exclude=to*")
        self.assertEqual(texts(self.both(root, current)), ["lib 1.0-1.el9 -> 2.0-1.el9"])
        held = self.solver(current).held_back(inventory.from_root(root))
        self.assertEqual(held, ("tool-2.0-1.el9.noarch (excludepkgs=to* in the image's dnf.conf)",))

    def test_excluded_version(self) -> None:
        current = self.bench.repository("current", [TOOL.bump(version="2.0"), TOOL.bump(version="1.5")])
        self.assertEqual(texts(self.both(self.root([TOOL], "excludepkgs=tool-2.0"), current)), ["tool 1.0-1.el9 -> 1.5-1.el9"])

    def test_a_gated_package_that_the_image_excludes(self) -> None:
        """The image's word counts: the plan says it, and the proof of coverage is what makes a run fail."""
        gating = self.bench.repository("gating", [TOOL.bump(version="2.0")], gated=True)
        root = self.root([TOOL], "exclude=tool")
        self.assertEqual(self.both(root, gating), ())
        self.assertEqual(len(self.solver(gating).held_back(inventory.from_root(root))), 1)

    def test_included_packages(self) -> None:
        current = self.bench.repository("current", [TOOL.bump(version="2.0"), LIB.bump(version="2.0")])
        self.assertEqual(texts(self.both(self.root([TOOL, LIB], "includepkgs=lib"), current)), ["lib 1.0-1.el9 -> 2.0-1.el9"])

    def test_lists_that_are_switched_off(self) -> None:
        current = self.bench.repository("current", [TOOL.bump(version="2.0")])
        self.assertEqual(len(self.both(self.root([TOOL], "exclude=tool\ndisable_excludes=main"), current)), 1)

    def test_no_obsoletes(self) -> None:
        current = self.bench.repository("current", [RpmSpec("newtool", "1", obsoletes=("tool < 2",))])
        self.assertEqual(self.both(self.root([TOOL], "obsoletes=0"), current), ())
        self.assertEqual(len(self.both(self.root([TOOL]), current)), 2)

    def test_protected_package_that_another_removes(self) -> None:
        current = self.bench.repository("current", [RpmSpec("dnf5", "1", obsoletes=("dnf < 99",))])
        text = self.both_refuse(self.root([RpmSpec("dnf", "4.14")]), current)
        self.assertIn("dnf-4.14-1.el9.noarch, replaced by dnf5-1-1.el9.noarch of current", text)
        self.assertIn("systemd", self.both_refuse(self.root([RpmSpec("systemd", "250")], systemd="systemd\n"), self.repository_without("systemd")))

    def repository_without(self, name: str):
        return self.bench.repository("current", [RpmSpec(f"{name}-next", "1", obsoletes=(name,))])

    def test_protected_package_may_be_updated(self) -> None:
        current = self.bench.repository("current", [RpmSpec("dnf", "4.15")])
        self.assertEqual(texts(self.both([RpmSpec("dnf", "4.14")], current)), ["dnf 4.14-1.el9 -> 4.15-1.el9"])

    def test_own_list_of_protected_packages(self) -> None:
        current = self.bench.repository("current", [RpmSpec("dnf5", "1", obsoletes=("dnf < 99",))])
        self.assertEqual(len(self.both(self.root([RpmSpec("dnf", "4.14")], "protected_packages=tool"), current)), 2)


class SideBySide(SolverTestCase):
    def test_limit(self) -> None:
        installed = [kernel(version) for version in ("1", "2", "3")]
        current = self.bench.repository("current", [kernel("4")])
        self.assertEqual(texts(self.both(installed, current)), ["kernel-core 1-1.el9 -> 4-1.el9"])

    def test_limit_of_the_image(self) -> None:
        installed = [kernel(version) for version in ("1", "2")]
        root = self.bench.root(installed)
        self.bench.write(root, CONF, "[main]\ninstallonly_limit=2\n")
        self.assertEqual(texts(self.both(root, self.bench.repository("current", [kernel("4")]))), ["kernel-core 1-1.el9 -> 4-1.el9"])

    def test_more_than_the_limit_already(self) -> None:
        installed = [kernel(version) for version in ("1", "2", "3", "4", "5")]
        self.both(installed, self.bench.repository("current", [kernel("6")]))

    def test_what_needs_the_oldest_goes_with_it(self) -> None:
        module = RpmSpec("module", "1", requires=("kernel-core = 1-1.el9",))
        self.both([*(kernel(version) for version in ("1", "2", "3")), module], self.bench.repository("current", [kernel("4")]))

    def test_own_list(self) -> None:
        root = self.bench.root([TOOL])
        self.bench.write(root, CONF, "[main]\ninstallonlypkgs=tool\n")
        current = self.bench.repository("current", [TOOL.bump(version="2.0")])
        self.assertEqual(texts(self.both(root, current)), ["tool (none) -> 2.0-1.el9"])

    def test_gated_build_that_is_there_beside_another(self) -> None:
        gating = self.bench.repository("gating", [kernel("2")], gated=True)
        self.assertEqual(self.both([kernel("1"), kernel("2")], gating), ())

    def test_gated_build_beyond_the_limit(self) -> None:
        gating = self.bench.repository("gating", [kernel("4")], gated=True)
        self.assertEqual(texts(self.both([kernel(version) for version in ("1", "2", "3")], gating)), ["kernel-core 1-1.el9 -> 4-1.el9"])


class Duplicates(SolverTestCase):
    def test_update(self) -> None:
        self.both([TOOL, TOOL.bump(version="1.5")], self.bench.repository("current", [TOOL.bump(version="2.0")]))

    def test_gated_build(self) -> None:
        for version in ("2.0", "1.5", "0.9"):
            with self.subTest(version):
                gating = self.bench.repository(f"gating{version}", [TOOL.bump(version=version)], gated=True)
                self.both([TOOL, TOOL.bump(version="1.5")], gating)

    def test_gated_build_of_one_architecture(self) -> None:
        """Two versions of one package for two architectures do not stand side by side: dnf refuses, unless it may erase, and so do we."""
        root = self.bench.root([RpmSpec("glib", "1", arch=arch) for arch in ("i686", "x86_64")])
        for arch in ("i686", "x86_64"):
            with self.subTest(arch):
                gating = self.bench.repository(f"gating-{arch}", [RpmSpec("glib", "2", arch=arch)], gated=True)
                with self.assertRaisesRegex(ContentError, "inferior architecture"):
                    self.solver(gating).changes(inventory.from_root(root))
                theirs = self.ask_dnf(root, [gating], install=[f"glib-2-1.el9.{arch}"])
                # in the words of dnf 4.14 and of 4.23
                self.assertRegex(theirs["error"], "inferior architecture|cannot install both")

    def test_gated_builds_of_both_architectures(self) -> None:
        both = [RpmSpec("glib", "1", arch=arch) for arch in ("i686", "x86_64")]
        gating = self.bench.repository("gating", [spec.bump(version="2") for spec in both], gated=True)
        self.assertEqual(len(self.both(both, gating)), 2)
