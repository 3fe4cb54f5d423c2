"""The demo tree in a registry, built directly from the host, for benchmarks that start from published images.

This module must never build twice what its work folder holds already.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from topcoat import recipes
from topcoat.builder import DirectBuilder
from topcoat.layers import LayerStore
from topcoat.model import ImageRepository, Profile, Recipe, Repository, labels
from topcoat.publisher import Publisher
from topcoat.registry import Manifest, Registries, RegistryClient, digest_of
from topcoat.registry.oci import Image, with_labels
from topcoat.report.graph import ImageGraph
from topcoat.rpm.inventory import Inventory
from topcoat.runs import claims
from topcoat.runs.cache import DigestCache
from topcoat.runs.claims import Sketch
from topcoat.runs.known import KnownFiles
from topcoat.runs.references import StoredImage
from topcoat.runs.steps import SKETCH
from topcoat.transactions import Options, Transactions
from topcoat.yum.repositories import freeze
from topcoat_demo.environment import Environment, prepare

ROOT = Path(__file__).resolve().parents[2] / "container-images"
TAG = "current-passed-ci"


@dataclass(frozen=True)
class Published:
    """One image of the tree."""

    repository: str
    manifest: Manifest
    image: Image

    @property
    def digest(self) -> str:
        return self.manifest.digest


@dataclass
class Tree:
    """The whole tree as published."""

    environment: Environment
    profile: Profile
    recipes: dict[str, Recipe]
    images: dict[str, Published] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.environment.host

    @property
    def authfile(self) -> Path:
        return self.environment.authfile

    @property
    def ca_file(self) -> Path:
        return self.environment.ca_file

    @property
    def certificates(self) -> Path:
        return self.environment.registry.certificates

    @property
    def repositories(self) -> tuple[Repository, ...]:
        return self.profile.repositories


@contextlib.contextmanager
def published_tree(work: Path, *, limit: int = 0) -> Iterator[Tree]:
    """The registry runs inside the ``with``; images that an earlier call published are taken as they are.

    :param limit: only the first so many images, parents first (0: all).
    """

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    environment = prepare(work, say=say)
    registries = Registries(environment.authfile, environment.ca_file)
    try:
        profile = recipes.load_profile("demo", root=ROOT, variables=environment.variables)
        tree = Tree(environment, profile, dict(recipes.apply_profile(recipes.load_tree(ROOT), profile)))
        names = [name for name in ImageGraph(tree.recipes).order if not _external(tree.recipes[name])]
        _build(tree, names[:limit] if limit else names, registries, work, say)
        yield tree
    finally:
        registries.close()
        environment.stop()


def _external(recipe: Recipe) -> bool:
    return recipe.containerfile is not None or bool(recipe.steps)


def _build(tree: Tree, names: list[str], registries: Registries, work: Path, say) -> None:  # type: ignore[no-untyped-def]
    client: RegistryClient = registries.client(tree.host)
    publisher = Publisher(registries)
    missing = []
    for name in names:
        if client.head(f"demo/{name}", TAG) is not None:
            manifest, image = client.image(f"demo/{name}", TAG)
            if labels.INVENTORY in image.labels:  # an earlier bench left images without the documents that composing reads
                tree.images[name] = Published(f"demo/{name}", manifest, image)
                continue
        missing.append(name)
    if not missing:
        return
    say(f"building {len(missing)} images of the tree")
    with freeze(tree.repositories, work / "frozen") as snapshot, LayerStore(work / "store") as store:
        with Transactions(snapshot, work / "dnf", options=Options(release=tree.profile.release)) as transactions:
            builder = DirectBuilder(store, transactions)
            known = KnownFiles(registries, DigestCache(work / "known"))
            for name in missing:
                _publish(tree, name, builder, client, publisher, known, work)


def _publish(tree: Tree, name: str, builder: DirectBuilder, client: RegistryClient, publisher: Publisher, known: KnownFiles, work: Path) -> None:
    recipe = tree.recipes[name]
    if recipe.parent is None:
        repository, digest = "distribution/base", tree.profile.base.digest
        inventory = None
    else:
        parent = tree.images[recipe.parent]
        repository, digest = parent.repository, parent.digest
        inventory = Inventory.from_files(publisher.inventory(f"{tree.host}/{repository}", digest) or {})
    manifest, image = client.image(repository, str(digest))
    built = builder.build(
        recipe,
        profile=tree.profile,
        parent=image,
        client=client,
        repository=repository,
        parent_inventory=inventory,
        labels={},
        log=work / f"{name}.log",
    )
    blobs: dict = {layer.digest: ImageRepository(tree.host, repository) for layer in image.layers}
    blobs |= {layer.digest: layer.path for layer in built.layers}
    assert built.inventory
    files = built.inventory.to_files()
    document = known.sketch(StoredImage(tree.host, repository, manifest, image), built.layers)
    sketch = Sketch(digest_of(document), len(built.image.diff_ids)) if document else None
    claim = claims.claim({name: digest_of(content) for name, content in files.items()}, built.image.diff_ids, sketch)
    published = publisher.publish(f"{tree.host}/demo/{name}", with_labels(built.image, {labels.INVENTORY: claim}), blobs, [TAG])
    publisher.attach_inventory(f"{tree.host}/demo/{name}", published.digest, files | ({SKETCH: document} if document else {}))
    for layer in built.layers:
        layer.path.unlink()
    tree.images[name] = Published(f"demo/{name}", *client.image(f"demo/{name}", published.digest))
