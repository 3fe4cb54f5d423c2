"""Whether a reproduction is one: two receipts side by side, and why they differ where they do.

This module must never call a difference explained unless something that was recorded explains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topcoat.model import ImageResult, Receipt, Status


@dataclass(frozen=True)
class Difference:
    """One image (or None: the whole run) that came out otherwise; ``because`` is empty when nothing recorded explains it."""

    image: str | None
    what: str
    because: str = ""


@dataclass(frozen=True)
class Comparison:
    """``equal`` images have the same action, the same package changes and the same digest in both."""

    equal: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether every difference is explained."""
        return all(difference.because for difference in self.differences)

    def text(self) -> str:
        """For a terminal."""
        lines = [f"{len(self.equal)} images came out the same: action, packages, digest."]
        for difference in self.differences:
            lines.append(
                f"  {difference.image or 'run'}: {difference.what}" + (f" ({difference.because})" if difference.because else " (UNEXPLAINED)")
            )
        if not self.differences:
            lines.append("The reproduction equals the original.")
        elif self.holds:
            lines.append("Every difference is explained.")
        else:
            lines.append("Some differences are not explained by anything that was recorded.")
        return "\n".join(lines)


def compare(original: Receipt, again: Receipt, notes: Sequence[str] = ()) -> Comparison:
    """Compare a reproduction with its original.

    :param notes: what is known to be different about the inputs (sources that could not be made the same).
    """
    inputs = [*notes, *_views(original, again)]
    before, after = ({image.name: image for image in receipt.images} for receipt in (original, again))
    equal, differences = [], []
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            differences.append(Difference(name, "is in the original only", "; ".join(_recipes(inputs))))
        elif name not in before:
            differences.append(Difference(name, "is in the reproduction only", "; ".join(_recipes(inputs))))
        else:
            found = _difference(before[name], after[name], inputs)
            if found:
                differences.append(found)
            else:
                equal.append(name)
    if original.status != again.status:
        failed = [image.name for image in again.images if image.status is Status.FAILED]
        differences.append(
            Difference(None, f"ended as {again.status}, the original as {original.status}", f"failed here: {', '.join(failed)}" if failed else "")
        )
    return Comparison(tuple(equal), tuple(differences))


def _views(original: Receipt, again: Receipt) -> list[str]:
    """Repositories that were not the same when they were frozen."""
    before, after = dict(original.repositories), dict(again.repositories)
    return [
        f"repository {name} has other contents" if name in before and name in after else f"repository {name} is part of one run only"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _recipes(inputs: Sequence[str]) -> list[str]:
    return [text for text in inputs if not text.startswith("repository ")]


def _difference(before: ImageResult, after: ImageResult, inputs: Sequence[str]) -> Difference | None:
    because = "; ".join(inputs)
    if before.status != after.status:
        return Difference(
            before.name,
            f"{after.status} instead of {before.status}",
            because if after.status is not Status.FAILED else str((after.error or {}).get("what", "")),
        )
    if (before.action, before.reason) != (after.action, after.reason):
        if before.reference_digest != after.reference_digest:
            because = "; ".join([*inputs, "its reference image is another one now"])
        return Difference(before.name, f"{after.action} ({after.reason}) instead of {before.action} ({before.reason})", because)
    old, new = ({change.key for change in image.changes} for image in (before, after))
    if old != new:
        missing, more = sorted(old - new), sorted(new - old)
        parts = [f"without {a or 'nothing'} -> {b or 'removed'}" for a, b in missing[:2]] + [
            f"with {a or 'nothing'} -> {b or 'removed'}" for a, b in more[:2]
        ]
        return Difference(before.name, f"other packages changed: {', '.join(parts)}", because)
    if before.digest != after.digest:
        causes = list(inputs)
        if before.base_digest != after.base_digest:
            causes.append("it stands on another image")
        if before.fingerprint != after.fingerprint:
            causes.append("its recipe is another one")
        return Difference(before.name, f"digest {(after.digest or 'none')[:19]} instead of {(before.digest or 'none')[:19]}", "; ".join(causes))
    return None
