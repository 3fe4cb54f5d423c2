"""dnf itself over the frozen view: served on loopback it installs exactly what the solver says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.functional.solver.support import SolverTestCase
from tests.needs import need
from topcoat.model import Repository
from topcoat.rpm import inventory
from topcoat.yum.server import RepositoryServer
from topcoat_demo.rpms import File, RpmSpec

APP = RpmSpec("app", "2.0", requires=("lib >= 1.5", "/usr/share/data/file"), files=(File("/usr/share/app/readme", "x"),))
LIB = RpmSpec("lib", "1.5", epoch=1)
DATA = RpmSpec("data", "1.0", files=(File("/usr/share/data/file", "x"),))

FILELISTS = "optional_metadata_types=filelists\n"  # for dnf 4.19 and newer; older ones read file lists always, and pass over the option


class Served(SolverTestCase):
    def setUp(self) -> None:
        super().setUp()
        need("dnf", root=True)

    def dnf(self, root: Path, repo_file: str, *command: str, settings: str = "") -> subprocess.CompletedProcess:
        home = self.bench.path("home")
        (home / "repos").mkdir(parents=True)
        (home / "repos/frozen.repo").write_text(repo_file)
        (home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n")
        (home / "dnf.conf").write_text("[main]\nmodule_platform_id=platform:el9\nplugins=0\ninstall_weak_deps=0\nbest=1\n" + FILELISTS + settings)
        options = [f"--installroot={root}", f"--config={home}/dnf.conf", f"--setopt=reposdir={home}/repos", f"--setopt=cachedir={home}/cache"]
        options += ["--releasever=9", "--forcearch=x86_64", "-y"]
        return subprocess.run(["dnf", *options, *command], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True, timeout=120)

    def test_install(self) -> None:
        base = self.bench.repository("base", [LIB.bump(epoch=0, version="9.0"), DATA])
        current = self.bench.repository("current", [APP, APP.bump(version="1.0"), LIB], priority=10)
        solver = self.solver(base, current)
        expected = sorted(str(change.new) for change in solver.resolve_install(["app"]))
        self.assertEqual(expected, ["app-2.0-1.el9.noarch", "data-1.0-1.el9.noarch", "lib-1:1.5-1.el9.noarch"])
        root = self.bench.root([])
        with self.bench.freeze(base, current) as snapshot, RepositoryServer(snapshot) as server:
            result = self.dnf(root, server.repo_file(), "install", "app")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(sorted(map(str, inventory.from_root(root).nevras)), expected)

    def test_gated_build_is_the_only_one(self) -> None:
        """Also inside a build the package under test wins, against a newer build and a better priority."""
        gating = self.bench.repository("gating", [LIB.bump(version="1.5.1~dev")], gated=True)
        current = self.bench.repository("current", [APP, LIB.bump(version="1.9"), DATA], priority=1)
        root = self.bench.root([])
        with self.bench.freeze(gating, current) as snapshot, RepositoryServer(snapshot) as server:
            result = self.dnf(root, server.repo_file(), "install", "app")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("lib-1:1.5.1~dev-1.el9.noarch", map(str, inventory.from_root(root).nevras))

    def test_whatever_the_image_says_of_signed_metadata_and_of_the_way_to_other_hosts(self) -> None:
        current = self.bench.repository("current", [APP, LIB, DATA])
        for settings in ("repo_gpgcheck=1\n", "proxy=http://127.0.0.1:9\n", "ip_resolve=6\n"):
            root = self.bench.root([])
            with self.subTest(settings), self.bench.freeze(current) as snapshot, RepositoryServer(snapshot) as server:
                result = self.dnf(root, server.repo_file(), "install", "app", settings=settings)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_packages_below_another_base(self) -> None:
        """A build has no way to where ``xml:base`` sends it."""
        store = self.bench.repository("store", [APP, LIB, DATA])
        folder, packages = self.bench.path("index"), Path(store.baseurl.removeprefix("file://"))
        folder.mkdir()
        subprocess.run(["createrepo_c", "--quiet", "--baseurl", store.baseurl, "--outputdir", folder, packages], check=True)
        current = Repository("current", folder.as_uri())
        root = self.bench.root([])
        with self.bench.freeze(current) as snapshot, RepositoryServer(snapshot) as server:
            snapshot.fetch_all([("current", spec.filename) for spec in (APP, LIB, DATA)])
            packages.rename(packages.with_name("out-of-reach"))
            result = self.dnf(root, server.repo_file(), "install", "app")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("app-2.0-1.el9.noarch", map(str, inventory.from_root(root).nevras))

    def test_repository_that_went_away_fails_the_build(self) -> None:
        """A package that cannot be had any more is an error of dnf, never a quick green."""
        current = self.bench.repository("current", [APP, LIB, DATA])
        root = self.bench.root([])
        with self.bench.freeze(current) as snapshot, RepositoryServer(snapshot) as server:
            shutil.rmtree(self.bench.folder / current.baseurl.rpartition("/")[2])
            result = self.dnf(root, server.repo_file(), "install", "app")
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(inventory.from_root(root).packages, ())
