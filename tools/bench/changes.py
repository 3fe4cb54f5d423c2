"""How long it takes to say how two sets differ: 100 images of 3,000 packages each, from tags and from promotion records, nothing kept from before.

This program must never pull a layer or need root: images are a layer of a few bytes and the inventory that a run would have attached.

Every figure is the median of five whole calls of ``topcoat changes --changelog`` with an empty work folder, the start of Python and the registry's
TLS included. Each image holds 2,700 packages that all have, 300 of its own share, and in the second set 60 source packages in a new version.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import solv
from bench_figures import tell

from topcoat.model import Digest, Nevra, beside, labels
from topcoat.publisher import Publisher, changelogs
from topcoat.registry import Descriptor, Image, Registries, digest_of
from topcoat.registry.oci import OCI_LAYER_GZIP
from topcoat.rpm import inventory, solvfile
from topcoat.rpm.changelogs import ChangelogEntry, pack
from topcoat.rpm.inventory import InstalledPackage, PackageDetails
from topcoat.runs import claims
from topcoat_demo.registry import RegistryServer

RUNS = 5
MOVED = 60
PLACE = "site"


def packages(chosen: range, own: list[int], version: int) -> tuple[InstalledPackage, ...]:
    """The packages of one image, as a distribution has them: two binary packages a source package."""
    found = []
    for number in (*chosen, *own):
        name, moved = f"python3-library{number:05d}", number < 2 * MOVED
        release = f"{version if moved else 1}.el9"
        source = f"python-library{number // 2:05d}-1.2.3-{release}.src.rpm"
        about = PackageDetails("Apache-2.0", "A Distribution", f"{number:064x}")
        found.append(InstalledPackage(Nevra(name, 0, "1.2.3", release, "noarch"), source, 1000, 1_700_000_000, "199e2f91fd431d51", about))
    return tuple(sorted(found))


def image_of(held: tuple[InstalledPackage, ...], seed: str, bundle: Digest) -> tuple[Image, dict[Digest, bytes]]:
    """An image with the claim of its inventory, and every blob of both."""
    pool = solvfile.new_pool("x86_64")
    repo = pool.add_repo("installed")
    for package in held[:20]:  # what the solver reads is not asked for here
        solvable = repo.add_solvable()
        solvable.name, solvable.evr, solvable.arch = package.nevra.name, "1.2.3-1.el9", "noarch"
        solvable.add_provides(pool.rel2id(pool.str2id(package.nevra.name), pool.str2id("1.2.3-1.el9"), solv.REL_EQ))
    repo.internalize()
    made = inventory.assemble(held, solvfile.to_bytes(repo), "/var/lib/rpm/rpmdb.sqlite")
    made = inventory.replace(made, changelog_bundles={package.source_rpm: bundle for package in held})
    files, layer = made.to_files(), seed.encode()
    blobs = {digest_of(content): content for content in (*files.values(), layer)}
    claim = claims.claim({name: digest_of(content) for name, content in files.items()}, [digest_of(layer)])
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {labels.INVENTORY: claim}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
    }
    return Image(config, (Descriptor(OCI_LAYER_GZIP, digest_of(layer), len(layer)),)), blobs


def publish(server: RegistryServer, images: int, count: int) -> None:
    """Two sets, ``one`` and ``two``."""
    chooser, registries = random.Random(1), Registries(server.authfile, server.ca_file)
    client, publisher = registries.client(server.host), Publisher(registries)
    common = range(count * 9 // 10)
    own = {number: chooser.sample(range(count, count + count // 2), count - len(common)) for number in range(images)}
    for version, tag in ((1, "one"), (2, "two")):
        entries = [
            ChangelogEntry(1_700_000_000 + day * 86400, "An Author <a@example.org>", f"- {day}: mend CVE-2024-1000{day}")
            for day in range(version, 0, -1)
        ]
        known = {package.source_rpm: entries for package in packages(range(count + count // 2), [], version)}
        bundle = pack(known)
        changelogs.write(client, f"{PLACE}/{beside.CHANGELOGS}", bundle)
        for number in range(images):
            held = packages(common, own[number], version)
            image, blobs = image_of(held, f"{number} {tag}", digest_of(bundle))
            name = f"{server.host}/{PLACE}/image-{number:03d}"
            publisher.publish(name, image, {image.layers[0].digest: blobs[image.layers[0].digest]}, [tag])
            for digest, content in blobs.items():
                client.put_blob(f"{PLACE}/image-{number:03d}", digest, content)
    registries.close()


def tree(folder: Path, server: RegistryServer, images: int) -> list[str]:
    """A recipe tree and a profile; the words of a call that uses them."""
    (folder / "tree/openstack").mkdir(parents=True)
    recipes = [f"image-{number:03d}: {{ from: profile, packages: [basetool] }}" for number in range(images)]
    (folder / "tree/openstack/all.yaml").write_text("\n".join(recipes) + "\n")
    (folder / "tree/profile.yaml").write_text(
        f"distro: demo\nrelease: '9'\narch: x86_64\nbase: {{ image: {server.host}/x/y:z }}\nregistry: '{server.host}'\nnamespace: {PLACE}\n"
        f"repositories: [{{ id: base, baseurl: 'file:///x' }}]\nreference_tag: current-passed-ci\n"
        "links: [{ match: 'CVE-\\d{4}-\\d{4,}', url: 'https://cve.example.org/{0}' }]\n"
    )
    words = ["--recipes", str(folder / "tree"), "--profile", str(folder / "tree/profile.yaml")]
    return [*words, "--authfile", str(server.authfile), "--ca-file", str(server.ca_file)]


def calls(folder: Path, words: list[str], before: str, after: str) -> Iterator[tuple[float, float]]:
    """(seconds, processor seconds) of each call."""
    for number in range(RUNS):
        work = folder / f"work-{before}-{number}"
        command = [sys.executable, "-m", "topcoat", *words, "--work-dir", str(work), "changes", before, after, "--changelog", "--format", "json"]
        start, busy = time.perf_counter(), os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, used = time.perf_counter() - start, os.times()
        shape = json.loads(done.stdout)
        assert len(shape["packages"]) == MOVED, len(shape["packages"])
        assert shape["packages"][0]["changelog"], "no changelog"
        yield seconds, used.children_user + used.children_system - busy.children_user - busy.children_system


def measure(images: int, count: int) -> dict[str, object]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="topcoat-bench-") as temporary, RegistryServer(Path(temporary) / "registry") as server:
        folder = Path(temporary)
        publish(server, images, count)
        words = tree(folder, server, images)
        for tag in ("one", "two"):
            command = [sys.executable, "-m", "topcoat", *words, "--work-dir", str(folder / "promote"), "promote", "--from", tag]
            subprocess.run([*command, "--without-inventories"], stdout=subprocess.DEVNULL, check=True)
        result: dict[str, object] = {"images": images, "packages_an_image": count, "load_before": os.getloadavg()[0]}
        for name, before, after in (("tags", "one", "two"), ("records", "current-passed-ci.previous", "current-passed-ci")):
            rows = list(calls(folder, words, before, after))
            result[name] = {"median_seconds": round(statistics.median(row[0] for row in rows), 2), "seconds": [round(row[0], 2) for row in rows]}
            result[name]["processor_seconds"] = round(statistics.median(row[1] for row in rows), 2)  # type: ignore[index]
        result["load_after"] = os.getloadavg()[0]
    return result


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--packages", type=int, default=3000)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    tell(measure(options.images, options.packages), options.json)


if __name__ == "__main__":
    main()
