"""Which source packages a set holds in which version and in which images, and when a version came into the sets of a name.

This module must never ask a registry: it looks at what was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from topcoat.changes import ImageFacts
from topcoat.changes.compare import Package, source_of
from topcoat.promotion import Entry
from topcoat.sets.named import NamedSet

FROM_SOURCE = "image "
"""What stands before an image's name where a part is the image itself, built from source."""


@dataclass(frozen=True)
class RecordedSet:
    """A set that was promoted, by one entry of the history of a name."""

    stream: str
    entry: Entry
    named: NamedSet


@dataclass(frozen=True)
class Part:
    """A source package in one version: ``[epoch:]version-release``, or a commit where ``name`` begins with ``FROM_SOURCE``."""

    name: str
    version: str
    source_rpm: str = ""


@dataclass
class Holding:
    """Where a set holds a part."""

    images: set[str] = field(default_factory=set)
    packages: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Held:
    """One set with its parts."""

    recorded: RecordedSet
    facts: Mapping[str, ImageFacts]
    parts: Mapping[Part, Holding]

    def of(self, name: str) -> tuple[Part, ...]:
        """Its versions of a source package."""
        return tuple(sorted((part for part in self.parts if part.name == name), key=lambda part: part.version))


def parts(facts: Mapping[str, ImageFacts]) -> dict[Part, Holding]:
    """Part -> where it is."""
    found: dict[Part, Holding] = defaultdict(Holding)
    known: dict[int, dict[Part, set[str]]] = {}
    for image, one in facts.items():
        if one.packages is not None:
            of_list = known.get(id(one.packages))
            if of_list is None:
                of_list = known[id(one.packages)] = _of_list(one.packages)
            for part, names in of_list.items():
                found[part].images.add(image)
                found[part].packages |= names
        if one.revision:
            found[Part(f"{FROM_SOURCE}{image}", one.revision)].images.add(image)
    return dict(found)


def _of_list(packages: Iterable[Package]) -> dict[Part, set[str]]:
    found: dict[Part, set[str]] = defaultdict(set)
    for nevra, source_rpm, _ in packages:
        name, version = source_of(nevra, source_rpm)
        found[Part(name, version, source_rpm)].add(nevra.rsplit("-", 2)[0])
    return found


@dataclass(frozen=True)
class Step:
    """A source package as a set has it for the first time; no parts where the set is the first without it."""

    held: Held
    parts: tuple[Part, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """Where that set holds it."""
        return tuple(sorted({image for part in self.parts for image in self.held.parts[part].images}))


def timeline(sets: Sequence[Held]) -> dict[str, list[Step]]:
    """Source package -> the sets in which its versions changed, in the order of the sets.

    :param sets: of one stream, in the order in which they came.
    """
    found: dict[str, list[Step]] = defaultdict(list)
    before: dict[str, tuple[Part, ...]] = {}
    for held in sets:
        now: dict[str, list[Part]] = defaultdict(list)
        for part in held.parts:
            now[part.name].append(part)
        sorted_now = {name: tuple(sorted(group, key=lambda part: part.version)) for name, group in now.items()}
        for name in sorted_now.keys() | before.keys():
            if sorted_now.get(name, ()) != before.get(name, ()):
                found[name].append(Step(held, sorted_now.get(name, ())))
        before = sorted_now
    return dict(found)
