"""Every case under "Packages" in the requirements that metadata decides, each compared with dnf's own answer."""

from __future__ import annotations

from tests.functional.solver.support import SolverTestCase, texts
from topcoat.errors import ContentError
from topcoat_demo.rpms import File, RpmSpec

NOVA = RpmSpec("nova", "28.0.0", "1.el9", epoch=1)
OSLO = RpmSpec("oslo", "9.0", "1.el9")


class ClassicWrongAnswers(SolverTestCase):
    """What the classic update script got wrong, by name: it compared names and versions as text and never looked at exit codes."""

    def test_classic_epoch(self) -> None:
        """An epoch beats a version that looks newer, in both directions."""
        current = self.bench.repository("current", [NOVA.bump(epoch=0, version="29.0.0"), OSLO.bump(epoch=1, version="1.0")])
        self.assertEqual(texts(self.both([NOVA, OSLO], current)), ["oslo 9.0-1.el9 -> 1:1.0-1.el9"])

    def test_classic_installed_newer(self) -> None:
        """A repository that is older than the image changes nothing."""
        current = self.bench.repository("current", [NOVA.bump(release="0.9.el9"), OSLO.bump(version="8.10")])
        self.assertEqual(self.both([NOVA, OSLO], current), ())

    def test_classic_two_builds_in_one_repository(self) -> None:
        """Old and new build side by side: the newer by RPM's order, which is not the one that sorts last as text."""
        current = self.bench.repository("current", [OSLO.bump(version="9.10"), OSLO.bump(version="9.9"), OSLO.bump(version="9.9~rc1"), OSLO])
        self.assertEqual(texts(self.both([OSLO], current)), ["oslo 9.0-1.el9 -> 9.10-1.el9"])

    def test_classic_broken_repository(self) -> None:
        """A repository that cannot be read is an error that names it, never "nothing to update"."""
        current = self.bench.repository("current", [OSLO.bump(version="9.1")])
        folder = self.bench.folder / current.baseurl.rpartition("/")[2]
        primary = next((folder / "repodata").glob("*primary.xml.gz"))
        primary.write_bytes(primary.read_bytes()[:-20])
        with self.assertRaises(Exception) as caught:
            self.bench.freeze(current)
        self.assertIn("repository current", str(caught.exception))
        self.assertIn(primary.name, str(caught.exception))
        self.assertIn("error", self.ask_dnf(self.bench.root([OSLO]), [current], upgrade=["oslo"]))


class Versions(SolverTestCase):
    def test_tilde_and_caret(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.1~rc1"), NOVA.bump(version="28.0.0^git1")])
        self.assertEqual(texts(self.both([OSLO.bump(version="9.1"), NOVA], current)), ["nova 1:28.0.0-1.el9 -> 1:28.0.0^git1-1.el9"])

    def test_priority_one_with_older_build(self) -> None:
        """A better priority wins among upgrades only: an older build there neither downgrades nor hides the newer one, as in dnf."""
        old = self.bench.repository("pinned", [OSLO.bump(version="8.0")], priority=1)
        new = self.bench.repository("current", [OSLO.bump(version="9.5")])
        self.assertEqual(texts(self.both([OSLO], old, new)), ["oslo 9.0-1.el9 -> 9.5-1.el9"])

    def test_priority_one_with_smaller_upgrade(self) -> None:
        pinned = self.bench.repository("pinned", [OSLO.bump(version="9.1")], priority=1)
        new = self.bench.repository("current", [OSLO.bump(version="9.5")])
        self.assertEqual(texts(self.both([OSLO], pinned, new)), ["oslo 9.0-1.el9 -> 9.1-1.el9"])

    def test_repository_without_updates_only_satisfies(self) -> None:
        """A repository that is no reason for updates still gives what a new requirement needs, and nothing else."""
        base = self.bench.repository("base", [OSLO.bump(version="9.9"), RpmSpec("pbr", "6.0")], updates=False)
        current = self.bench.repository("current", [NOVA.bump(version="28.1.0", requires=("pbr >= 5",))])
        self.assertEqual(texts(self.both([NOVA, OSLO], base, current)), ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9", "pbr (none) -> 6.0-1.el9"])


class Gated(SolverTestCase):
    def test_gated_downgrade(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(version="8.0")], priority=1, gated=True)
        current = self.bench.repository("current", [OSLO.bump(version="9.5")])
        changes = self.both([OSLO], gating, current)
        self.assertEqual(texts(changes), ["oslo 9.0-1.el9 -> 8.0-1.el9"])
        self.assertEqual(changes[0].repository, "gating")

    def test_gated_release_only(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(release="0.20260101.el9")], gated=True)
        self.assertEqual(texts(self.both([OSLO], gating)), ["oslo 9.0-1.el9 -> 9.0-0.20260101.el9"])

    def test_gated_same_nevra_other_build(self) -> None:
        """Same name and version, built again: the image must get the new build."""
        gating = self.bench.repository("gating", [OSLO.bump(time=OSLO.time + 60, summary="changed")], gated=True)
        changes = self.both([OSLO], gating)
        self.assertEqual([change.key for change in changes], [("oslo-9.0-1.el9.noarch", "oslo-9.0-1.el9.noarch")])

    def test_gated_same_build_is_no_change(self) -> None:
        gating = self.bench.repository("gating", [OSLO], gated=True)
        self.assertEqual(self.both([OSLO], gating), ())

    def test_gated_two_builds(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(version="9.9"), OSLO.bump(version="9.10")], gated=True)
        self.assertEqual(texts(self.both([OSLO], gating)), ["oslo 9.0-1.el9 -> 9.10-1.el9"])

    def test_gated_not_installed_is_not_installed(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(version="9.9")], gated=True)
        self.assertEqual(self.both([NOVA], gating), ())

    def test_gated_renamed_package(self) -> None:
        """The change renames a package: the new name obsoletes the old one, which is installed."""
        gating = self.bench.repository("gating", [RpmSpec("oslo-ng", "1.0", obsoletes=("oslo < 10",), provides=("oslo = 10",))], gated=True)
        self.assertEqual(texts(self.both([OSLO], gating)), ["oslo 9.0-1.el9 -> (removed)", "oslo-ng (none) -> 1.0-1.el9"])

    def test_gated_and_upgrade_together(self) -> None:
        gating = self.bench.repository("gating", [NOVA.bump(version="27.0.0")], priority=1, gated=True)
        current = self.bench.repository("current", [NOVA.bump(version="28.5.0"), OSLO.bump(version="9.5")])
        self.assertEqual(texts(self.both([NOVA, OSLO], gating, current)), ["nova 1:28.0.0-1.el9 -> 1:27.0.0-1.el9", "oslo 9.0-1.el9 -> 9.5-1.el9"])

    def test_gated_wins_over_better_priority(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(version="9.1")], priority=50, gated=True)
        current = self.bench.repository("current", [OSLO.bump(version="9.5")], priority=1)
        self.assertEqual(texts(self.both([OSLO], gating, current)), ["oslo 9.0-1.el9 -> 9.1-1.el9"])


class Dependencies(SolverTestCase):
    def test_obsoletes(self) -> None:
        current = self.bench.repository("current", [RpmSpec("oslo-next", "1.0", obsoletes=("oslo < 9.5",))])
        self.assertEqual(texts(self.both([OSLO], current)), ["oslo 9.0-1.el9 -> (removed)", "oslo-next (none) -> 1.0-1.el9"])

    def test_obsoletes_of_another_version(self) -> None:
        current = self.bench.repository("current", [RpmSpec("oslo-next", "1.0", obsoletes=("oslo < 9.0",))])
        self.assertEqual(self.both([OSLO], current), ())

    def test_obsoletes_and_upgrade(self) -> None:
        """Split: a newer build of the name and a package that obsoletes the old one."""
        current = self.bench.repository("current", [OSLO.bump(version="9.5"), RpmSpec("oslo-extra", "9.5", obsoletes=("oslo < 9.5",))])
        self.both([OSLO], current)

    def test_new_requirement_from_another_repository(self) -> None:
        base = self.bench.repository("base", [RpmSpec("pbr", "6.0", requires=("six",)), RpmSpec("six", "1.16")], updates=False)
        gating = self.bench.repository("gating", [OSLO.bump(version="9.5", requires=("pbr",))], priority=1, gated=True)
        changes = self.both([OSLO], gating, base)
        self.assertEqual(texts(changes), ["oslo 9.0-1.el9 -> 9.5-1.el9", "pbr (none) -> 6.0-1.el9", "six (none) -> 1.16-1.el9"])
        self.assertEqual([change.repository for change in changes], ["gating", "base", "base"])

    def test_requirement_pulls_a_newer_library(self) -> None:
        """A gated package needs a newer library that only a repository without updates offers."""
        base = self.bench.repository("base", [OSLO.bump(version="9.5")], updates=False)
        gating = self.bench.repository("gating", [NOVA.bump(version="28.1.0", requires=("oslo >= 9.5",))], gated=True)
        self.assertEqual(texts(self.both([NOVA, OSLO], gating, base)), ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9", "oslo 9.0-1.el9 -> 9.5-1.el9"])

    def test_requirement_on_a_file_outside_primary(self) -> None:
        """The file is named in filelists.xml only."""
        current = self.bench.repository(
            "current",
            [
                NOVA.bump(version="28.1.0", requires=("/usr/share/oslo/data",)),
                RpmSpec("oslo-data", "1.0", files=(File("/usr/share/oslo/data", "x"),)),
            ],
        )
        expected = ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9", "oslo-data (none) -> 1.0-1.el9"]
        self.assertEqual(texts(self.both([NOVA], current)), expected)
        self.assertEqual(texts(self.both([NOVA], current)), expected, "the second time from the cache")

    def test_rich_requirement(self) -> None:
        current = self.bench.repository(
            "current", [NOVA.bump(version="28.1.0", requires=("(glue if oslo)",)), RpmSpec("glue", "1.0"), RpmSpec("other", "1.0")]
        )
        self.assertEqual(texts(self.both([NOVA, OSLO], current)), ["glue (none) -> 1.0-1.el9", "nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9"])

    def test_weak_dependencies_are_off(self) -> None:
        current = self.bench.repository("current", [NOVA.bump(version="28.1.0", recommends=("extra",)), RpmSpec("extra", "1.0")])
        self.assertEqual(texts(self.both([NOVA], current)), ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9"])

    def test_package_gone_from_the_repository_stays(self) -> None:
        current = self.bench.repository("current", [NOVA.bump(version="28.1.0")])
        self.assertEqual(texts(self.both([NOVA, OSLO], current)), ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9"])

    def test_vendor_change(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5", vendor="Somebody Else")])
        self.assertEqual(texts(self.both([OSLO], current)), ["oslo 9.0-1.el9 -> 9.5-1.el9"])


class Unsatisfiable(SolverTestCase):
    def check(self, installed, *repos, names) -> str:
        root = self.bench.root(installed)
        solver = self.solver(*repos)
        from topcoat.rpm import inventory

        found = inventory.from_root(root)
        request = solver.request(found)
        with self.assertRaises(ContentError) as caught:
            solver.changes(found)
        theirs = self.ask_dnf(root, repos, upgrade=list(request.upgrade), install=list(map(str, request.install)))
        self.assertIn("error", theirs)
        for name in names:
            self.assertIn(name, str(caught.exception))
        self.assertTrue(caught.exception.next_step)
        return str(caught.exception)

    def test_missing_requirement(self) -> None:
        """Nothing is skipped: dnf without best would leave the old build in place and be green."""
        gating = self.bench.repository("gating", [OSLO.bump(version="9.5", requires=("absent >= 3",))], gated=True)
        self.check([OSLO], gating, names=["oslo-9.5-1.el9.noarch", "absent >= 3", "gating"])

    def test_missing_requirement_of_an_upgrade(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5", requires=("absent",)), OSLO.bump(version="9.4")])
        self.check([OSLO], current, names=["oslo-9.5-1.el9.noarch", "absent", "current"])

    def test_conflict_with_an_installed_package(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(version="9.5", conflicts=("nova",))], gated=True)
        self.check([OSLO, NOVA], gating, names=["oslo-9.5-1.el9.noarch", "nova", "gating"])

    def test_removal_is_no_way_out(self) -> None:
        """The installed package needs the old library: neither may be removed to make room."""
        gating = self.bench.repository("gating", [OSLO.bump(version="10.0")], gated=True)
        self.check([OSLO, NOVA.bump(requires=("oslo < 10",))], gating, names=["oslo", "nova"])

    def test_excluded_requirement(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5", requires=("pbr",)), RpmSpec("pbr", "6.0")], excludepkgs=("pbr",))
        self.check([OSLO], current, names=["pbr", "hidden by an include or exclude list", "pbr-6.0-1.el9.noarch of current"])


class Lists(SolverTestCase):
    def test_includepkgs(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5"), NOVA.bump(version="28.1.0")], includepkgs=("nov*",))
        other = self.bench.repository("other", [OSLO.bump(version="9.2")])
        self.assertEqual(texts(self.both([OSLO, NOVA], current, other)), ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9", "oslo 9.0-1.el9 -> 9.2-1.el9"])

    def test_excludepkgs(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5"), NOVA.bump(version="28.1.0")], excludepkgs=("os?o",))
        self.assertEqual(texts(self.both([OSLO, NOVA], current)), ["nova 1:28.0.0-1.el9 -> 1:28.1.0-1.el9"])

    def test_specifications(self) -> None:
        """name, name.arch, glob with arch, name-version, NEVRA, and one that matches nothing."""
        for spec in (
            "oslo",
            "oslo.noarch",
            "*.noarch",
            "oslo-9.5",
            "oslo-9.5-1.el9",
            "oslo-9.5-1.el9.noarch",
            "oslo-0:9.5-1.el9.noarch",
            "osl[a-o]",
            "none*",
        ):
            with self.subTest(spec=spec):
                options = {"excludepkgs": (spec,)}
                current = self.bench.repository("current", [OSLO.bump(version="9.5"), NOVA.bump(version="28.1.0", arch="x86_64")], **options)
                self.both([OSLO, NOVA.bump(arch="x86_64")], current)
                current = self.bench.repository(
                    "current", [OSLO.bump(version="9.5"), NOVA.bump(version="28.1.0", arch="x86_64")], includepkgs=(spec,)
                )
                self.both([OSLO, NOVA.bump(arch="x86_64")], current)

    def test_include_and_exclude_together(self) -> None:
        current = self.bench.repository(
            "current", [OSLO.bump(version="9.5"), OSLO.bump(version="9.4")], includepkgs=("oslo",), excludepkgs=("oslo-9.5",)
        )
        self.assertEqual(texts(self.both([OSLO], current)), ["oslo 9.0-1.el9 -> 9.4-1.el9"])


class Architectures(SolverTestCase):
    def test_noarch_to_arch_and_back(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5", arch="x86_64"), NOVA.bump(version="28.1.0")])
        changes = self.both([OSLO, NOVA.bump(arch="x86_64")], current)
        self.assertEqual(
            [change.key for change in changes],
            [("nova-1:28.0.0-1.el9.x86_64", "nova-1:28.1.0-1.el9.noarch"), ("oslo-9.0-1.el9.noarch", "oslo-9.5-1.el9.x86_64")],
        )

    def test_gated_arch_change(self) -> None:
        gating = self.bench.repository("gating", [OSLO.bump(version="8.5", arch="x86_64")], gated=True)
        self.assertEqual([change.key for change in self.both([OSLO], gating)], [("oslo-9.0-1.el9.noarch", "oslo-8.5-1.el9.x86_64")])

    def test_multiarch(self) -> None:
        """The 32-bit twin is upgraded with the 64-bit one, and not installed where it was not."""
        old32, old64 = OSLO.bump(arch="i686"), OSLO.bump(arch="x86_64")
        current = self.bench.repository("current", [old32.bump(version="9.5"), old64.bump(version="9.5")])
        self.assertEqual(
            [change.key for change in self.both([old32, old64], current)],
            [("oslo-9.0-1.el9.i686", "oslo-9.5-1.el9.i686"), ("oslo-9.0-1.el9.x86_64", "oslo-9.5-1.el9.x86_64")],
        )
        self.assertEqual([change.key for change in self.both([old64], current)], [("oslo-9.0-1.el9.x86_64", "oslo-9.5-1.el9.x86_64")])

    def test_foreign_architecture_is_nothing(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5", arch="aarch64")])
        self.assertEqual(self.both([OSLO.bump(arch="x86_64")], current), ())

    def test_source_packages_are_nothing(self) -> None:
        current = self.bench.repository("current", [OSLO.bump(version="9.5", arch="src"), RpmSpec("another", "1.0")])
        self.assertEqual(self.both([OSLO], current), ())
