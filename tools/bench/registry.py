"""The registry side: promotion and discovery of 104 images, and a push of images that share a base, beside skopeo on the same registry.

This program must never decide whether a figure is good.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from topcoat.lists import ListedImage, ResolvedList
from topcoat.promotion import Place, Promoter, Request, Target
from topcoat.promotion.discover import Rule, discover
from topcoat.publisher import Publisher
from topcoat.registry import Descriptor, Image, Registries, digest_of, image_manifest
from topcoat.registry.oci import OCI_LAYER_GZIP, OCI_MANIFEST
from topcoat_demo.registry import RegistryServer

_IMAGES = 104
_PUSHED = 30
_BASE_BYTES = 60_000_000
_WORKERS = 8


def make_image(layers: dict[str, bytes | Path], sizes: dict[str, int]) -> Image:
    """An image of these layers, lowest first."""
    config = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": list(layers)}}
    return Image(config, tuple(Descriptor(OCI_LAYER_GZIP, digest, sizes[digest]) for digest in layers))


def timed(work: Callable[[], object]) -> float:
    """Wall seconds."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[RegistryServer]:
    """An empty registry with TLS and a password."""
    with RegistryServer(folder) as server:
        yield server


def clients(server: RegistryServer) -> Registries:
    """Fresh clients: no kept connection, nothing in memory."""
    return Registries(server.authfile, server.ca_file)


class Watch:
    """What a piece of work costs on both sides: wall seconds, processor seconds of ours and of the registry, its requests by kind."""

    def __init__(self, server: RegistryServer) -> None:
        self._server = server
        self.walls: list[float] = []
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.loads: list[float] = []
        self.requests: dict[str, int] = {}

    def run(self, work: Callable[[], object]) -> None:
        """Do it once and write down what it cost."""
        offset = self._server.log.stat().st_size
        self.loads.append(round(os.getloadavg()[0], 1))
        wall, ours, theirs = time.monotonic(), time.process_time(), self._registry_seconds()
        work()
        self.walls.append(time.monotonic() - wall)
        self.ours.append(time.process_time() - ours)
        self.theirs.append(self._registry_seconds() - theirs)
        with self._server.log.open("rb") as log:
            log.seek(offset)
            self.requests = dict(sorted(Counter(_kind(line) for line in log if b" HTTP/1.1" in line).items()))

    def _registry_seconds(self) -> float:
        words = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def figures(self, name: str) -> dict[str, object]:
        """Medians; the load before each round, because another job on the machine changes every wall time."""
        return {
            f"{name}_seconds": round(statistics.median(self.walls), 2),
            f"{name}_seconds_of_each_round": [round(wall, 2) for wall in self.walls],
            f"{name}_load_before_each_round": self.loads,
            f"{name}_processor_seconds": round(statistics.median(self.ours), 2),
            f"{name}_registry_processor_seconds": round(statistics.median(self.theirs), 2),
            f"{name}_requests": self.requests,
        }


def _kind(line: bytes) -> str:
    """A line of the registry's access log as ``verb what``."""
    verb, path = re.search(rb'"([A-Z]+) (\S+) HTTP/1.1"', line).groups()  # type: ignore[union-attr]
    parts = path.decode().partition("?")[0].split("/")
    what, target = (parts[-2], parts[-1]) if len(parts) > 3 else ("", "ping")
    if what == "manifests":
        what = "attached" if target.startswith("sha256-") else "manifest by digest" if ":" in target else "manifest by tag"
    if parts[-3] == "topcoat-promotions":
        what = "record or lock"
    return f"{verb.decode()} {what}"


def promotion(folder: Path, rounds: int) -> dict[str, object]:
    """Two sets of 104 images with six layers each, promoted in turn."""
    with registry(folder / "promotion") as server:
        shared = {digest_of(data): data for data in (random.Random(number).randbytes(40_000) for number in range(5))}
        publisher = Publisher(clients(server))

        def publish(item: tuple[str, int]) -> None:
            tag, number = item
            own = random.Random(f"{tag} {number}").randbytes(8_000)
            blobs: dict[str, bytes | Path] = {**shared, digest_of(own): own}
            image = make_image(blobs, {digest: len(data) for digest, data in blobs.items() if isinstance(data, bytes)})
            name = f"{server.host}/bench/image-{number}"
            published = publisher.publish(name, image, blobs, [tag])
            publisher.attach_inventory(name, published.digest, {"inventory": own[:100]})

        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(publish, [(tag, number) for tag in ("one", "two") for number in range(_IMAGES)]))
        place = Place(server.host, "bench", tuple((f"image-{number}", f"bench/image-{number}") for number in range(_IMAGES)))
        moved, same, looked = Watch(server), Watch(server), Watch(server)
        traffic: dict[str, object] = {}
        listed = ResolvedList("bench", tuple(ListedImage(name, f"{server.host}/{path}:floating") for name, path in place.repositories))
        for number in range(rounds):
            # both directions cost the same: each round moves every tag
            tag = ("one", "two")[number % 2]
            client, again, fresh = clients(server).client(server.host), clients(server).client(server.host), clients(server)
            moved.run(lambda tag=tag, client=client: Promoter([Target(place, client)]).promote(Request(tag, "floating", older=True)))
            same.run(lambda tag=tag, client=again: Promoter([Target(place, client)]).promote(Request(tag, "floating", older=True)))
            looked.run(lambda fresh=fresh: discover(listed, fresh.client, Rule(hashes=True), namespace="bench"))
            traffic = client.traffic.as_dict()
        begin = time.monotonic()
        for number in range(10):
            subprocess.run(
                [
                    "skopeo",
                    "copy",
                    "--quiet",
                    "--preserve-digests",
                    f"--authfile={server.authfile}",
                    *server.skopeo_options("src"),
                    *server.skopeo_options(),
                ]
                + [f"docker://{server.host}/bench/image-{number}:one", f"docker://{server.host}/bench/image-{number}:skopeo"],
                check=True,
            )
        skopeo = (time.monotonic() - begin) / 10
    return {
        "images": _IMAGES,
        **moved.figures("promotion"),
        "promotion_layer_bytes": [traffic["blob_bytes_sent"], traffic["blob_bytes_received"]],
        **same.figures("unchanged"),
        **looked.figures("discover"),
        "skopeo_retag_seconds_an_image": round(skopeo, 3),
        "skopeo_retag_seconds_all": round(skopeo * _IMAGES, 1),
    }


def push(folder: Path) -> dict[str, object]:
    """30 images on one base of 60 MB into an empty registry, by us and by skopeo."""
    base = folder / "base.blob"
    data = random.Random("base").randbytes(_BASE_BYTES)
    base.write_bytes(data)
    digests = {digest_of(data): base}
    images = []
    for number in range(_PUSHED):
        own = random.Random(f"own {number}").randbytes(200_000)
        path = folder / f"own-{number}.blob"
        path.write_bytes(own)
        blobs: dict[str, bytes | Path] = {**digests, digest_of(own): path}
        images.append((make_image(blobs, {digest: Path(str(source)).stat().st_size for digest, source in blobs.items()}), blobs))
    figures: dict[str, object] = {"images": _PUSHED, "base_bytes": _BASE_BYTES}
    with registry(folder / "ours") as server:
        registries = clients(server)
        publisher = Publisher(registries)

        def one(number: int) -> None:
            image, blobs = images[number]
            publisher.publish(f"{server.host}/bench/image-{number}", image, blobs, ["t"])

        def together() -> None:
            with ThreadPoolExecutor(_WORKERS) as pool:
                list(pool.map(one, range(_PUSHED)))

        figures["topcoat_seconds"] = round(timed(together), 2)
        figures["topcoat_bytes_sent"] = registries.client(server.host).traffic.blob_bytes_sent
    layouts = [layout(folder / f"layout-{number}", *images[number]) for number in range(_PUSHED)]
    for label, workers in (("skopeo_serial_seconds", 1), (f"skopeo_{_WORKERS}_parallel_seconds", _WORKERS)):
        with registry(folder / label) as server:

            def copy(number: int, server: RegistryServer = server) -> None:
                target = f"docker://{server.host}/bench/image-{number}:t"
                words = ["skopeo", "copy", "--quiet", "--preserve-digests", f"--authfile={server.authfile}", *server.skopeo_options()]
                subprocess.run([*words, f"oci:{layouts[number]}", target], check=True)

            def everything(workers: int = workers, copy: Callable[[int], None] = copy) -> None:
                with ThreadPoolExecutor(workers) as pool:
                    list(pool.map(copy, range(_PUSHED)))

            figures[label] = round(timed(everything), 2)
    return figures


def layout(folder: Path, image: Image, blobs: dict[str, bytes | Path]) -> Path:
    """The image as an OCI layout, its layers linked."""
    store = folder / "blobs/sha256"
    store.mkdir(parents=True)
    body, config = image_manifest(image)
    for data in (body, config):
        (store / digest_of(data)[7:]).write_bytes(data)
    for digest, path in blobs.items():
        os.link(str(path), store / digest[7:])
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(body), "size": len(body)}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def main() -> int:
    """Measure and print a table; ``--json FILE`` writes the figures too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topcoat-bench-") as scratch:
        figures = {"load_before": round(os.getloadavg()[0], 1), "promotion": promotion(Path(scratch), options.rounds), "push": push(Path(scratch))}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for part in ("promotion", "push"):
        for name, value in figures[part].items():  # type: ignore[attr-defined]
            print(f"{part:10} {name:34} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
