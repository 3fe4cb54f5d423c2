"""The direct way: a recipe is data, so its packages are installed from the host, its files are copied, and no container starts.

This module must never guess: a recipe that it does not fully understand is refused with the reason, and the Containerfile is built.
"""

from __future__ import annotations

import copy
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from topcoat.builder.configuration import check_format
from topcoat.builder.layer_and_image import finish
from topcoat.containerfile import accounts
from topcoat.containerfile.context import context_files
from topcoat.containerfile.render import SOURCE_DATE_EPOCH, own_labels
from topcoat.errors import ContentError
from topcoat.layers import BuiltImage, LayerStore, LowerView
from topcoat.layers.store import BlobSource
from topcoat.model import Profile, Recipe
from topcoat.registry.oci import Image
from topcoat.rpm.inventory import Inventory
from topcoat.transactions import Transactions, Wanted

METHOD = "direct"
_CONTEXT_MTIME = SOURCE_DATE_EPOCH
_KNOWN_OPTIONS = {
    "--setopt=install_weak_deps=False",
    "--setopt=install_weak_deps=0",
    "--nodocs",
    "--setopt=tsflags=nodocs",
    "--setopt=optional_metadata_types=filelists",  # what a transaction from the host does anyway
}


def refusal(recipe: Recipe, profile: Profile) -> str | None:
    """Why a recipe cannot be built this way; None when it can."""
    if recipe.containerfile is not None:
        return "it brings its own Containerfile"
    if recipe.steps:
        return "it has run steps"
    if recipe.modules:
        return "it enables module streams"
    unknown = [option for option in profile.install_options if option not in _KNOWN_OPTIONS]
    if unknown:
        return f"the profile installs with {unknown[0]}"
    if not any("install_weak_deps" in option for option in profile.install_options):
        return "the profile installs weak dependencies"
    if not any("nodocs" in option for option in profile.install_options):
        return "the profile installs documentation"
    return None


class DirectBuilder:
    """Builds recipes with package transactions from the host. Safe for several threads."""

    def __init__(self, store: LayerStore, transactions: Transactions) -> None:
        self._store = store
        self._transactions = transactions

    def build(
        self,
        recipe: Recipe,
        *,
        profile: Profile,
        parent: Image,
        client: BlobSource,
        repository: str,
        parent_inventory: Inventory | None = None,
        labels: Mapping[str, str],
        log: Path | None = None,
    ) -> BuiltImage:
        """Build one recipe on the published image of its parent.

        :param client: where the parent's layers come from, in ``repository``.
        :param labels: beside the recipe's own.
        :raises ContentError: unsatisfiable packages, a failed scriptlet, or a recipe that this way cannot build (``refusal``).
        :raises InfrastructureError: registry, repository, disk, timeout.
        """
        reason = refusal(recipe, profile)
        if reason:
            raise ContentError(f"cannot be built without a container: {reason}", image=recipe.name, next_step="build it with buildah")
        check_format(profile.image_format, healthcheck=bool(recipe.healthcheck))
        stages: list[tuple[str, float, float]] = []
        start = time.time()
        lower = self._store.ensure(client, repository, parent)
        stages.append(("pull", start, time.time()))
        start = time.time()
        with self._store.workspace(lower) as space:
            outcome = self._transactions.run(
                space,
                Wanted(names=tuple(sorted({package.name for package in recipe.packages}))),
                epoch=SOURCE_DATE_EPOCH,
                before={"write": _accounts(recipe, LowerView(lower))},
                after={"directories": _directories(recipe), **_copies(recipe)},
                image=recipe.name,
                log=log,
            )
            if log and not outcome.changes:
                log.touch()
            stages.append(("build", start, time.time()))
            return finish(
                self._store,
                self._transactions,
                recipe,
                upper=space.upper,
                lower=space.lower,
                runtime=runtime_of(recipe, parent, labels),
                parent=parent,
                parent_inventory=parent_inventory,
                method=METHOD,
                profile=profile,
                stages=stages,
            )


def _accounts(recipe: Recipe, view: LowerView) -> list[dict[str, str]]:
    """The account files that change, with their new text."""
    if not recipe.users:
        return []
    texts = {}
    for name in accounts.FILES:
        entry = view.entry(f"etc/{name}")
        if entry is None:
            continue
        if not stat.S_ISREG(entry.status.st_mode):
            raise ContentError(f"/etc/{name} of the parent is not a regular file", image=recipe.name, next_step="build it with buildah")
        texts[name] = Path(entry.path).read_text()
    missing = [name for name in ("passwd", "group") if name not in texts]
    if missing:
        raise ContentError(f"the parent has no /etc/{missing[0]}", image=recipe.name, next_step="correct the base image")
    changed = accounts.apply(texts, recipe.users)
    return [{"path": f"/etc/{name}", "text": text} for name, text in sorted(changed.items()) if text != texts.get(name)]


def _copies(recipe: Recipe) -> dict[str, list[dict[str, object]]]:
    """One entry a file, in the order of the recipe, targets as COPY makes them; and the folders inside copied folders, which keep their time."""
    copies: list[dict[str, object]] = []
    folders: dict[str, dict[str, object]] = {}
    for entry in recipe.copies:
        top = entry.target.rstrip("/")
        for inside, source, mode in context_files(entry):
            path = inside.removeprefix("files")
            copies.append({"source": str(source), "path": path, "mode": mode, "owner": entry.owner, "mtime": _CONTEXT_MTIME})
            parent = path.rpartition("/")[0]
            while entry.source.is_dir() and parent.startswith(f"{top}/"):
                folders[parent] = {"path": parent, "mode": 0o755, "owner": entry.owner, "mtime": _CONTEXT_MTIME}
                parent = parent.rpartition("/")[0]
    return {"copies": copies, "folders": [folders[path] for path in sorted(folders, reverse=True)]}


def _directories(recipe: Recipe) -> list[str]:
    """WORKDIR makes its directory."""
    return [recipe.workdir] if recipe.workdir else []


def runtime_of(recipe: Recipe, parent: Image, labels: Mapping[str, str]) -> dict[str, object]:
    """The ``config`` section that the instructions of the recipe's Containerfile would leave."""
    runtime = copy.deepcopy(parent.config.get("config") or {})
    for name, value in sorted(recipe.environment):
        runtime["Env"] = _with_variable(runtime.get("Env") or [], name, value)
    runtime["Labels"] = {**(runtime.get("Labels") or {}), **own_labels(recipe), **labels}
    for key, values in (("ExposedPorts", [_port(port) for port in recipe.ports]), ("Volumes", recipe.volumes)):
        if values:
            runtime[key] = {**(runtime.get(key) or {}), **{value: {} for value in values}}
    simple = {"WorkingDir": recipe.workdir, "StopSignal": recipe.stop_signal, "User": recipe.user}
    runtime.update({key: value for key, value in simple.items() if value})
    if recipe.healthcheck:
        runtime["Healthcheck"] = {"Test": ["CMD", *recipe.healthcheck]}
    if recipe.entrypoint is not None:
        runtime["Entrypoint"] = list(recipe.entrypoint)
    if recipe.command is not None or recipe.entrypoint is not None:
        runtime["Cmd"] = list(recipe.command or ())
    return runtime


def _with_variable(environment: Sequence[str], name: str, value: str) -> list[str]:
    """ENV as buildah does it: a variable that is set anew moves to the end."""
    return [*(entry for entry in environment if entry.partition("=")[0] != name), f"{name}={value}"]


def _port(port: str) -> str:
    return port if "/" in port else f"{port}/tcp"
