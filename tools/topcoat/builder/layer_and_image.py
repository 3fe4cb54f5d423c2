"""From what a build changed to the image: the layers, the inventory and the configuration, the same for both ways of building.

This module must never look at how the change was made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from topcoat.builder.configuration import compose, manifest_type
from topcoat.layers import BuiltImage, Compression, LayerStore, litter, note_stage, write_layers
from topcoat.model import Recipe
from topcoat.model.profile import Profile
from topcoat.registry.oci import DOCKER_MANIFEST, Image
from topcoat.rpm import inventory, rpmdb
from topcoat.rpm.difference import pair
from topcoat.rpm.inventory import Inventory
from topcoat.transactions import Transactions, ownership


def finish(
    store: LayerStore,
    transactions: Transactions,
    recipe: Recipe,
    *,
    upper: Path,
    lower: tuple[Path, ...],
    runtime: Mapping[str, object],
    parent: Image,
    parent_inventory: Inventory | None,
    method: str,
    profile: Profile,
    stages: list[tuple[str, float, float]],
) -> BuiltImage:
    """Write the layers and put the image together.

    :param upper: what the build changed over ``lower`` (topmost first).
    :param runtime: the ``config`` section of the image.
    :param profile: its formats of images and of layers.
    :param stages: what took time until here.
    """
    start = time.time()
    changed = any((upper / path.lstrip("/")).is_file() for path in rpmdb.PATHS)
    epoch = parent.seconds
    facts, unowned = ownership.ask(transactions, upper, lower, _compiled(upper) | litter(upper), store.directory / "tmp", image=recipe.name)
    since = min((began for _, began, _ in stages), default=start)
    compression = Compression.wanted(profile.compression_format, docker=manifest_type(profile.image_format, runtime) == DOCKER_MANIFEST)
    layers = write_layers(
        upper,
        lower,
        store.archive,
        epoch=epoch,
        dates=facts.dates,
        since=since,
        drop=lambda path, mode, size: path in unowned,
        compression=compression,
    )
    if changed:
        epoch = max(epoch, facts.built)
    start = note_stage(stages, "layer", start)
    after = _packages(upper, lower, parent_inventory, changed=changed)
    note_stage(stages, "inventory", start)
    image = compose(parent, runtime, layers, epoch=epoch, created_by=f"topcoat build {recipe.name}", image_format=profile.image_format)
    known = parent_inventory is not None and after is not None
    changes = pair(parent_inventory.nevras - after.nevras, after.nevras - parent_inventory.nevras) if known else ()  # type: ignore[union-attr]
    return BuiltImage(image, layers, after, changes, method, tuple(stages))


def _compiled(upper: Path) -> frozenset[str]:
    """Compiled Python modules and their folders: never the same twice when a step's Python writes them, owned where a package wants them."""
    found = set()
    for folder in upper.rglob("__pycache__"):
        found.add(folder.relative_to(upper).as_posix())
        found.update(path.relative_to(upper).as_posix() for path in folder.glob("*.pyc"))
    return frozenset(found)


def _packages(upper: Path, lower: tuple[Path, ...], parent: Inventory | None, *, changed: bool) -> Inventory | None:
    """The inventory of the result: also a build that installs nothing may change what the image tells dnf."""
    if changed:
        return inventory.from_root(upper, below=lower)
    found = parent or _inherited(upper, lower)
    return inventory.with_settings_of(found, (upper, *lower)) if found is not None else None


def _inherited(upper: Path, lower: tuple[Path, ...]) -> Inventory | None:
    """The packages of the layers below, where the build itself changed none."""
    root = ownership.database_root(upper, lower)
    return inventory.from_root(root) if root is not None else None
