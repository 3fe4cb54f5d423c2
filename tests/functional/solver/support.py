"""A workbench for tests of the solver: packages, repositories and roots that hold nothing but an rpm database, and dnf to compare with."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Iterable, Sequence
from pathlib import Path

from topcoat.model import Nevra, PackageChange, Repository
from topcoat.rpm import inventory
from topcoat.rpm.difference import pair
from topcoat.rpm.inventory import Inventory
from topcoat.solver.solver import UpdateSolver
from topcoat.yum import repositories
from topcoat_demo.rpms import RpmSpec, build_rpm, make_repository

ARCH = "x86_64"
PYTHON = "/usr/bin/python3"


@functools.cache
def _rpm_bytes(spec: RpmSpec) -> bytes:
    return build_rpm(spec)


def missing_tool() -> str | None:
    """Why these tests cannot run here, None when they can."""
    for tool in ("rpm", "rpmdb2solv"):
        if not shutil.which(tool):
            return f"{tool} is not installed (see bindep.txt)"
    if subprocess.run([PYTHON, "-c", "import dnf"], capture_output=True).returncode:
        return "the system's Python has no dnf (see bindep.txt)"
    return None


class Oracle:
    """dnf in a process of its own, kept alive."""

    def __init__(self) -> None:
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._child = subprocess.Popen(
            [PYTHON, str(Path(__file__).with_name("dnf_oracle.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )

    def ask(self, request: dict) -> dict:
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            self._complaints.seek(0)
            raise AssertionError(f"dnf's process ended: {self._complaints.read()[-2000:]}")
        return json.loads(line)

    def close(self) -> None:
        self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait(20)
        self._complaints.close()


class Bench:
    """One folder with repositories and roots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def path(self, kind: str) -> Path:
        self._count += 1
        return self.folder / f"{kind}{self._count}"

    def rpm(self, spec: RpmSpec, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / spec.filename
        path.write_bytes(_rpm_bytes(spec))
        return path

    def repository(self, repo_id: str, specs: Iterable[RpmSpec], *, modules: str | None = None, **options) -> Repository:
        folder = self.path(f"repo-{repo_id}-")
        for spec in specs:
            self.rpm(spec, folder)
        make_repository(folder, modules=modules)
        return Repository(repo_id, folder.as_uri(), **options)

    def root(self, specs: Iterable[RpmSpec]) -> Path:
        """A root that holds only the database, with these packages in it."""
        return self.root_of([self.rpm(spec, self.path("rpms")) for spec in specs])

    def root_of(self, paths: Sequence[Path]) -> Path:
        """The same of finished RPM files."""
        root = self.path("root")
        (root / "var/lib/rpm").mkdir(parents=True)
        command = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm"]
        subprocess.run([*command, "--initdb"], check=True, capture_output=True)
        if paths:
            options = ["--justdb", "--noscripts", "--notriggers", "--ignorearch", "--nosignature", "--force"]
            subprocess.run([*command, "-i", *options, *map(str, paths)], check=True, capture_output=True)
        self.write(root, "etc/os-release", 'PLATFORM_ID="platform:el9"\n')
        return root

    @staticmethod
    def write(root: Path, path: str, text: str) -> None:
        """A file of a root."""
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    def freeze(self, *repos: Repository, **options) -> repositories.Snapshot:
        return repositories.freeze(repos, self.folder / "frozen", **options)


class SolverTestCase(unittest.TestCase):
    """A test that compares our answer with dnf's."""

    oracle: Oracle

    @classmethod
    def setUpClass(cls) -> None:
        reason = missing_tool()
        if reason:
            raise AssertionError(reason)
        cls.oracle = Oracle()
        cls.addClassCleanup(cls.oracle.close)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-solver-")
        self.addCleanup(folder.cleanup)
        self.bench = Bench(Path(folder.name))

    def ask_dnf(self, root: Path, repos: Sequence[Repository], bench: Bench | None = None, **wanted) -> dict:
        bench = bench or self.bench
        request = {
            "root": str(root),
            "cache": str(bench.path("dnf-cache")),
            "arch": ARCH,
            "repositories": [
                {
                    "id": repo.id,
                    "baseurl": repo.baseurl,
                    "priority": repo.priority,
                    "includepkgs": list(repo.includepkgs),
                    "excludepkgs": list(repo.excludepkgs),
                    "module_hotfixes": repo.module_hotfixes,
                }
                for repo in repos
            ],
            "gated": [repo.id for repo in repos if repo.gated],
            "upgrade": [],
            "install": [],
            "reinstall": [],
            "names": [],
        }
        return self.oracle.ask({**request, **wanted})

    def solver(self, *repos: Repository, bench: Bench | None = None, **options) -> UpdateSolver:
        snapshot = (bench or self.bench).freeze(*repos)
        self.addCleanup(snapshot.close)
        return UpdateSolver(snapshot, arch=ARCH, **options)

    def both(self, installed: Iterable[RpmSpec] | Path, *repos: Repository) -> tuple[PackageChange, ...]:
        """Our answer, after it was found equal to dnf's answer to the same request."""
        root = installed if isinstance(installed, Path) else self.bench.root(installed)
        solver = self.solver(*repos)
        found = inventory.from_root(root)
        request = solver.request(found)
        changes = solver.changes(found)
        theirs = self.ask_dnf(
            root, repos, upgrade=list(request.upgrade), install=list(map(str, request.install)), reinstall=list(map(str, request.reinstall))
        )
        self.assertEqual(_lists(changes), theirs)
        self.assertEqual(self.solver(*repos, many=0).changes(found), changes, "indexing only what matters must change nothing")
        return changes

    def inventory(self, specs: Iterable[RpmSpec]) -> Inventory:
        return inventory.from_root(self.bench.root(specs))


def _lists(changes: Iterable[PackageChange]) -> dict:
    changes = tuple(changes)
    return {
        "removed": sorted(str(change.old) for change in changes if change.old),
        "added": sorted(str(change.new) for change in changes if change.new),
    }


def from_lists(answer: dict) -> tuple[PackageChange, ...]:
    """dnf's answer in the terms of a plan."""
    return pair(map(Nevra.parse, answer["removed"]), map(Nevra.parse, answer["added"]))


def texts(changes: Iterable[PackageChange]) -> list[str]:
    """Changes as people read them."""
    return [str(change) for change in changes]
