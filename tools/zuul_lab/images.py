"""What the jobs meet outside Zuul: the demo distribution over HTTP, and the site's registry with images that passed before.

This module must never make a package or an image itself: the demo distribution and the ``topcoat`` command do.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from topcoat.errors import InfrastructureError
from topcoat.process import run
from topcoat_demo.distribution import Distribution, shared
from topcoat_demo.registry import configuration_of
from zuul_lab import layout as at
from zuul_lab.layout import Places
from zuul_lab.services import port_answers, start, wait_until

REGISTRY = f"{at.IMAGES_HOST}:{at.IMAGES_HTTPS}"
PACKAGES = f"http://{at.PACKAGES_HOST}:{at.PACKAGES_HTTP}"
BASE = "distribution/base"
BASE_TAG = "9"
NAMESPACE = "demo"
TAG = "current-passed-ci"
# Three leaves of OpenStack and one of infra with their parents: enough to see every kind of action, few enough to be quick.
PATTERNS = ("^keystone$", "^nova-(api|compute)$", "^memcached$")
_ROOMS = ("builder", "containerfile", "layers", "model", "publisher", "recipes", "rpm", "transactions")


def serve(places: Places) -> None:
    """Start both servers, with the images that were built before; build them first when the cache has none (about 45 s)."""
    made = shared()
    root = places.state / "packages"
    root.mkdir()
    for entry in made.repositories.iterdir():
        (root / entry.name).symlink_to(entry)
    serve_packages(places)
    kept = places.cache / "images" / _key(places, made)
    storage = places.state / "images"
    if kept.is_dir():
        _copy(kept, storage)
    start_registry(places)
    if not kept.is_dir():
        _push_base(places, made)
        _seed(places, made)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        _copy(storage, partial)
        for old in partial.parent.iterdir():
            if old != partial:
                shutil.rmtree(old)
        partial.rename(kept)


def _copy(source: Path, target: Path) -> None:
    """A copy that shares the blobs: the registry never writes into a file it has."""
    run(["cp", "--archive", "--link", source, target], timeout=300, failure=InfrastructureError)
    # Links to manifests are rewritten in place when a tag moves, so these are copied for real.
    for folder in target.rglob("_manifests"):
        shutil.copytree(folder, folder.with_name("_manifests.copy"))
        shutil.rmtree(folder)
        folder.with_name("_manifests.copy").rename(folder)


def _key(places: Places, made: Distribution) -> str:
    """Changes with the distribution, the recipes and the rooms that make images: then the kept images are not what would be made now."""
    mark = hashlib.sha256((made.directory / "distribution.json").read_bytes())
    mark.update(json.dumps(PATTERNS).encode())
    folders = ["container-images", *(f"tools/topcoat/{room}" for room in _ROOMS)]
    for path in sorted(path for folder in folders for path in (places.repository / folder).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            mark.update(str(path.relative_to(places.repository)).encode() + path.read_bytes())
    return mark.hexdigest()[:24]


def serve_packages(places: Places) -> None:
    """One tree that jobs read: the folder ``packages`` of the state, which is there; a scenario moves it on."""
    root = places.state / "packages"
    argv = [sys.executable, "-m", "http.server", str(at.PACKAGES_HTTP), "--bind", at.GATEWAY, "--directory", root]
    service = start(places, "packages", argv)
    wait_until("the package server answers", lambda: port_answers(at.PACKAGES_HTTP, at.GATEWAY), service=service)


def advance(places: Places) -> None:
    """The newest builds pass: from now on ``current-passed-ci`` holds what ``current`` does, newer packages of nova and oslo.log among them."""
    fresh = places.state / "packages/.next"
    fresh.symlink_to(shared().current)
    fresh.replace(places.state / "packages/current-passed-ci")


def start_registry(places: Places) -> None:
    """The site's registry: TLS of the lab's CA, no password, on the nodes' side of the bridge."""
    tls = places.etc / "tls"
    address = f"{at.GATEWAY}:{at.IMAGES_HTTPS}"
    configuration = configuration_of(places.state / "images", address, tls=(tls / "server.pem", tls / "server.key"))
    path = places.etc / "registry.yaml"
    path.write_text(json.dumps(configuration, indent=1))
    service = start(places, "site-registry", ["docker-registry", "serve", path])
    wait_until("the site's registry answers", lambda: port_answers(at.IMAGES_HTTPS, at.GATEWAY), service=service)


def _push_base(places: Places, made: Distribution) -> None:
    base = made.real or made.tiny
    certificates = places.etc / "tls/certs.d"
    certificates.mkdir(exist_ok=True)
    shutil.copy(places.etc / "tls/ca.pem", certificates / "ca.crt")
    argv = ["skopeo", "copy", "--quiet", f"--dest-cert-dir={certificates}", f"oci:{base.directory}", f"docker://{REGISTRY}/{BASE}:{BASE_TAG}"]
    run(argv, timeout=300, log=places.logs / "seed.log", failure=InfrastructureError)


def profile_values() -> dict[str, str]:
    """The variables of profile ``demo`` in this lab."""
    made = shared()
    return {
        "registry": REGISTRY,
        "namespace": NAMESPACE,
        "base_image": f"{REGISTRY}/{BASE}:{BASE_TAG}",
        "base_digest": (made.real or made.tiny).digest,
        "repositories": PACKAGES,
    }


def topcoat(places: Places, *words: str) -> list[str]:
    """Command line of the tool as a person in the lab would type it."""
    options = [f"--set={name}={value}" for name, value in profile_values().items()]
    recipes = places.repository / "container-images"
    head = [str(Path(sys.executable).with_name("topcoat")), "--profile=demo", f"--recipes={recipes}", f"--ca-file={places.etc}/tls/ca.pem"]
    return [*head, f"--work-dir={places.state}/topcoat", "--progress=plain", *options, *words]


def _seed(places: Places, made: Distribution) -> None:
    """Build the images that passed before, and name them so."""
    log = places.logs / "seed.log"
    argv = topcoat(places, "build", "--tag=seed", f"--floating-tag={TAG}", f"--logs-dir={places.logs}/seed", *PATTERNS)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=places.repository)
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise InfrastructureError(f"the images of before could not be built: {last}", log=str(log), retriable=False)
