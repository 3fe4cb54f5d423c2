"""The ways of making an image on this host, set up when the first image needs them.

This module must never be needed for a run that only re-tags.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from topcoat import containerfile
from topcoat.builder import Buildah, Builder, Synthesiser, Updater
from topcoat.builder.direct import DirectBuilder, refusal
from topcoat.errors import ContentError
from topcoat.layers import BuiltImage, LayerStore, note_stage
from topcoat.model import PlannedImage, Recipe, RunOptions
from topcoat.process import Processes
from topcoat.process.network import PrivateNetwork
from topcoat.registry import Registries
from topcoat.rpm.inventory import Inventory
from topcoat.runs.known import KnownFiles
from topcoat.runs.planning import Decision
from topcoat.runs.references import StoredImage
from topcoat.solver.solver import UpdateRequest
from topcoat.synthesis import Refusal
from topcoat.transactions import Options, Transactions
from topcoat.yum.server import RepositoryServer

_Made = TypeVar("_Made")


def _certificates(ca_file: Path | None, work: Path) -> Path | None:
    """A folder that holds the certificate authority alone, as containers-certs.d(5) wants it."""
    if ca_file is None:
        return None
    folder = work / "certs"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ca_file, folder / "ca.crt")
    return folder


class HostMaker:
    """Makes images on this machine; a context manager, because it owns worker processes and mounts."""

    def __init__(self, decision: Decision, options: RunOptions, *, registries: Registries, known: KnownFiles, processes: Processes) -> None:
        self._decision = decision
        self._options = options
        self._work = options.work
        self._registries = registries
        self._known = known
        self._processes = processes
        self._workers = options.workers or os.cpu_count() or 1
        self._stack = ExitStack()
        self._lock = threading.RLock()
        self._solver_lock = threading.Lock()

    def __enter__(self) -> HostMaker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _once(self, name: str, make: Callable[[], AbstractContextManager[_Made]]) -> _Made:
        with self._lock:
            if name not in self.__dict__:
                self.__dict__[name] = self._stack.enter_context(make())
            made: _Made = self.__dict__[name]
            return made

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

    @property
    def _compression_format(self) -> str:
        return self._decision.request.profile.compression_format

    @property
    def _synthesiser(self) -> Synthesiser:
        def make() -> AbstractContextManager[Synthesiser]:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="composed-", dir=self._work / "tmp"))
            return nullcontext(Synthesiser(self._decision.snapshot, self._transactions, Path(folder), self._compression_format))

        return self._once("_update_composer", make)

    def update(self, planned: PlannedImage, base: StoredImage, log: Path) -> BuiltImage:
        """An update on a published image: composed where the run may and it is proven to be the same, else by a transaction from the host."""
        reference = self._decision.references[planned.name]
        assert reference is not None
        with self._solver_lock:
            request = self._decision.solver.request(reference.base_inventory)
        if self._options.update_way == "transaction":
            return self._transact(planned, base, request, log)
        try:
            known = self._known.of(base)
            return self._synthesiser.update(planned, base.image, known, base_digest=base.digest, request=request, log=log)
        except (Refusal, ContentError) as refused:
            # What the composing cannot read, or sees otherwise than the plan, is no verdict on the image: a transaction on its files decides.
            reason = refused.reason if isinstance(refused, Refusal) else refused.what
            if self._options.update_way == "composed" or os.geteuid():
                step = "run it as root with --update-way auto: a transaction on the image itself can do it"
                raise ContentError(f"its update cannot be composed: {reason}", image=planned.name, next_step=step) from refused
            return replace(self._transact(planned, base, request, log), fallback=reason)

    def _transact(self, planned: PlannedImage, base: StoredImage, request: UpdateRequest, log: Path) -> BuiltImage:
        updater = Updater(self._store, self._transactions, self._compression_format)
        return updater.update(
            planned,
            base.image,
            base_digest=base.digest,
            client=self._registries.client(base.host),
            repository=base.repository,
            request=request,
            log=log,
        )

    def build(self, planned: PlannedImage, recipe: Recipe, parent: StoredImage, parent_inventory: Inventory, log: Path) -> BuiltImage:
        """A new image on its parent's published manifest, with the document of its files."""
        built = self._build(planned, recipe, parent, parent_inventory, log)
        stages = list(built.stages)
        sketch = self._known.sketch(parent, built.layers)
        note_stage(stages, "files", stages[-1][2] if stages else time.time())
        return replace(built, sketch=sketch, stages=tuple(stages))

    def _build(self, planned: PlannedImage, recipe: Recipe, parent: StoredImage, parent_inventory: Inventory, log: Path) -> BuiltImage:
        profile = self._decision.request.profile
        labels = containerfile.image_labels(
            recipe,
            self._decision.fingerprints[planned.name],
            # without the registry's host: the same build must have the same digest wherever it is published
            base_name=parent.repository,
            base_digest=parent.digest,
        )
        if self._options.way == "direct" or (self._options.way == "auto" and refusal(recipe, profile) is None):
            return DirectBuilder(self._store, self._transactions).build(
                recipe,
                profile=profile,
                parent=parent.image,
                client=self._registries.client(parent.host),
                repository=parent.repository,
                parent_inventory=parent_inventory,
                labels=labels,
                log=log,
            )
        return self._builder.build(
            recipe,
            profile=profile,
            parent=parent.image,
            parent_reference=parent.reference,
            parent_inventory=parent_inventory,
            labels=labels,
            log=log,
        )

    @property
    def _builder(self) -> Builder:
        with self._lock:
            if "_containerfile_builder" not in self.__dict__:
                network = self._stack.enter_context(PrivateNetwork())
                server = self._stack.enter_context(RepositoryServer(self._decision.snapshot, network))
                buildah = Buildah(
                    self._work / "buildah",
                    authfile=self._options.authfile,
                    certificates=_certificates(self._options.ca_file, self._work),
                    plain_http=self._options.plain_http,
                    processes=self._processes,
                )
                buildah.clean()
                folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="build-", dir=self._work / "tmp"))
                self.__dict__["_containerfile_builder"] = Builder(
                    self._store,
                    self._transactions,
                    buildah,
                    Path(folder),
                    repo_file=server.repo_file(),
                    refusal=server.refusal,
                    release=self._decision.request.profile.release,
                    network=network.path,
                    processes=self._processes,
                )
            builder: Builder = self.__dict__["_containerfile_builder"]
            return builder
