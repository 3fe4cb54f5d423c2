"""How long a plan takes and how it grows: 104, 1,000 and 5,000 synthetic images of 300 packages, all of them different.

This program must never touch a registry or need root: images are inventories in memory, repositories are metadata in a temporary folder.

Three figures a size, each the best of three runs (of one above 1,000 images): ``quiet`` (no package of any image changes), ``some`` (few images
are touched) and ``all`` (every image is touched, each by another set of packages). ``load`` is what comes once before: the frozen view from a
warm cache and the repositories into the solver. Inventories are decoded from bytes within the measured time, as a run does it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import createrepo_c as cr
import solv
from bench_figures import tell

from topcoat import planner
from topcoat.model import Base, Nevra, Profile, Recipe, Repository
from topcoat.planner import Reference
from topcoat.rpm import inventory, solvfile
from topcoat.rpm.inventory import InstalledPackage, Inventory
from topcoat.solver.solver import UpdateSolver
from topcoat.yum import repositories

PACKAGES_AN_IMAGE = 300
BUILD_TIME = 1_700_000_000
ARCH = "x86_64"
RUNS = 3


@dataclass(frozen=True)
class Fingerprint:
    """What the planner compares; all images keep theirs."""

    total: str
    parts: dict = field(default_factory=dict)


def package_name(number: int) -> str:
    """Name of the n-th package of the synthetic distribution."""
    return f"python3-lib{number:05d}"


def provided(name: str) -> list[str]:
    """What a package provides: its name, and as many further names as packages of a distribution have on average."""
    return [name, f"{name}(noarch)", f"python3dist({name[8:]})", f"python3.9dist({name[8:]})", f"config({name})", f"bundled({name})"]


def requirement(number: int, chooser: random.Random) -> list[str]:
    """Each package needs up to three earlier ones."""
    return [package_name(chooser.randrange(number)) for _ in range(min(number, chooser.randrange(4)))]


def write_repository(folder: Path, packages: list[tuple[str, str, list[str]]]) -> Repository:
    """Metadata without packages: (name, version, requirements) each."""
    repodata = folder / "repodata"
    repodata.mkdir(parents=True)
    repomd = cr.Repomd()
    records = []
    for name, kind, dump in (("primary", cr.PrimaryXmlFile, cr.xml_dump_primary), ("filelists", cr.FilelistsXmlFile, cr.xml_dump_filelists)):
        path = repodata / f"{name}.xml.gz"
        stream = kind(str(path), cr.GZ_COMPRESSION)
        stream.set_num_of_pkgs(len(packages))
        for package_name_, version, requires in packages:
            package = cr.Package()
            package.name, package.epoch, package.version, package.release, package.arch = package_name_, "0", version, "1.el9", "noarch"
            package.location_href = f"{package_name_}-{version}-1.el9.noarch.rpm"
            package.checksum_type, package.pkgId = "sha256", f"{hash((package_name_, version)) & (2**256 - 1):064x}"
            package.rpm_sourcerpm = f"{package_name_}-{version}-1.el9.src.rpm"
            package.time_build = BUILD_TIME
            package.provides = [(text, "EQ", "0", version, "1.el9", False) for text in provided(package_name_)]
            package.requires = [(text, None, None, None, None, False) for text in requires]
            stream.add_chunk(dump(package))
        stream.close()
        record = cr.RepomdRecord(name, str(path))
        record.fill(cr.SHA256)
        records.append(record)
    for record in records:
        repomd.set_record(record)
    (repodata / "repomd.xml").write_text(repomd.xml_dump())
    return Repository(folder.name, folder.as_uri())


def make_inventory(numbers: list[int], requirements: dict[int, list[str]]) -> bytes:
    """The stored form of an image that holds these packages."""
    pool = solvfile.new_pool(ARCH)
    repo = pool.add_repo("installed")
    packages = []
    for number in numbers:
        name = package_name(number)
        solvable = repo.add_solvable()
        solvable.name, solvable.evr, solvable.arch = name, "1.0-1.el9", "noarch"
        for text in provided(name):
            solvable.add_provides(pool.rel2id(pool.str2id(text), pool.str2id("1.0-1.el9"), solv.REL_EQ))
        for text in requirements[number]:
            solvable.add_requires(pool.str2id(text))
        nevra = Nevra(name, 0, "1.0", "1.el9", "noarch")
        packages.append(InstalledPackage(nevra, f"{name}-1.0-1.el9.src.rpm", 1000, BUILD_TIME))
    repo.internalize()
    return inventory.assemble(tuple(sorted(packages)), solvfile.to_bytes(repo), "/var/lib/rpm/rpmdb.sqlite").to_bytes()


def closure(roots: list[int], requirements: dict[int, list[str]]) -> list[int]:
    """The packages and all they need, at most as many as an image has."""
    found: set[int] = set()
    pending = list(roots)
    while pending:
        number = pending.pop()
        if number not in found:
            found.add(number)
            pending += [int(text[-5:]) for text in requirements[number]]
    return sorted(found)


def images(count: int, universe: int, requirements: dict[int, list[str]], chooser: random.Random) -> list[bytes]:
    """Inventories of about 300 packages, each another set: a common base of 150 and 150 of its own with what they need."""
    found = []
    for _ in range(count):
        numbers = set(range(150))
        while len(numbers) < PACKAGES_AN_IMAGE:
            numbers |= set(closure([chooser.randrange(150, min(universe, 4000))], requirements))
        found.append(make_inventory(sorted(numbers), requirements))
    return found


def one_plan(stored: list[bytes], solver: UpdateSolver, view: tuple) -> dict[str, int]:
    """Decode every inventory and make the plan, as a run with a warm cache does; returns how many images have which action."""
    profile = Profile("bench", "centos", "9", ARCH, Base("localhost:5000/base"), (), "localhost:5000", "bench")
    recipes, fingerprints, references = {}, {}, {}
    for number, content in enumerate(stored):
        name = f"image-{number:05d}"
        own = Inventory.from_bytes(content)
        digest = f"sha256:{number:064x}"
        recipes[name] = Recipe(name, "bench", "openstack", None)
        fingerprints[name] = Fingerprint(digest)
        references[name] = Reference(name, digest, digest, {}, own.nevras, None, own)
    plan = planner.plan(
        recipes, fingerprints, references, lambda reference: solver.changes(reference.base_inventory), profile=profile, gated=(), view=view
    )
    return {action: sum(image.action.value == action for image in plan.images) for action in ("build", "update", "reuse")}


def measure(stored: list[bytes], snapshot: repositories.Snapshot) -> tuple[float, float, dict[str, int]]:
    """Seconds and processor seconds for one whole plan, the best of several with a fresh solver each, and its actions."""
    best = processor = float("inf")
    actions: dict[str, int] = {}
    for _ in range(RUNS if len(stored) <= 1000 else 1):
        solver = UpdateSolver(snapshot, arch=ARCH)
        start, busy = time.perf_counter(), time.process_time()
        actions = one_plan(stored, solver, snapshot.view)
        best, processor = min(best, time.perf_counter() - start), min(processor, time.process_time() - busy)
    return best, processor, actions


def run(sizes: list[int], available: int) -> dict:
    """All figures."""
    chooser = random.Random(1)
    requirements = {number: requirement(number, chooser) for number in range(available)}
    with tempfile.TemporaryDirectory(prefix="topcoat-bench-") as temporary:
        folder = Path(temporary)
        base = [(package_name(number), "1.0", requirements[number]) for number in range(available)]
        repository = write_repository(folder / "base", base)
        cache = folder / "cache"
        results = []
        # "some": packages that few images hold; "all": a tenth of everything, the common base included.
        touched = {
            "quiet": [],
            "some": [(package_name(number), "1.1", requirements[number]) for number in range(3990, 3998)],
            "all": [(package_name(number), "1.1", requirements[number]) for number in range(0, available, 10)],
        }
        updates = {name: write_repository(folder / f"current-{name}", changed or base[-1:]) for name, changed in touched.items()}
        for count in sizes:
            stored = images(count, available, requirements, chooser)
            row: dict = {"images": count, "packages_an_image": PACKAGES_AN_IMAGE, "available_packages": available}
            for name, current in updates.items():
                with repositories.freeze([current, repository], cache):
                    pass
                start = time.perf_counter()
                with repositories.freeze([current, repository], cache) as snapshot:
                    UpdateSolver(snapshot, arch=ARCH)
                    row["load_seconds"] = round(time.perf_counter() - start, 3)
                    seconds, processor, actions = measure(stored, snapshot)
                row[f"{name}_seconds"] = round(seconds, 3)
                row[f"{name}_processor_seconds"] = round(processor, 3)
                row[f"{name}_updates"] = actions["update"]
            results.append(row)
        return {"benchmark": "plan", "python": sys.version.split()[0], "runs": RUNS, "results": results}


def markdown(document: dict) -> str:
    """The figures as a table."""
    lines = [
        "| images | packages each | available | load | quiet | some (updates) | all (updates) | processor µs an image, quiet / all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in document["results"]:
        each = f"{row['quiet_processor_seconds'] / row['images'] * 1e6:.0f} / {row['all_processor_seconds'] / row['images'] * 1e6:.0f}"
        lines.append(
            f"| {row['images']} | {row['packages_an_image']} | {row['available_packages']} | {row['load_seconds']} s | {row['quiet_seconds']} s "
            f"| {row['some_seconds']} s ({row['some_updates']}) | {row['all_seconds']} s ({row['all_updates']}) | {each} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[104, 1000, 5000])
    parser.add_argument("--available", type=int, default=15000, help="packages in the base repository")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    document = run(options.sizes, options.available)
    tell(document, options.json)
    print()
    print(markdown(document))


if __name__ == "__main__":
    main()
