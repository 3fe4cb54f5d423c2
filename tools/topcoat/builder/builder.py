"""Way a: the Containerfile, built by buildah, and its one layer written by us.

This module must never publish, and never let a build read a repository that is not frozen.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from topcoat import containerfile
from topcoat.builder import metadata_cache
from topcoat.builder.buildah import Buildah, StoredImage
from topcoat.builder.compose import compose
from topcoat.layers import BuiltImage, LayerStore, LowerView, write_layer
from topcoat.layers.junk import RPM_DATABASES, is_junk
from topcoat.model import ImageReference, Profile, Recipe
from topcoat.process import Processes
from topcoat.registry.oci import Image
from topcoat.rpm import inventory
from topcoat.rpm.difference import pair
from topcoat.rpm.inventory import Inventory
from topcoat.updater.transaction import Transactions
from topcoat.updater.updater import created

METHOD = "containerfile"
TIMEOUT_SECONDS = 3600.0


class Builder:
    """Builds recipes as Containerfiles. Safe for several threads."""

    def __init__(
        self,
        store: LayerStore,
        transactions: Transactions,
        buildah: Buildah,
        work: Path,
        *,
        repo_file: str,
        release: str = "",
        timeout: float = TIMEOUT_SECONDS,
        processes: Processes | None = None,
    ) -> None:
        """:param work: folder for contexts, the .repo file and the metadata cache; the caller deletes it.

        :param repo_file: text of the .repo file that names every repository a build may see (``RepositoryServer.repo_file()``).
        :param timeout: seconds for one build.
        """
        self._store = store
        self._transactions = transactions
        self._buildah = buildah
        self._work = work.resolve()
        self._timeout = timeout
        self._repositories = self._work / "repos"
        self._repositories.mkdir(parents=True, exist_ok=True)
        (self._repositories / "topcoat.repo").write_text(repo_file)
        self._cache = self._work / "dnf-cache"
        metadata_cache.fill(repo_file, self._cache, release=release, processes=processes)

    def build(
        self,
        recipe: Recipe,
        *,
        profile: Profile,
        parent: Image,
        parent_reference: ImageReference,
        parent_inventory: Inventory | None = None,
        labels: Mapping[str, str],
        log: Path | None = None,
    ) -> BuiltImage:
        """Build one recipe on the published image of its parent.

        :param parent_reference: where it is, with its digest.
        :param parent_inventory: packages of the parent, where known: then the result says what the build changed.
        :param labels: beside the recipe's own.
        :raises ContentError: a step failed. :raises InfrastructureError: registry, disk, timeout.
        """
        stages: list[tuple[str, float, float]] = []
        rendered = containerfile.render(recipe, parent_reference=str(parent_reference), profile=profile, labels=labels)
        with tempfile.TemporaryDirectory(prefix="context-", dir=self._work) as folder:
            context = Path(folder)
            containerfile.write_context(rendered, context)
            start = time.time()
            stored = self._buildah.build(
                context,
                timeout=self._timeout,
                volumes=[f"{self._repositories}:/etc/yum.repos.d:ro", f"{self._cache}:/var/cache/dnf:O"],
                log=log,
                image=recipe.name,
            )
            stages.append(("build", start, time.time()))
            return self._finish(recipe, stored, parent, parent_inventory, context, stages)

    def _finish(
        self,
        recipe: Recipe,
        stored: StoredImage,
        parent: Image,
        before: Inventory | None,
        scratch: Path,
        stages: list[tuple[str, float, float]],
    ) -> BuiltImage:
        start = time.time()
        changed = any((stored.upper / path / "rpmdb.sqlite").is_file() for path in RPM_DATABASES)
        epoch, unowned = created(parent), _compiled(stored.upper)
        if changed:
            (scratch / ".rpm").mkdir()
            newest, unowned = self._transactions.facts(stored.upper, scratch / ".rpm", unowned, image=recipe.name)
            epoch = max(epoch, newest)
        layer = write_layer(
            stored.upper, stored.lower, self._store.archive(), epoch=epoch, drop=lambda path, mode, size: path in unowned or is_junk(path, mode, size)
        )
        stages.append(("layer", start, time.time()))
        start = time.time()
        after = inventory.from_root(stored.upper) if changed else before or _inherited(stored)
        stages.append(("inventory", start, time.time()))
        runtime = stored.config.get("config") or {}
        image = compose(
            parent,
            runtime,  # type: ignore[arg-type]
            layer if layer.entries else None,
            epoch=epoch,
            created_by=f"topcoat build {recipe.name}",
        )
        changes = pair(before.nevras - after.nevras, after.nevras - before.nevras) if before and after else ()
        return BuiltImage(image, layer if layer.entries else None, after, changes, METHOD, tuple(stages))


def _compiled(upper: Path) -> frozenset[str]:
    """Compiled Python modules and their folders: never the same twice when a step's Python writes them, owned where a package wants them."""
    found = set()
    for folder in upper.rglob("__pycache__"):
        found.add(folder.relative_to(upper).as_posix())
        found.update(path.relative_to(upper).as_posix() for path in folder.glob("*.pyc"))
    return frozenset(found)


def _inherited(stored: StoredImage) -> Inventory | None:
    """The packages of the layers below, where the build itself changed none."""
    view = LowerView(stored.lower)
    for path in RPM_DATABASES:
        found = view.entry(f"{path}/rpmdb.sqlite")
        if found is not None:
            return inventory.from_root(Path(found.path.removesuffix(f"/{path}/rpmdb.sqlite")))
    return None
