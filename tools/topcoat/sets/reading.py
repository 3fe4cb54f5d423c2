"""Reads what comparing sets needs of their images: one small document for each image whose digest differs, and changelogs of what moved.

This module must never ask for a layer unless it was told to, and never twice for the same document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from topcoat.changes import ImageFacts, Move, Row, SetChanges, compare
from topcoat.changes.compare import Package
from topcoat.containerfile.labels import fingerprint_parts
from topcoat.errors import ContentError
from topcoat.model import Digest, ImageReference, labels
from topcoat.process.each import each
from topcoat.publisher import changelogs as kept
from topcoat.registry import PlatformError, Registries
from topcoat.rpm.changelogs import ChangelogEntry, newer
from topcoat.rpm.inventory import Listing
from topcoat.runs.references import ImageReader, StoredImage
from topcoat.sets.contents import unpack
from topcoat.sets.named import NamedSet

_PARALLEL = 12
_REVISION, _SOURCE = "org.opencontainers.image.revision", "org.opencontainers.image.source"


class SetReader:
    """Reads sets and compares them; what a digest names is kept in the work folder."""

    def __init__(self, registries: Registries, work: Path, platform: str, *, read_layers: bool = False) -> None:
        """:param read_layers: read the package database out of the layers of images that have no inventory of ours."""
        self._registries = registries
        self._work = work
        self._platform = platform
        self._reader = ImageReader(registries, work, platform)
        self._read_layers = read_layers
        self._bundles: dict[_Place, Mapping[str, tuple[ChangelogEntry, ...]]] = {}
        self._shared: dict[frozenset[Package], frozenset[Package]] = {}
        self._contents: dict[bytes, dict[str, ImageFacts]] = {}
        self._from_layers: dict[str, tuple[ChangelogEntry, ...]] = {}

    def of_platform(self, platform: str) -> SetReader:
        """A reader of the same sets for another platform: of an index it takes another image."""
        return SetReader(self._registries, self._work, platform, read_layers=self._read_layers)

    def changes(self, before: NamedSet, after: NamedSet) -> SetChanges:
        """How the second set differs from the first.

        :raises ContentError: an image of either is gone from the registry, or a document of it is damaged.
        """
        old, new = before.digests, after.digests
        same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
        read = self._read({name: where for name, where in before.images.items() if name not in same}, before)
        now = self._read({name: where for name, where in after.images.items() if name not in same}, after)
        sides = [
            {name: ImageFacts(digest) if name in same else facts[name] for name, digest in found.digests.items() if name in same or name in facts}
            for found, facts in ((before, read), (after, now))
        ]
        return compare(*sides, unchanged=lambda: self._read({name: after.images[name] for name in same}, after, before).values())

    def facts(self, found: NamedSet, *others: NamedSet) -> dict[str, ImageFacts]:
        """Every image of a set with its packages; without those that a set of several architectures does not have for the platform.

        :param others: sets of which something may be known already.
        """
        written = self._written(found)
        # what was written is of the whole set: an image that it does not have was in no index for the platform then
        wanted = {name: where for name, where in found.images.items() if not written or name in written}
        return self._read(wanted, found, *others)

    def _read(self, wanted: Mapping[str, ImageReference], *sets: NamedSet) -> dict[str, ImageFacts]:
        """Of what is written about the sets, else of the images themselves; a digest decides what may be taken."""
        known = {one.digest: one for found in sets for one in self._written(found).values()}
        found = {name: known[where.digest] for name, where in wanted.items() if where.digest in known}
        missing = {name: where for name, where in wanted.items() if name not in found or (found[name].packages is None and self._read_layers)}
        read = self._facts(missing.values())
        return {name: read[where] if name in missing else found[name] for name, where in wanted.items() if name not in missing or where in read}

    def _written(self, found: NamedSet) -> dict[str, ImageFacts]:
        """What was written about a set when it was promoted; nothing where that cannot be read: it only saves asking."""
        if found.contents not in self._contents:
            try:
                self._contents[found.contents] = unpack(found.contents, self._platform) if found.contents else {}
            except ContentError:
                self._contents[found.contents] = {}
        return self._contents[found.contents]

    def _facts(self, references: Iterable[ImageReference]) -> dict[ImageReference, ImageFacts]:
        wanted = list(dict.fromkeys(references))
        read = zip(wanted, each(wanted, self._one, workers=_PARALLEL), strict=True)
        return {where: facts for where, facts in read if facts is not None}

    def _one(self, reference: ImageReference) -> ImageFacts | None:
        """What is known of an image; None where its index holds none for the platform: it is no image of this architecture's set."""
        try:
            stored = self._reader.find(reference)
        except PlatformError:
            if self._registries.client(reference.host).manifest(reference.repository, reference.target).is_index:
                return None
            raise
        if stored is None:
            raise ContentError(f"{reference} is gone from the registry", next_step="compare with a set that is still there")
        listing = self._reader.listing(stored)
        if listing is None and self._read_layers:
            listing = self._out_of_layers(stored)
        own = stored.labels
        return ImageFacts(
            stored.digest if reference.digest is None else reference.digest,
            # the same list of many images is one object, so that it is compared once
            self._shared.setdefault(listing.packages, listing.packages) if listing else None,
            listing.changelogs if listing else {},
            own.get(labels.FINGERPRINT, ""),
            fingerprint_parts(own),
            own.get(_REVISION, ""),
            own.get(_SOURCE, ""),
        )

    def _out_of_layers(self, stored: StoredImage) -> Listing | None:
        try:
            found = self._reader.from_layers(stored)
        except ContentError:
            return None  # no image of packages
        self._from_layers.update(found.read_changelogs)
        return Listing(frozenset((str(one.nevra), one.source_rpm, one.build_time) for one in found.packages))

    # ---- changelogs ---------------------------------------------------------------------------------------------------------------------------

    def entries(self, changes: SetChanges, before: NamedSet, after: NamedSet) -> dict[str, tuple[ChangelogEntry, ...] | None]:
        """Source package -> its changelog entries that the first set lacks; None where the registry keeps no changelog of it.

        :raises ContentError: a bundle is damaged.
        """
        leads = {row.source: _lead(row) for row in changes.rows if row.kind in ("updated", "downgraded", "new")}
        facts: dict[ImageReference, ImageFacts] = {}
        for named in (before, after):
            wanted_images = {name: named.images[name] for move in leads.values() if (name := move.images[0]) in named.images}
            facts |= {named.images[name]: one for name, one in self._read(wanted_images, before, after).items()}
        wanted = {
            where: None
            for move in leads.values()
            for named, rpms in ((before, move.old_rpms), (after, move.new_rpms))
            if (where := _place(move, rpms, named, facts)) and where not in self._bundles
        }
        self._bundles.update(zip(wanted, each(wanted, self._bundle, workers=_PARALLEL), strict=True))
        found: dict[str, tuple[ChangelogEntry, ...] | None] = {}
        for source, move in leads.items():
            new, old = self._history(move, move.new_rpms, after, facts), self._history(move, move.old_rpms, before, facts)
            found[source] = None if new is None or (old is None and move.old) else newer(new, old or ())
        return found

    def changelogs(self, sets: Iterable[tuple[NamedSet, Mapping[str, ImageFacts]]]) -> Iterator[tuple[str, tuple[ChangelogEntry, ...]]]:
        """Source RPM and entries of every changelog that is kept for what these sets hold, each once.

        :raises ContentError: a bundle is damaged.
        """
        wanted: dict[str, _Place] = {}
        for found, facts in sets:
            for name, one in facts.items():
                where = found.images[name]
                for source_rpm, digest in one.changelogs.items():
                    wanted.setdefault(source_rpm, (where.host, kept.repository_beside(where.repository), digest))
        missing = [where for where in dict.fromkeys(wanted.values()) if where not in self._bundles]
        self._bundles.update(zip(missing, each(missing, self._bundle, workers=_PARALLEL), strict=True))
        for source_rpm, place in wanted.items():
            if source_rpm in self._bundles[place]:
                yield source_rpm, self._bundles[place][source_rpm]

    def stored(self, found: NamedSet) -> dict[str, StoredImage | None]:
        """Every image of a set as the registry holds it now; None where it is gone."""

        def one(where: ImageReference) -> StoredImage | None:
            there = where.digest is not None and self._registries.client(where.host).head(where.repository, where.digest)
            return self._reader.find(where) if there else None

        return dict(zip(found.images, each(found.images.values(), one, workers=_PARALLEL), strict=True))

    def _bundle(self, where: _Place) -> Mapping[str, tuple[ChangelogEntry, ...]]:
        return kept.read(self._registries.client(where[0]), where[1], where[2]) or {}

    def _history(
        self, move: Move, rpms: tuple[str, ...], named: NamedSet, facts: Mapping[ImageReference, ImageFacts]
    ) -> tuple[ChangelogEntry, ...] | None:
        where = _place(move, rpms, named, facts)
        if where and rpms[-1] in self._bundles.get(where, {}):
            return self._bundles[where][rpms[-1]]
        return self._from_layers.get(rpms[-1]) if rpms else None


_Place = tuple[str, str, Digest]
"""Registry, repository and bundle of a changelog."""


def _lead(row: Row) -> Move:
    """The move that stands for a row's changelog: the one of the most images."""
    return max((move for move in row.moves if move.new), key=lambda move: (bool(move.old) or row.kind == "new", len(move.images)))


def _place(move: Move, rpms: tuple[str, ...], named: NamedSet, facts: Mapping[ImageReference, ImageFacts]) -> _Place | None:
    reference = named.images.get(move.images[0])
    digest = facts[reference].changelogs.get(rpms[-1]) if reference and rpms else None
    return (reference.host, kept.repository_beside(reference.repository), digest) if reference and digest else None
