"""The solver over inventories of very different size: a write past libsolv's map ends the process, so it is asked in one of its own."""

import os
import subprocess
import sys
import unittest

PROGRAM = """
import gzip, os, pathlib, sys, tempfile
import solv
from topcoat.model import Nevra, Repository
from topcoat.rpm.inventory import InstalledPackage, Inventory
from topcoat.yum.repositories import freeze
from topcoat.solver.solver import UpdateSolver
from topcoat_demo.rpms import RpmSpec, make_repository

def inventory(folder, count):
    pool = solv.Pool()
    pool.setarch("x86_64")
    repo = pool.add_repo("@System")
    for number in range(count):
        package = repo.add_solvable()
        package.name, package.evr, package.arch = f"package{number}", "1-1", "noarch"
        package.add_deparray(solv.SOLVABLE_PROVIDES, pool.rel2id(package.nameid, package.evrid, solv.REL_EQ))
    path = folder / "x.solv"
    stream = solv.xfopen(str(path), "w")
    repo.write(stream)
    stream.close()
    packages = tuple(InstalledPackage(Nevra(f"package{n}", 0, "1", "1", "noarch"), "s", 1) for n in range(count))
    return Inventory(packages, "/var/lib/rpm/rpmdb.sqlite", str(count), gzip.compress(path.read_bytes()))

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    make_repository(folder / "repo", [RpmSpec("package0", "2")])
    snapshot = freeze([Repository("current", (folder / "repo").as_uri())], folder / "work")
    solver = UpdateSolver(snapshot, arch="x86_64")
    for count in (3, 12000, 5, 9000):
        print(count, *solver.changes(inventory(folder, count)))
"""


class SolverMemoryTest(unittest.TestCase):
    def test_a_larger_inventory_after_a_smaller_one(self):
        environment = {**os.environ, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 4)
        self.assertTrue(all("package0" in line and "2-1" in line for line in lines), lines)
