"""The receipt: the JSON document of a run, written whatever happens.

This module must never hold a secret and never a path outside the work folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from topcoat.errors import ContentError
from topcoat.model.image import Digest
from topcoat.model.package import PackageChange
from topcoat.model.status import Status

SCHEMA = "https://topcoat.dev/schemas/receipt/1"


@dataclass(frozen=True)
class LayerSize:
    """One layer of an image: compressed digest and size in bytes, whether this run made it."""

    digest: Digest
    size: int
    new: bool = False


@dataclass(frozen=True)
class ImageResult:
    """What became of one image. Times are seconds since the epoch (UTC); sizes are compressed bytes."""

    name: str
    status: Status
    """One of ``OF_TASKS``; the plain word is taken too."""
    action: str
    reason: str
    sentence: str
    repository: str = ""
    tag: str | None = None
    digest: Digest | None = None
    base_digest: Digest | None = None
    """Digest of the manifest this image was made from: the parent's for a build, the reference's for an update or a reuse."""
    fingerprint: str | None = None
    method: str = ""
    """How the layers were made: ``containerfile``, ``direct``, ``transaction``, ``composed``, ``tag``."""
    fallback: str = ""
    """Why an update that might have been composed was made by a transaction; empty where it was not tried, or was composed."""
    changes: tuple[PackageChange, ...] = ()
    layers: tuple[LayerSize, ...] = ()
    inventory: Digest | None = None
    started: float | None = None
    finished: float | None = None
    stages: tuple[tuple[str, float, float], ...] = ()
    """(stage name, start, end)."""
    attempts: int = 0
    bytes_pushed: int = 0
    bytes_mounted: int = 0
    log: str | None = None
    """Path relative to the receipt."""
    error: dict[str, object] | None = None
    parent: str | None = None
    """Name of the image this one stands on, so that a receipt alone can be drawn as a tree."""
    where: str = ""
    """``file:line`` of the recipe."""
    reference_digest: Digest | None = None
    reference_size: int | None = None
    """Compressed bytes of all layers of the reference image; None when there was none."""
    warnings: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Repositories under old names that got the same tags."""
    signers: Mapping[str, int] = field(default_factory=dict)
    """Key id → how many packages carry a signature of it; the empty id: unsigned. Empty where nothing is known."""
    unsigned: tuple[str, ...] = ()
    """Packages among the changes that came without signature."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))


@dataclass(frozen=True)
class Receipt:
    """One run."""

    profile: str
    tag: str
    status: Status
    """``RUNNING`` from the first second, then ``DONE``, ``FAILED``, ``PARTIAL`` or ``CANCELLED``; what is killed stays ``RUNNING``.

    The plain word is taken too.
    """
    started: float
    finished: float
    images: tuple[ImageResult, ...]
    repositories: tuple[tuple[str, str], ...] = ()
    coverage: tuple[dict[str, object], ...] = ()
    """One entry a gated RPM: ``{"package", "images": [...], "covered": bool, "waived_by": pattern|None}``."""
    floating_tags: tuple[str, ...] = ()
    error: dict[str, object] | None = None
    zuul: dict[str, object] = field(default_factory=dict)
    """The items under test, as ``zuul['items']`` names them: ``{"build", "buildset", "items": [...]}``; empty outside Zuul."""
    gated: tuple[dict[str, object], ...] = ()
    """One entry a gated RPM: ``{"package", "project", "commit", "committed", "change_url"}``."""
    recipes: dict[str, object] = field(default_factory=dict)
    """Where the recipes came from: ``{"commit", "changed": bool}``; empty where git does not say."""
    warnings: tuple[str, ...] = ()
    shard: str = ""
    """``N/M``: the part of the plan that this run carried out; empty: all of it."""
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))


def require_whole(receipts: Iterable[Receipt], where: str | None = None) -> None:
    """A part of a run is no set: the receipts are of whole runs, or of all parts (``N/M``) of one.

    :param where: the file that they are from, for the error.
    :raises ContentError: parts are missing; names them.
    """
    receipts = tuple(receipts)
    given = {receipt.shard for receipt in receipts if receipt.shard}
    totals = {int(shard.partition("/")[2]) for shard in given}
    missing = sorted({f"{number}/{total}" for total in totals for number in range(1, total + 1)} - given)
    if missing:
        problem = f"receipts of the parts {', '.join(missing[:5])} of {receipts[0].tag} are missing"
        if len(receipts) == 1:
            problem = f"the receipt is of part {receipts[0].shard} alone: {problem}"
        raise ContentError(problem, where=where, next_step="join the receipts of all nodes with 'topcoat join-receipts'")
