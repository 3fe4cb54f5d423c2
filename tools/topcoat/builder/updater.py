"""An update by a transaction: a layer of what the packages changed, and a layer of the package database.

This module must never put an update on another one, and never publish.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from topcoat.layers import BuiltImage, Compression, Layer, LayerStore, litter, note_stage, write_layers
from topcoat.layers.leftovers import may_be_owned
from topcoat.layers.store import BlobSource
from topcoat.model import Digest, PackageChange, PlannedImage
from topcoat.model.labels import UPDATE_BASE
from topcoat.model.moments import rfc3339
from topcoat.registry.oci import Image, append_layer
from topcoat.rpm import inventory
from topcoat.solver.solver import UpdateRequest
from topcoat.transactions import Transactions, Wanted, ownership

METHOD = "transaction"
_COMMENT_LIMIT = 400


class Updater:
    """Makes updates with package transactions from the host. Safe for several threads."""

    def __init__(self, store: LayerStore, transactions: Transactions, compression_format: str = Compression.GZIP.value) -> None:
        """:param compression_format: of the profile; an update keeps the image format of its base."""
        self._store = store
        self._transactions = transactions
        self._compression_format = compression_format

    def update(
        self,
        planned: PlannedImage,
        base: Image,
        *,
        base_digest: Digest,
        client: BlobSource,
        repository: str,
        request: UpdateRequest | None = None,
        log: Path | None = None,
    ) -> BuiltImage:
        """Make the layers of the update of one planned image.

        Entrypoint, user, workdir, environment and labels stay as they are; one label is added. Nothing in the result depends on the day.

        :param base: the image that they go on (the reference, or what is below the reference's own update layer).
        :param base_digest: digest of its manifest.
        :param client: where its layers come from, in ``repository``.
        :param request: what the planner asked its solver, to be asked of dnf again; None asks for the plan's own packages.
        :raises ContentError: dnf would do, or rpm did, something else than the plan says; a scriptlet failed; unsatisfiable.
        :raises InfrastructureError: registry, repository, disk, timeout.
        """
        stages: list[tuple[str, float, float]] = []
        start = time.time()
        lower = self._store.ensure(client, repository, base)
        start = began = note_stage(stages, "pull", start)
        epoch = base.seconds
        with self._store.workspace(lower) as space:
            outcome = self._transactions.run(space, wanted_of(planned, request), epoch=epoch, expect=planned.changes, image=planned.name, log=log)
            start = note_stage(stages, "transaction", start)
            if not outcome.changes:
                return BuiltImage(base, (), None, (), METHOD, tuple(stages))
            unowned = litter(space.upper)
            if any(map(may_be_owned, unowned)):
                _, unowned = ownership.ask(self._transactions, space.upper, space.lower, unowned, space.directory, image=planned.name)
            layers = write_layers(
                space.upper,
                space.lower,
                self._store.archive,
                epoch=epoch,
                dates=outcome.dates,
                since=began,
                drop=lambda path, mode, size: path in unowned,
                compression=Compression.wanted(self._compression_format, docker=base.is_docker),
            )
            start = note_stage(stages, "layer", start)
            found = inventory.from_root(space.upper, below=space.lower)
            note_stage(stages, "inventory", start)
        image = stacked(base, base_digest, layers, max(epoch, outcome.built), outcome.changes)
        return BuiltImage(image, layers, found, outcome.changes, METHOD, tuple(stages))


def wanted_of(planned: PlannedImage, request: UpdateRequest | None) -> Wanted:
    """What dnf is asked for, so that it does what the plan says; None asks for the plan's own packages."""
    origin = {change.new: change.repository for change in planned.changes if change.new}
    if request is None:
        return Wanted(
            install=tuple((change.new, change.repository) for change in planned.changes if change.new and change.new != change.old),
            reinstall=tuple((change.new, change.repository) for change in planned.changes if change.new and change.new == change.old),
        )
    return Wanted(
        upgrade=request.upgrade,
        install=tuple((nevra, origin.get(nevra)) for nevra in request.install),
        reinstall=tuple((nevra, origin.get(nevra)) for nevra in request.reinstall),
    )


def stacked(base: Image, base_digest: Digest, layers: Sequence[Layer], moment: int, changes: tuple[PackageChange, ...]) -> Image:
    """The image with the layers of an update on it; the last is the package database.

    :param moment: of its creation, seconds since 1970.
    """
    image = base
    for layer in layers:
        last = layer is layers[-1]
        image = append_layer(
            image,
            layer.descriptor,
            layer.diff_id,
            created_by="topcoat update: package database" if last else "topcoat update",
            comment=comment_of(changes) if layer is layers[0] else "",
            created=rfc3339(moment),
            labels={UPDATE_BASE: base_digest},
        )
    return image


def comment_of(changes: tuple[PackageChange, ...]) -> str:
    """The changes as a text of bounded length, for an image's history."""
    text = ", ".join(str(change) for change in changes)
    return text if len(text) <= _COMMENT_LIMIT else f"{text[:_COMMENT_LIMIT]} ... ({len(changes)} packages)"
