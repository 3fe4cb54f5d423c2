"""The two ways of making an image on this host, set up when the first image needs them.

This module must never be needed for a run that only re-tags.
"""

from __future__ import annotations

import functools
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from topcoat.layers import BuiltImage, LayerStore
from topcoat.model import PlannedImage, Recipe
from topcoat.process import Processes
from topcoat.registry import Registries
from topcoat.runs.planning import Decision
from topcoat.runs.references import StoredImage
from topcoat.updater import Options, Transactions, Updater, Wanted


class HostMaker:
    """Makes images on this machine; a context manager, because it owns worker processes and mounts."""

    def __init__(self, decision: Decision, *, work: Path, registries: Registries, processes: Processes, workers: int = 0, way: str = "auto") -> None:
        self._decision = decision
        self._work = work
        self._registries = registries
        self._processes = processes
        self._workers = workers or os.cpu_count() or 1
        self._way = way
        self._stack = ExitStack()
        self._lock = threading.RLock()
        self._solver_lock = threading.Lock()

    def __enter__(self) -> HostMaker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _once(self, name: str, make):  # type: ignore[no-untyped-def]
        with self._lock:
            if name not in self.__dict__:
                self.__dict__[name] = self._stack.enter_context(make())
            return self.__dict__[name]

    @property
    def _store(self) -> LayerStore:
        return self._once("_layer_store", lambda: LayerStore(self._work / "layers"))

    @property
    def _transactions(self) -> Transactions:
        profile = self._decision.request.profile
        options = Options(arch=profile.arch, release=profile.release)
        make = functools.partial(
            Transactions, self._decision.snapshot, self._work / "dnf", options=options, workers=self._workers, processes=self._processes
        )
        return self._once("_transaction_pool", make)

    def update(self, planned: PlannedImage, base: StoredImage, log: Path) -> BuiltImage:
        """An update layer on a published image, by a transaction from the host."""
        reference = self._decision.references[planned.name]
        assert reference is not None
        with self._solver_lock:
            request = self._decision.solver.request(reference.base_inventory)
        wanted = Wanted(upgrade=request.upgrade, install=tuple((nevra, None) for nevra in (*request.install, *request.reinstall)))
        updater = Updater(self._store, self._transactions)
        return updater.update(
            planned,
            base.image,
            base_digest=base.digest,
            client=self._registries.client(base.host),
            repository=base.repository,
            wanted=wanted,
            log=log,
        )

    def build(self, planned: PlannedImage, recipe: Recipe, parent: StoredImage, parent_name: str | None, log: Path) -> BuiltImage:
        """A new image on its parent's published manifest."""
        raise NotImplementedError
