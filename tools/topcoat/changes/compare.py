"""Two sets of images side by side: which source packages moved, in which images, from what to what.

This module must never report a change of a set that is only a change of place: a package that an image took and another had before is not new.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from topcoat.model import Digest
from topcoat.rpm.evr import Order

Package = tuple[str, str, int]
"""(NEVRA, source RPM, build time)."""

KINDS = ("updated", "downgraded", "new", "removed", "rebuilt", "added-to-images", "left-images")
"""What became of a source package, in the order in which people read it."""


@dataclass(frozen=True)
class ImageFacts:
    """One image of a set. ``packages`` None: they are not known without reading its layers; ``revision`` and ``source`` as its labels say."""

    digest: Digest
    packages: frozenset[Package] | None = None
    changelogs: Mapping[str, Digest] = field(default_factory=dict, compare=False)
    """Source RPM -> digest of the bundle with its changelog."""
    fingerprint: str = ""
    parts: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Parts of the recipe's fingerprint."""
    revision: str = ""
    source: str = ""


@dataclass(frozen=True)
class Move:
    """The same step of a source package in some images; ``old`` or ``new`` is empty where it came or went. ``[epoch:]version-release`` each."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    images: tuple[str, ...]
    old_rpms: tuple[str, ...] = ()
    new_rpms: tuple[str, ...] = ()
    """Names of the source RPMs, under which changelogs are kept."""


@dataclass(frozen=True)
class Row:
    """One source package. ``packages`` are the binary packages that changed."""

    source: str
    kind: str
    moves: tuple[Move, ...]
    packages: tuple[str, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """Every image in which it moved."""
        return tuple(sorted({image for move in self.moves for image in move.images}))


@dataclass(frozen=True)
class SetChanges:
    """How the second set differs from the first."""

    rows: tuple[Row, ...]
    added: tuple[str, ...] = ()
    """Images that only the second set has."""
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    """Images of the same digest."""
    recipes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(image, what of its recipe changed: ``containerfile``, ``files``, ``arguments``, ``parent``)."""
    revisions: tuple[tuple[str, str, str, str], ...] = ()
    """(image, old revision, new revision, source address) of images built from source."""
    unknown: tuple[str, ...] = ()
    """Images whose packages are not known."""


def compare(
    before: Mapping[str, ImageFacts], after: Mapping[str, ImageFacts], *, unchanged: Callable[[], Iterable[ImageFacts]] = tuple
) -> SetChanges:
    """Compare two sets by image name.

    :param before: the first set. :param after: the second. Of images with the same digest in both only the digest is looked at.
    :param unchanged: those with the same digest, with their packages; asked for only when a source package seems new or gone.
    """
    steps: dict[str, dict[tuple[tuple[str, ...], ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, set[str]] = defaultdict(set)
    unknown, recipes, revisions, same = [], [], [], []
    known: dict[tuple[int, int], dict[str, _Step]] = {}
    for image in sorted(before.keys() | after.keys()):
        old, new = before.get(image), after.get(image)
        if old and new and old.digest == new.digest:
            same.append(image)
            continue
        if old and new and old.fingerprint and new.fingerprint and old.fingerprint != new.fingerprint:
            parts = [part for part in sorted(old.parts.keys() | new.parts.keys()) if old.parts.get(part) != new.parts.get(part)]
            recipes.append((image, tuple(parts)))
        if old and new and (old.revision or new.revision) and old.revision != new.revision:
            revisions.append((image, old.revision, new.revision, new.source or old.source))
        if any(side is not None and side.packages is None for side in (old, new)):
            unknown.append(image)
            continue
        left, right = (side.packages if side and side.packages else frozenset() for side in (old, new))
        pair = (id(left), id(right))
        if pair not in known:
            known[pair] = _steps(left - right, right - left)
        for source, step in known[pair].items():
            steps[source][step.key].append(image)
            names[source] |= step.names
    kept: dict[str, set[str]] = {}
    order = Order()
    rows = []
    for source, moves in steps.items():
        kind = _kind(moves, order)
        if kind in ("new", "removed"):
            if not kept:
                same_sources = _sources(unchanged())
                kept = {"new": _sources(before.values()) | same_sources, "removed": _sources(after.values()) | same_sources}
            if source in kept[kind]:
                kind = "added-to-images" if kind == "new" else "left-images"
        found = tuple(Move(key[0], key[1], tuple(images), key[2], key[3]) for key, images in sorted(moves.items()))
        rows.append(Row(source, kind, found, tuple(sorted(names[source]))))
    rows.sort(key=lambda row: (KINDS.index(row.kind), row.source))
    return SetChanges(
        tuple(rows),
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        tuple(same),
        tuple(recipes),
        tuple(revisions),
        tuple(unknown),
    )


@dataclass
class _Step:
    """What one image did with one source package."""

    old: set[tuple[str, str]] = field(default_factory=set)
    new: set[tuple[str, str]] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    @property
    def key(self) -> tuple[tuple[str, ...], ...]:
        sides = (sorted(self.old), sorted(self.new))
        return (*(tuple(evr for evr, _ in side) for side in sides), *(tuple(rpm for _, rpm in side) for side in sides))


def _steps(gone: Iterable[Package], come: Iterable[Package]) -> dict[str, _Step]:
    found: dict[str, _Step] = {}
    for packages, side in ((gone, "old"), (come, "new")):
        for nevra, source_rpm, _ in packages:
            name, version = source_of(nevra, source_rpm)
            step = found.setdefault(name, _Step())
            getattr(step, side).add((version, source_rpm))
            step.names.add(_split(nevra)[0])
    return found


@functools.lru_cache(maxsize=1 << 16)
def _split(nevra: str) -> tuple[str, str]:
    """(name, [epoch:]version-release) of a NEVRA as text."""
    name, version, release = (*nevra.rsplit("-", 2), "", "")[:3]
    return name, f"{version}-{release.rpartition('.')[0]}"


@functools.lru_cache(maxsize=1 << 16)
def source_of(nevra: str, source_rpm: str) -> tuple[str, str]:
    """(name of the source package, [epoch:]version-release), from the binary package and the file name of its source RPM.

    A source RPM's file name has no epoch: that of the binary package is taken, which is the same but for packages that set one of their own.
    A package without source RPM stands for itself.
    """
    name, evr = _split(nevra)
    epoch = f"{evr.partition(':')[0]}:" if ":" in evr else ""
    source = source_parts(source_rpm)
    return (source[0], f"{epoch}{source[1]}-{source[2]}") if source else (name, evr)


def source_parts(source_rpm: str) -> tuple[str, str, str] | None:
    """(name, version, release) in the file name of a source RPM; None where it is none."""
    parts = source_rpm.removesuffix(".rpm").removesuffix(".src").removesuffix(".nosrc").rsplit("-", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 and all(parts) else None


def _sources(images: Iterable[ImageFacts]) -> set[str]:
    packages = {(nevra, source) for image in images for nevra, source, _ in image.packages or ()}
    return {source_of(nevra, source)[0] for nevra, source in packages}


def _kind(moves: Iterable[tuple[tuple[str, ...], ...]], order: Order) -> str:
    kinds = set()
    for old, new, *_ in moves:
        if not old:
            kinds.add("new")
        elif not new:
            kinds.add("removed")
        elif old == new:
            kinds.add("rebuilt")
        else:
            kinds.add("downgraded" if order.compare(_newest(new, order), _newest(old, order)) < 0 else "updated")
    return next(kind for kind in KINDS if kind in kinds)


def _newest(versions: Iterable[str], order: Order) -> str:
    best = ""
    for version in versions:
        if not best or order.compare(version, best) > 0:
            best = version
    return best
