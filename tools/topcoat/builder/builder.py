"""The Containerfile, built by buildah, and its one layer written by us.

This module must never publish, and never let a build read a repository that is not frozen.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from topcoat import containerfile
from topcoat.builder import metadata_cache
from topcoat.builder.buildah import Buildah
from topcoat.builder.configuration import check_format
from topcoat.builder.layer_and_image import finish
from topcoat.errors import ContentError, TopcoatError
from topcoat.layers import BuiltImage, LayerStore
from topcoat.model import ImageReference, Profile, Recipe
from topcoat.process import Processes
from topcoat.registry.oci import Image
from topcoat.rpm.inventory import Inventory
from topcoat.transactions import Transactions

METHOD = "containerfile"
# rpm's words, whichever dnf called it.
_FAILED_SCRIPTLET = re.compile(r"%\w+\(\S+\) scriptlet failed, (?:exit status|signal) \d+")
TIMEOUT_SECONDS = 3600.0
_CACHE = "var/cache/dnf"


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
        network: str | None,
        refusal: Callable[[str], TopcoatError | None] = lambda text: None,
        release: str = "",
        timeout: float = TIMEOUT_SECONDS,
        processes: Processes | None = None,
    ) -> None:
        """:param work: folder for contexts, the .repo file and the metadata cache; the caller deletes it.

        :param repo_file: text of the .repo file that names every repository a build may see (``RepositoryServer.repo_file()``).
        :param refusal: why a package that a build's log names was not handed out (``RepositoryServer.refusal``).
        :param network: path of the network namespace for builds, in which the repositories are served; None: the machine's network.
        :param timeout: seconds for one build.
        """
        self._store = store
        self._transactions = transactions
        self._buildah = buildah
        self._work = work.resolve()
        self._timeout = timeout
        self._refusal = refusal
        self._network = network
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
        check_format(profile.image_format, healthcheck=bool(recipe.healthcheck))
        stages: list[tuple[str, float, float]] = []
        rendered = containerfile.render(recipe, parent_reference=str(parent_reference), profile=profile, labels=labels)
        with tempfile.TemporaryDirectory(prefix="context-", dir=self._work) as folder:
            context = Path(folder)
            containerfile.write_context(rendered, context)
            start = time.time()
            try:
                stored = self._buildah.build(
                    context,
                    timeout=self._timeout,
                    host=parent_reference.host,
                    network=None if recipe.wants_network else self._network,
                    volumes=[f"{self._repositories}:/etc/yum.repos.d:ro"],
                    cache=(self._cache, _CACHE),
                    log=log,
                    image=recipe.name,
                )
            except ContentError as error:
                cause = self._refusal(log.read_text("utf-8", "replace") if log else error.what)
                if cause is None:
                    raise
                raise type(cause)(cause.what, image=recipe.name, log=error.log, next_step=cause.next_step) from error
            stages.append(("build", start, time.time()))
        # dnf ends well although a scriptlet failed; a build from the host refuses the package, so this one does.
        if failed := _FAILED_SCRIPTLET.search(log.read_text("utf-8", "replace") if log else ""):
            raise ContentError(failed[0], image=recipe.name, log=str(log), next_step="repair the package; what may fail ends with || :")
        return finish(
            self._store,
            self._transactions,
            recipe,
            upper=stored.upper,
            lower=stored.lower,
            runtime=stored.config.get("config") or {},  # type: ignore[arg-type]
            parent=parent,
            parent_inventory=parent_inventory,
            method=METHOD,
            profile=profile,
            stages=stages,
        )
