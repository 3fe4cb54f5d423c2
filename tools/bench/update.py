"""How fast an update of every image of the tree is, against ``FROM image; RUN dnf -y update`` with a shared cache, in one run on one machine.

This program must never write outside its work folder, and never compare runs of different machines.

Both ways get the same published images, the same frozen repositories, the same registry, and make one image a core at a time; each round starts
with empty stores (nothing pulled) and pushes to repositories of its own. Ours runs on the product's engine with its slots for pushes; it also
solves, checks the promise, and attaches an inventory. It has two rows: ``composed``, as a run does it by default, where every image must be one that
can be composed, and ``transaction``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench_tree import Published, Tree, published_tree

from topcoat.builder import Synthesiser, Updater
from topcoat.builder.buildah import Buildah
from topcoat.builder.metadata_cache import fill
from topcoat.engine import Context, Engine, Stage, Task
from topcoat.layers import BuiltImage, LayerStore
from topcoat.model import ImageRepository, PlannedImage, Reason, Repository, Status
from topcoat.process import run
from topcoat.publisher import Publisher
from topcoat.registry import Registries
from topcoat.rpm.inventory import Inventory
from topcoat.runs.cache import DigestCache
from topcoat.runs.execute import PUSH_SLOTS, REGISTRY_SLOTS
from topcoat.runs.known import KnownFiles
from topcoat.runs.references import StoredImage
from topcoat.solver.solver import UpdateRequest, UpdateSolver
from topcoat.transactions import Options, Transactions
from topcoat.yum.repositories import freeze
from topcoat.yum.server import RepositoryServer
from topcoat_demo.rpms import File, RpmSpec, directory, make_repository, script

TAG = "current-passed-ci"


def changed_packages(folder: Path) -> Repository:
    """A repository with a package that is in the base, so that every image is touched, and a library that most services have."""
    modules = tuple(File(f"/usr/lib/python3.11/site-packages/oslo_config/bench_{number}.py", f"value = {number}\n" * 50) for number in range(20))
    packages = [
        RpmSpec("hostname", "99.0", "1.el9", arch="x86_64", files=(script("/usr/bin/hostname", "cat /proc/sys/kernel/hostname"),)),
        RpmSpec("bench-marker", "1.0", files=(directory("/usr/share/bench"), File("/usr/share/bench/marker", "1\n"))),
    ]
    packages[0] = packages[0].bump(files=(*packages[0].files, *modules), requires=("bench-marker",))
    return Repository("changed", make_repository(folder, packages).as_uri(), priority=10)


def ours(tree: Tree, repositories: tuple[Repository, ...], work: Path, prefix: str, threads: int, *, composed: bool = False) -> dict[str, object]:
    """Update and push every image our way; returns seconds, bytes, and where the time went."""
    stages: dict[str, float] = defaultdict(float)
    start = time.monotonic()
    registries = Registries(tree.authfile, tree.ca_file)
    client = registries.client(tree.host)
    publisher = Publisher(registries)
    snapshot = freeze(repositories, work / "frozen")
    solver = UpdateSolver(snapshot, arch="x86_64")
    lines = []
    with ThreadPoolExecutor(REGISTRY_SLOTS) as pool:
        files = pool.map(lambda image: publisher.inventory(f"{tree.host}/{image.repository}", image.digest), tree.images.values())
        inventories = dict(zip(tree.images, map(Inventory.from_files, map(dict, files)), strict=True))
    for name, image in tree.images.items():
        inventory = inventories[name]
        line = PlannedImage(name, Reason.RPM_UPGRADE, "", None, "", image.digest, solver.changes(inventory), image.digest)
        if line.changes:
            lines.append((line, image, solver.request(inventory)))
    stages["plan"] = time.monotonic() - start
    with LayerStore(work / "store") as store, Transactions(snapshot, work / "dnf", options=Options(release="9"), workers=threads) as transactions:
        updater = Updater(store, transactions)
        known = KnownFiles(registries, DigestCache(work / "known"))
        (work / "composed").mkdir()
        synthesiser = Synthesiser(snapshot, transactions, work / "composed")

        def make(line: PlannedImage, image: Published, request: UpdateRequest) -> BuiltImage:
            if composed:
                begun = time.monotonic()
                files = known.of(StoredImage(tree.host, image.repository, image.manifest, image.image))
                stages["read"] += time.monotonic() - begun
                return synthesiser.update(line, image.image, files, base_digest=image.digest, request=request, log=work / f"{line.name}.log")
            return updater.update(
                line,
                image.image,
                base_digest=image.digest,
                client=client,
                repository=image.repository,
                request=request,
                log=work / f"{line.name}.log",
            )

        def publish(context: Context, line: PlannedImage, image: Published) -> None:
            built = context.stage_result("make")
            assert isinstance(built, BuiltImage) and built.layers and built.inventory
            begun = time.monotonic()
            blobs: dict = {layer.digest: ImageRepository(tree.host, image.repository) for layer in image.image.layers}
            blobs |= {layer.digest: layer.path for layer in built.layers}
            published = publisher.publish(f"{tree.host}/{prefix}/{line.name}", built.image, blobs, [TAG])
            publisher.attach_inventory(f"{tree.host}/{prefix}/{line.name}", published.digest, built.inventory.to_files())
            stages["push"] += time.monotonic() - begun
            for name, begin, end in built.stages:
                stages[name] += end - begin

        def task(line: PlannedImage, image: Published, request: UpdateRequest) -> Task:
            return Task(
                line.name,
                frozenset(),
                (
                    Stage("make", "work", lambda _: make(line, image, request)),
                    Stage("publish", "push", lambda context: publish(context, line, image)),
                ),
            )

        results = Engine({"work": threads, "push": PUSH_SLOTS}).run([task(*entry) for entry in lines])
        failed = [f"{name}: {result.error}" for name, result in results.items() if result.status is not Status.DONE]
        assert not failed, failed
    seconds = time.monotonic() - start
    traffic = client.traffic
    registries.close()
    return {
        "seconds": seconds,
        "images": len(lines),
        "stages": {name: round(value, 2) for name, value in stages.items()},
        "blob_bytes_read": traffic.blob_bytes_received,
        "blob_bytes_sent": traffic.blob_bytes_sent,
    }


def plain(tree: Tree, repositories: tuple[Repository, ...], work: Path, prefix: str, threads: int) -> dict[str, object]:
    """Update and push every image with buildah and the image's own dnf."""
    stages: dict[str, float] = defaultdict(float)
    start = time.monotonic()
    snapshot = freeze(repositories, work / "frozen")
    with RepositoryServer(snapshot) as server:
        repos = work / "repos"
        repos.mkdir(parents=True)
        (repos / "bench.repo").write_text(server.repo_file())
        fill(server.repo_file(), work / "cache", release="9")
        buildah = Buildah(work / "buildah", authfile=tree.authfile, certificates=tree.certificates)
        command = buildah.command

        def one(name: str) -> None:
            image = tree.images[name]
            context = work / "contexts" / name
            context.mkdir(parents=True)
            reference = f"{tree.host}/{image.repository}@{image.digest}"
            (context / "Containerfile").write_text(f"FROM {reference}\nUSER root\nRUN dnf -y --setopt=install_weak_deps=False --nodocs update\n")
            begun = time.monotonic()
            buildah.build(
                context, timeout=1800, volumes=[f"{repos}:/etc/yum.repos.d:ro", f"{work / 'cache'}:/var/cache/dnf:O"], log=work / f"{name}.log"
            )
            stages["build"] += time.monotonic() - begun
            begun = time.monotonic()
            identity = (context / ".image-id").read_text().strip()
            access = ["--authfile", tree.authfile, "--cert-dir", tree.certificates]
            run([*command, "push", "--quiet", *access, identity, f"docker://{tree.host}/{prefix}/{name}:{TAG}"], timeout=600)
            stages["push"] += time.monotonic() - begun

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, tree.images))
    return {"seconds": time.monotonic() - start, "images": len(tree.images), "stages": {name: round(value, 2) for name, value in stages.items()}}


def processor_seconds() -> float:
    """Of this process and of every child that ended: what a way costs, however busy the machine is. (The registry's share is in neither.)"""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _traffic(way: str, result: Mapping[str, object]) -> str:
    read, sent = (int(result[key]) / 1e6 for key in ("blob_bytes_read", "blob_bytes_sent"))  # type: ignore[call-overload]
    return f"| {way} | {read:.1f} MB | {sent:.1f} MB |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/topcoat-bench"))
    parser.add_argument("--images", type=int, default=0, help="only the first N images of the tree (0: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    with published_tree(arguments.work / "tree", limit=arguments.images) as tree:
        repositories = (changed_packages(arguments.work / "changed"), *(replace(entry, updates=False) for entry in tree.repositories))
        ways: dict[str, Callable[..., dict[str, object]]] = {"composed": partial(ours, composed=True), "transaction": ours, "plain": plain}
        results: dict[str, list[dict[str, object]]] = {way: [] for way in ways}
        for number in range(arguments.rounds):
            for way in sorted(ways, reverse=bool(number % 2)):
                work = arguments.work / f"{way}-{number}"
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                before = processor_seconds()
                result = ways[way](tree, repositories, work, f"bench-{way}-{number}-{os.getpid()}", arguments.threads)
                results[way].append(result | {"processor_seconds": round(processor_seconds() - before, 2)})
                print(f"round {number + 1} {way}: {results[way][-1]}", file=sys.stderr)
                if way == "plain":
                    Buildah(work / "buildah").clean()
                shutil.rmtree(work, ignore_errors=True)
    medians = {way: statistics.median(float(entry["seconds"]) for entry in entries) for way, entries in results.items()}  # type: ignore[arg-type]
    cost = {way: statistics.median(float(entry["processor_seconds"]) for entry in entries) for way, entries in results.items()}  # type: ignore[arg-type]
    count = int(results["transaction"][0]["images"])  # type: ignore[call-overload]
    report = {
        "benchmark": "update",
        "machine": {"cores": os.cpu_count(), "kernel": platform.release()},
        "threads": arguments.threads,
        "images": count,
        "rounds": results,
        "median_seconds": medians,
        "median_processor_seconds": cost,
        "ratios": {way: round(medians["plain"] / medians[way], 2) for way in ("composed", "transaction")},
    }
    (arguments.work / "update.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = [
        f"| update and push of {count} images, {arguments.threads} threads, median of {arguments.rounds} | seconds | an image | processor seconds |",
        "|---|---|---|---|",
        *(f"| {way} | {medians[way]:.1f} | {medians[way] / count:.2f} | {cost[way]:.1f} |" for way in ("plain", "transaction", "composed")),
        *(f"| plain / {way} | {medians['plain'] / medians[way]:.2f} | | {cost['plain'] / cost[way]:.2f} |" for way in ("transaction", "composed")),
        "",
        "| way | read from the registry | sent to it |",
        "|---|---|---|",
        *(_traffic(way, results[way][0]) for way in ("transaction", "composed")),
    ]
    (arguments.work / "update.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
