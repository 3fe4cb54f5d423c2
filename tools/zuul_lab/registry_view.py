"""Look into registries from outside: which digest a tag has, which packages an image holds. Nothing of the product is used for it.

This module must never trust what a job said; it reads the registry's own files over the registry's own protocol.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from topcoat.errors import InfrastructureError
from topcoat.process import run
from topcoat_demo.registry import configuration_of
from zuul_lab.images import REGISTRY
from zuul_lab.layout import Places
from zuul_lab.services import Service, port_answers, start, wait_until

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_TYPES = ", ".join([*_INDEXES, "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"])
_PORT = 5999
_DATABASES = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite")


class Stored:
    """Read-only view of one registry.

    :param base: ``http(s)://host:port``.
    :param ca: certificate of its CA, None for plain HTTP.
    """

    def __init__(self, base: str, ca: Path | None = None) -> None:
        self._http = httpx.Client(base_url=f"{base}/v2", timeout=120, verify=str(ca) if ca else True)

    def manifest(self, repository: str, target: str) -> tuple[str, dict[str, object]]:
        """Digest and content of a manifest.

        :raises InfrastructureError: the registry has none.
        """
        answer = self._http.get(f"/{repository}/manifests/{target}", headers={"Accept": _TYPES})
        if answer.status_code != 200:
            raise InfrastructureError(f"the registry answers {answer.status_code} for {repository}:{target}", retriable=False)
        return answer.headers["Docker-Content-Digest"], answer.json()

    def digest(self, repository: str, target: str) -> str:
        """Digest of a manifest, empty when there is none."""
        answer = self._http.head(f"/{repository}/manifests/{target}", headers={"Accept": _TYPES})
        return answer.headers["Docker-Content-Digest"] if answer.status_code == 200 else ""

    def tags(self, repository: str) -> list[str]:
        """Every tag of a repository; none when there is no such repository."""
        answer = self._http.get(f"/{repository}/tags/list")
        return list(answer.json()["tags"] or []) if answer.status_code == 200 else []

    def children(self, repository: str, target: str) -> dict[str, str]:
        """Architecture → digest of the images of an index, in its order."""
        entries = self.manifest(repository, target)[1]["manifests"]
        assert isinstance(entries, list)
        return {entry["platform"]["architecture"]: entry["digest"] for entry in entries}

    def labels(self, repository: str, target: str) -> dict[str, str]:
        """The labels in an image's configuration."""
        config = self.manifest(repository, target)[1]["config"]
        assert isinstance(config, dict)
        answer = self._http.get(f"/{repository}/blobs/{config['digest']}", follow_redirects=True)
        return dict(answer.json().get("config", {}).get("Labels") or {})

    def layers(self, repository: str, target: str) -> list[str]:
        """Digests of the layers, base first."""
        layers = self.manifest(repository, target)[1]["layers"]
        assert isinstance(layers, list)
        return [layer["digest"] for layer in layers]

    def packages(self, repository: str, target: str) -> set[str]:
        """``name-version-release`` of every installed package, as the host's rpm reads the newest database in the layers."""
        with tempfile.TemporaryDirectory(prefix="topcoat-lab-") as folder:
            for layer in reversed(self.layers(repository, target)):
                if self._database_of(repository, layer, Path(folder)):
                    listed = run(["rpm", "--dbpath", folder, "-qa", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}\\n"], timeout=60)
                    return set(listed.output.split())
        raise InfrastructureError(f"no layer of {repository}@{target} holds an rpm database", retriable=False)

    def _database_of(self, repository: str, layer: str, folder: Path) -> bool:
        packed = folder / "layer"
        with self._http.stream("GET", f"/{repository}/blobs/{layer}", follow_redirects=True) as answer, packed.open("wb") as sink:
            for part in answer.iter_bytes():
                sink.write(part)
        with tarfile.open(packed) as archive:
            for member in archive:
                if member.isfile() and member.name.removeprefix("./") in _DATABASES:
                    content = archive.extractfile(member)
                    assert content
                    (folder / "rpmdb.sqlite").write_bytes(content.read())
                    return True
        return False


def without_epoch(package: str) -> str:
    """``name-1:2-3`` as ``name-2-3``."""
    head, version, release = package.rsplit("-", 2)
    return f"{head}-{version.rpartition(':')[2]}-{release}"


def site(places: Places) -> Stored:
    """The site's registry."""
    return Stored(f"https://{REGISTRY}", places.etc / "tls/ca.pem")


@contextmanager
def buildset_registry(places: Places, address: str) -> Iterator[Stored]:
    """The storage that a buildset's registry left on its node, served once more without password.

    :param address: of the node, as the artifacts name it.
    """
    number = int(address.rpartition(".")[2]) - 10
    storage = places.node_home(number) / "topcoat/registry/storage"
    configuration = configuration_of(storage, f"127.0.0.1:{_PORT}", readonly=True)
    path = places.etc / "stored.yaml"
    path.write_text(json.dumps(configuration))
    service = start(places, "stored-registry", ["docker-registry", "serve", path])
    try:
        wait_until("the kept storage is served", lambda: port_answers(_PORT), service=service)
        yield Stored(f"http://127.0.0.1:{_PORT}")
    finally:
        _end(service)


def _end(service: Service) -> None:
    run(["kill", str(service.pid)], timeout=10, check=False)
    wait_until("it has ended", lambda: not port_answers(_PORT))
