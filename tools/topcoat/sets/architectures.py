"""What each architecture of a set has: its images under its own tag, as the receipt of its run says and the registry shows.

This module must never take images for a part of a set because they lie there: a run pushes them before it has proven them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from topcoat.errors import TopcoatError, UsageError
from topcoat.model import Digest, ImageReference, ImageResult, Profile, Receipt, Status
from topcoat.model.profile import Architecture
from topcoat.process.each import each
from topcoat.publisher import receipts
from topcoat.registry import Registries
from topcoat.report import figures, receipt_from_dict
from topcoat.report.console import some

_PARALLEL = 12
_NAMED = 5


@dataclass(frozen=True)
class WantedPart:
    """The images that a set has in one architecture, and the profile of it."""

    architecture: Architecture
    profile: Profile
    images: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One architecture of a set."""

    wanted: WantedPart
    tag: str
    """Of its images."""
    receipt: Receipt | None = None
    images: Mapping[str, ImageReference] = field(default_factory=dict)
    """By digest; empty where the whole architecture is not there."""
    problem: str = ""
    """Why it is not there; empty when it is."""

    @property
    def name(self) -> str:
        """The architecture's."""
        return self.wanted.architecture.name

    def result(self, image: str) -> ImageResult | None:
        """What its run says of an image."""
        return next((one for one in self.receipt.images if one.name == image), None) if self.receipt else None


def given(found: Sequence[Receipt], tag: str, wanted: Sequence[WantedPart]) -> dict[str, Receipt]:
    """Receipts by the tag of their architecture.

    :raises UsageError: one belongs to no architecture of this set, or two to the same.
    """
    tags = [one.profile.run_tag(tag) for one in wanted]
    by_tag: dict[str, Receipt] = {}
    for receipt in found:
        if receipt.tag not in tags:
            raise UsageError(f"a receipt is of {receipt.tag}, which is no part of {tag}", next_step=f"its parts are {', '.join(tags)}")
        if receipt.tag in by_tag:
            raise UsageError(f"two receipts are of {receipt.tag}", next_step="join those of several nodes with 'topcoat join-receipts' first")
        by_tag[receipt.tag] = receipt
    return by_tag


def look(wanted: WantedPart, tag: str, registries: Registries, receipt: Receipt | None = None) -> Part:
    """What one architecture has of a set.

    :param tag: of the set. :param receipt: of its run; None: the registry has it.
    :raises InfrastructureError: the registry does not answer.
    """
    profile, own_tag = wanted.profile, wanted.profile.run_tag(tag)
    client = registries.client(profile.registry)
    if receipt is None:
        try:
            document = receipts.read(client, profile.namespace, own_tag)
            receipt = receipt_from_dict(document) if document is not None else None
        except TopcoatError as error:
            if error.retriable:
                raise
            return Part(wanted, own_tag, problem=error.what)
        if receipt is None:
            return Part(wanted, own_tag, problem=f"no run of it has finished {own_tag}")
    problem = _unproven(receipt)
    if problem:
        return Part(wanted, own_tag, receipt, problem=f"its run of {own_tag} {problem}")
    made = {one.name: one for one in receipt.images if one.status is Status.DONE and one.digest}
    missing = [name for name in wanted.images if name not in made]
    if missing and receipt.status is Status.DONE:
        return Part(wanted, own_tag, receipt, problem=f"its run of {own_tag} did not take {_some(missing)}")
    names = [name for name in wanted.images if name in made]
    shown = dict(zip(names, each(names, lambda name: client.shown(profile.repository_of(name), own_tag), workers=_PARALLEL), strict=True))
    other = [name for name in names if shown[name] != made[name].digest]
    if other:
        return Part(wanted, own_tag, receipt, problem=f"{own_tag} does not show what its run says it made of {_some(other)}")
    images = {name: ImageReference(profile.registry, profile.repository_of(name), digest=Digest(str(shown[name]))) for name in names}
    return Part(wanted, own_tag, receipt, images)


def _unproven(receipt: Receipt) -> str:
    """Why a run's images may not be used; empty when they may."""
    if not receipt.status.usable:
        return f"ended as {receipt.status.word!r}"
    open_ones = [str(entry["package"]) for entry in figures.uncovered(receipt)]
    if open_ones:
        return f"does not hold {_some(open_ones)}, which are under test"
    return "proves nothing about the packages under test" if receipt.gated and not receipt.coverage else ""


def _some(names: Sequence[str]) -> str:
    return some(sorted(names), _NAMED)
