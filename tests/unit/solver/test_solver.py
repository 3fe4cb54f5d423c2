"""The solver over inventories made without rpm: many, of every size, from several threads. Equality with dnf is tested in tests/functional/solver."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import solv

from topcoat.errors import ContentError
from topcoat.model import Nevra, Repository
from topcoat.rpm import inventory, solvfile
from topcoat.rpm.inventory import InstalledPackage, Inventory
from topcoat.solver.solver import UpdateSolver
from topcoat.yum.repositories import freeze
from topcoat_demo.rpms import RpmSpec, make_repository


def _has_checking_malloc() -> bool:
    try:
        ctypes.CDLL("libc_malloc_debug.so.0")
    except OSError:
        return False
    return True


CHECKING_MALLOC = _has_checking_malloc()


def image(count: int, *, first: int = 0) -> Inventory:
    """An image with packages p<first>, p<first+1> ... of version 1.0."""
    pool = solvfile.new_pool("x86_64")
    repo = pool.add_repo("installed")
    packages = []
    for number in range(first, first + count):
        solvable = repo.add_solvable()
        solvable.name, solvable.evr, solvable.arch = f"p{number}", "1.0-1", "noarch"
        solvable.add_provides(pool.rel2id(solvable.nameid, pool.str2id("1.0-1"), solv.REL_EQ))
        packages.append(InstalledPackage(Nevra(f"p{number}", 0, "1.0", "1", "noarch"), "", 0))
    repo.internalize()
    return inventory.assemble(tuple(sorted(packages)), solvfile.to_bytes(repo), "/var/lib/rpm/rpmdb.sqlite")


class Solver(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-solver-")
        self.addCleanup(folder.cleanup)
        path = make_repository(Path(folder.name, "repo"), [RpmSpec("p0", "2.0", "1"), RpmSpec("p9", "2.0", "1", requires=("absent",))])
        self.snapshot = snapshot = freeze([Repository("current", path.as_uri())], Path(folder.name, "work"))
        self.addCleanup(snapshot.close)
        self.solver = UpdateSolver(snapshot, arch="x86_64")

    def answer(self, found: Inventory) -> list[str]:
        return [str(change) for change in self.solver.changes(found)]

    @unittest.skipUnless(CHECKING_MALLOC, "this machine's C library has no libc_malloc_debug.so.0")
    def test_memory_is_not_overrun(self) -> None:
        """The next test under a memory allocator that checks: without room in libsolv's map it ends with a segmentation fault."""
        environment = {**os.environ, "LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3"}
        command = [sys.executable, "-m", "unittest", f"{__name__}.Solver.test_inventories_that_grow"]
        result = subprocess.run(command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr[-500:])

    def test_inventories_that_grow(self) -> None:
        """libsolv's map of considered packages does not grow by itself: a larger image after a smaller one wrote past its end."""
        self.grow(self.solver)
        self.grow(UpdateSolver(self.snapshot, arch="x86_64", many=0))

    def grow(self, solver: UpdateSolver) -> None:
        self.solver = solver
        for count in (1, 3, 8, 2, 8, 1):
            self.assertEqual(self.answer(image(count)), ["p0 1.0-1 -> 2.0-1"], count)
        for count in (1000, 5000, 6000):
            self.assertEqual(self.answer(image(count, first=10)), [], count)
            found = image(count)
            with self.assertRaises(ContentError):
                self.solver.changes(found)
            self.assertEqual(self.solver.resolve_install(["p5"], found), ())

    def test_too_large(self) -> None:
        with self.assertRaises(ContentError) as caught:
            self.solver.resolve_install(["p0"], image(16385))
        self.assertIn("16385", str(caught.exception))

    def test_damaged_inventory(self) -> None:
        good = image(3)
        damaged = inventory.assemble(good.packages, b"this is no solv file", good.rpmdb_path)
        with self.assertRaises(ContentError) as caught:
            self.solver.changes(damaged)
        self.assertIn("damaged", str(caught.exception))
        self.assertEqual(self.answer(image(2)), ["p0 1.0-1 -> 2.0-1"], "the next one is not affected")

    def test_after_an_error_the_next_answer_is_right(self) -> None:
        for _ in range(3):
            with self.assertRaises(ContentError) as caught:
                self.solver.changes(image(10))
            self.assertIn("absent", str(caught.exception))
            self.assertEqual(self.answer(image(2)), ["p0 1.0-1 -> 2.0-1"])

    def test_threads(self) -> None:
        answers: list[list[str]] = []
        inventories = [image(count) for count in range(1, 9)]
        threads = [threading.Thread(target=lambda own=own: answers.append(self.answer(own))) for own in inventories for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [["p0 1.0-1 -> 2.0-1"]] * len(threads))

    def test_unknown_package(self) -> None:
        with self.assertRaises(ContentError) as caught:
            self.solver.resolve_install(["nothing-like-it"])
        self.assertIn("'nothing-like-it'", str(caught.exception))
        self.assertIn("current", caught.exception.next_step)
