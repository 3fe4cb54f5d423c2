"""Sets of images in a real registry, for promotion tests."""

from __future__ import annotations

from tests.functional.registry.base import ProxyCase, make_image, random_bytes
from topcoat.promotion import Place, Promoter, Target
from topcoat.publisher import Publisher

NAMES = ("base", "nova-api", "nova-compute")


class SetCase(ProxyCase):
    """A set of images under two hashes."""

    names = NAMES

    def push_set(self, namespace: str, tag: str, names: tuple[str, ...] = (), seed: str = "") -> dict[str, str]:
        """Push the images of a set with inventories; name -> digest."""
        publisher = Publisher(self.registries())
        digests = {}
        for name in names or self.names:
            image, blobs = make_image(random_bytes("shared", 3000), random_bytes((name, tag, seed), 1000))
            published = publisher.publish(f"{self.server.host}/{namespace}/{name}", image, blobs, [tag])
            publisher.attach_inventory(f"{self.server.host}/{namespace}/{name}", published.digest, {"inventory": name.encode()})
            digests[name] = published.digest
        return digests

    def place(self, namespace: str, host: str = "", names: tuple[str, ...] = ()) -> Place:
        """Where the set lies."""
        return Place(host or self.server.host, namespace, tuple((name, f"{namespace}/{name}") for name in names or self.names))

    def promoter(self, namespace: str, names: tuple[str, ...] = ()) -> Promoter:
        """A promoter that speaks to the registry directly."""
        return Promoter([Target(self.place(namespace, names=names), self.client())])

    def shown(self, namespace: str, tag: str, names: tuple[str, ...] = ()) -> dict[str, str | None]:
        """What the registry shows under a tag, asked directly."""
        client = self.client()
        return {name: client.head(f"{namespace}/{name}", tag) for name in names or self.names}
