"""How big images are, what they share, and what changed against a reference.

This module must never read a layer: sizes come from manifests. All sizes are compressed bytes unless a name says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topcoat.errors import UsageError
from topcoat.model.image import Digest

Layers = Sequence[tuple[Digest, int]]
"""(digest, compressed bytes), lowest first."""

_LIMIT = re.compile(r"(\d+(?:\.\d+)?)\s*(%|B|kB|KB|MB|GB|KiB|MiB|GiB)?")
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_BAR = 30


@dataclass(frozen=True)
class ImageSize:
    """One image: ``total`` is what a first pull fetches, ``own`` what no other image of the set has."""

    name: str
    layers: tuple[tuple[Digest, int, int], ...]
    """(digest, bytes, number of images of the set that have it)."""
    reference: int | None = None
    """Total of the reference image, None where there is none."""
    hidden: int | None = None
    """Uncompressed bytes that later layers hide, where the layers were read."""

    @property
    def total(self) -> int:
        """Sum of its layers, each counted once."""
        return sum({digest: size for digest, size, _ in self.layers}.values())

    @property
    def own(self) -> int:
        """Bytes that only this image has."""
        return sum({digest: size for digest, size, users in self.layers if users == 1}.values())

    @property
    def delta(self) -> int | None:
        """Bytes more (or less) than the reference."""
        return None if self.reference is None else self.total - self.reference


@dataclass(frozen=True)
class SizeReport:
    """A set of images."""

    images: tuple[ImageSize, ...]
    unique: int
    """Bytes that a registry stores: each layer once."""
    problems: tuple[str, ...] = ()

    @property
    def summed(self) -> int:
        """Sum of the images' totals: what is stored when every image is squashed into one layer, and nothing is shared."""
        return sum(image.total for image in self.images)

    def to_data(self) -> dict[str, object]:
        """For JSON: ``{"images": [...], "sum", "unique", "shared", "squashed", "problems"}``; ``squashed`` is the change that squashing brings."""
        return {
            "images": [
                {
                    "name": image.name,
                    "total": image.total,
                    "own": image.own,
                    "reference": image.reference,
                    "delta": image.delta,
                    "hidden_uncompressed": image.hidden,
                    "layers": [{"digest": digest, "size": size, "images": users} for digest, size, users in image.layers],
                }
                for image in self.images
            ],
            "sum": self.summed,
            "unique": self.unique,
            "shared": self.summed - self.unique,
            "squashed": self.summed - self.unique,
            "problems": list(self.problems),
        }

    def to_text(self) -> str:
        """A table with a bar an image: full for what is shared, open for its own bytes."""
        widest = max((image.total for image in self.images), default=0) or 1
        width = max((len(image.name) for image in self.images), default=4)
        lines = [f"{'image':<{width}}  {'total':>9}  {'own':>9}  {'change':>9}  layers"]
        for image in self.images:
            own = round(_BAR * image.own / widest)
            shared = max(round(_BAR * image.total / widest) - own, 0)
            change = "new" if image.delta is None else _signed(image.delta)
            bar = "█" * shared + "░" * own
            lines.append(f"{image.name:<{width}}  {human(image.total):>9}  {human(image.own):>9}  {change:>9}  {len(image.layers):>6}  {bar}")
        saved = self.summed - self.unique
        lines.append("")
        lines.append(f"{len(self.images)} images, {human(self.summed)} in sum, {human(self.unique)} stored after sharing ({human(saved)} shared).")
        lines.append(f"Squashing every image would store {human(self.summed)}: {human(saved)} more, and every pull would fetch a whole image.")
        hidden = sum(image.hidden or 0 for image in self.images)
        if hidden:
            lines.append(f"{human(hidden)} (uncompressed) are hidden by later layers: what squashing could save in pulls.")
        return "\n".join([*lines, *self.problems])


def measure(
    images: Mapping[str, Layers],
    *,
    references: Mapping[str, Layers | None] | None = None,
    hidden: Mapping[str, int] | None = None,
    limit: str | None = None,
) -> SizeReport:
    """Measure a set of images.

    :param references: layers of the reference images; None or missing: there is none.
    :param hidden: uncompressed bytes hidden by later layers, where somebody read them.
    :param limit: the growth an image may have against its reference, ``5%`` or ``10MB``; more is a problem.
    :raises UsageError: ``limit`` is neither.
    """
    users: dict[Digest, int] = {}
    sizes: dict[Digest, int] = {}
    for layers in images.values():
        for digest, size in dict(layers).items():
            users[digest] = users.get(digest, 0) + 1
            sizes[digest] = size
    measured = []
    problems = []
    for name, layers in images.items():
        before = (references or {}).get(name)
        reference = sum(dict(before).values()) if before is not None else None
        image = ImageSize(name, tuple((digest, size, users[digest]) for digest, size in layers), reference, (hidden or {}).get(name))
        measured.append(image)
        if limit is not None and image.delta is not None and image.delta > allowed_growth(limit, reference or 0):
            problems.append(f"{name}: grew by {human(image.delta)}, more than {limit}")
    return SizeReport(tuple(measured), sum(sizes.values()), tuple(problems))


def allowed_growth(limit: str, reference: int) -> float:
    """Bytes that a limit (``5%``, ``10MB``, ``1048576``) allows an image of ``reference`` bytes to grow."""
    match = _LIMIT.fullmatch(limit.strip())
    if not match:
        raise UsageError(f"not a size limit: {limit!r}", next_step="write 5% or 10MB")
    number = float(match[1])
    return reference * number / 100 if match[2] == "%" else number * _UNITS[match[2] or ""]


def human(size: int) -> str:
    """Decimal units, as registries show them."""
    value = float(abs(size))
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{'-' if size < 0 else ''}{value:.0f} {unit}" if unit == "B" else f"{'-' if size < 0 else ''}{value:.1f} {unit}"
        value /= 1000
    return f"{'-' if size < 0 else ''}{value:.2f} GB"


def _signed(size: int) -> str:
    return f"+{human(size)}" if size > 0 else human(size)
