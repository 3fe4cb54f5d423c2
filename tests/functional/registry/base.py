"""What the functional tests of registries share: a real server, a client, small images."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
import unittest
from pathlib import Path

from tests.functional.registry.faults import FaultProxy, Rule
from tests.needs import need
from topcoat.publisher import Publisher
from topcoat.registry import Credentials, Descriptor, Image, Limits, Registries, RegistryClient, digest_of
from topcoat.registry.oci import OCI_LAYER_GZIP
from topcoat_demo.registry import RegistryServer

QUICK = Limits(first_wait=0.01, longest_wait=0.05, operation_seconds=20, blob_seconds=20, read_timeout=5)


def random_bytes(seed: object, size: int) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(hashlib.sha256(repr(seed).encode()).digest()).randbytes(size)


def make_image(*layers: bytes, labels: dict[str, str] | None = None, architecture: str = "amd64") -> tuple[Image, dict[str, bytes]]:
    """An image of these layers, and its blobs."""
    config = {
        "os": "linux",
        "architecture": architecture,
        "config": {"Labels": labels or {}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    descriptors = tuple(Descriptor(OCI_LAYER_GZIP, digest_of(layer), len(layer)) for layer in layers)
    return Image(config, descriptors), {digest_of(layer): layer for layer in layers}


def publisher_over(client: RegistryClient) -> Publisher:
    """A publisher that has this client for every host."""

    class One:
        def client(self, _host: str) -> RegistryClient:
            return client

    return Publisher(One())


class RegistryCase(unittest.TestCase):
    """One real registry per class; subclasses choose its options."""

    TLS = True
    OPTIONS: dict = {}

    @classmethod
    def setUpClass(cls) -> None:
        need("docker-registry")
        cls.folder = Path(tempfile.mkdtemp(prefix="topcoat-test-registry-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = cls.enterClassContext(RegistryServer(cls.folder / "registry", tls=cls.TLS, options=cls.OPTIONS))

    def client(self, **options: object) -> RegistryClient:
        """A client with the right password and CA."""
        options.setdefault("limits", QUICK)
        credentials = Credentials.from_authfile(self.server.authfile)
        client = RegistryClient(self.server.host, credentials, self.server.ca_file, plain_http=not self.TLS, **options)
        self.addCleanup(client.close)
        return client

    def registries(self, **options: object) -> Registries:
        """Clients by host."""
        options.setdefault("limits", QUICK)
        registries = Registries(self.server.authfile, self.server.ca_file, plain_http_hosts=() if self.TLS else (self.server.host,), **options)
        self.addCleanup(registries.close)
        return registries

    def publish(self, repository: str, *layers: bytes, tags: tuple[str, ...] = ("one",), labels: dict[str, str] | None = None) -> str:
        """Push a small image; its digest."""
        image, blobs = make_image(*(layers or (random_bytes(repository, 2000),)), labels=labels)
        return Publisher(self.registries()).publish(f"{self.server.host}/{repository}", image, blobs, tags).digest


class ProxyCase(RegistryCase):
    """A registry without TLS behind a proxy with TLS that spoils requests."""

    TLS = False

    def proxy(self, rule: Rule | None = None) -> FaultProxy:
        """A running proxy, stopped with the test."""
        return self.enterContext(FaultProxy(self.server.host, self.folder, rule))

    def proxied(self, proxy: FaultProxy, limits: Limits = QUICK) -> Registries:
        """Clients that reach the registry through the proxy, with the same password."""
        registries = Registries(self.proxied_authfile(proxy), proxy.ca_file, limits=limits)
        self.addCleanup(registries.close)
        return registries

    def proxied_authfile(self, proxy: FaultProxy) -> Path:
        """The registry's auth file under the proxy's name."""
        authfile = self.folder / f"auth-{proxy.host.rpartition(':')[2]}.json"
        text = self.server.authfile.read_text().replace(self.server.host, proxy.host)
        authfile.touch(mode=0o600)
        authfile.write_text(text)
        return authfile
