"""The proof that the change is inside: every gated RPM is installed in at least one published image, at the gated NEVRA.

This module must never look at a plan: only what the images really hold counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from topcoat.errors import ContentError
from topcoat.model import Nevra

_NAMED = 3
"""Packages that an error names; the table has all."""


@dataclass(frozen=True)
class Covered:
    """One gated package: the images that hold it, or the pattern that waives it."""

    package: Nevra
    images: tuple[str, ...]
    waived_by: str | None = None
    wrong: tuple[tuple[str, str], ...] = ()
    """(image, EVR) of images that hold the package at another version."""

    @property
    def ok(self) -> bool:
        """Installed somewhere and nowhere at another version, or waived."""
        return not self.wrong and (bool(self.images) or self.waived_by is not None)

    def as_dict(self) -> dict[str, object]:
        """The shape of a receipt's coverage entry."""
        return {
            "package": str(self.package),
            "images": list(self.images),
            "covered": bool(self.images),
            "waived_by": self.waived_by,
            "wrong": [{"image": image, "evr": evr} for image, evr in self.wrong],
        }


def cover(gated: Iterable[Nevra], installed: Mapping[str, Iterable[Nevra]], not_containerised: Iterable[str] = ()) -> tuple[Covered, ...]:
    """Look every gated package up in the images.

    :param gated: binary packages of the gating repository.
    :param installed: image name → packages its published manifest holds.
    :param not_containerised: fnmatch patterns of package names that need not be in any image.
    :returns: one entry a package, sorted by package.
    """
    patterns = tuple(not_containerised)
    by_name: dict[tuple[str, str], dict[str, list[Nevra]]] = {}
    for image in sorted(installed):
        for nevra in installed[image]:
            by_name.setdefault((nevra.name, nevra.arch), {}).setdefault(image, []).append(nevra)
    table = []
    for package in sorted(set(gated)):
        holders = by_name.get((package.name, package.arch), {})
        right = tuple(image for image, nevras in holders.items() if package in nevras)
        wrong = tuple((image, nevras[0].evr) for image, nevras in holders.items() if package not in nevras)
        waiver = next((pattern for pattern in patterns if fnmatchcase(package.name, pattern)), None)
        table.append(Covered(package, right, waiver if not right else None, wrong))
    return tuple(table)


def require(table: Iterable[Covered]) -> None:
    """Turn a table with holes into the error that ends the run.

    :raises ContentError: a gated package is in no image, or an image holds it at another version.
    """
    holes = [entry for entry in table if not entry.ok]
    if not holes:
        return
    lines = []
    for entry in holes:
        if entry.wrong:
            lines.append(f"{entry.package}: " + ", ".join(f"{image} has {evr}" for image, evr in entry.wrong[:5]))
        else:
            lines.append(f"{entry.package}: in no image")
    more = f"; and {len(lines) - _NAMED} more, in the receipt" if len(lines) > _NAMED else ""
    raise ContentError(
        f"{len(holes)} gated package(s) are not inside the images, so the change is not tested: " + "; ".join(lines[:_NAMED]) + more,
        next_step="add the package to a recipe, or to the profile's not_containerised patterns if no image shall hold it",
    )
