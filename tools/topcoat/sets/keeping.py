"""What a set took from the repositories, and where it lay: locked by family, and kept so that the set can be made again without a mirror.

This module must never leave out a package that an image of the set holds and its base image does not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat.changes import ImageFacts
from topcoat.errors import ContentError
from topcoat.model import ImageReference, Nevra, Profile, Recipe
from topcoat.model.ancestry import chain
from topcoat.publisher import kept as stored
from topcoat.registry import Registries
from topcoat.report.console import some
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader
from topcoat.yum import kept, manifest, repositories
from topcoat.yum.manifest import Locked, Manifest
from topcoat.yum.repositories import RepositoryPackage, Snapshot

_NAMED = 5
"""Packages that an error names."""


@dataclass(frozen=True)
class Family:
    """The lock of one family, and how it differs from the one that was there: sentences, empty where nothing does."""

    name: str
    lock: Manifest
    differences: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write it into the folder of locks, whole or not at all."""
        manifest.write(self.lock, folder / f"{self.name}.yaml")


def take(profile: Profile, work: Path) -> dict[str, str]:
    """One frozen view of the profile's repositories, fetched and checked: repository id -> sha256 of its repomd.xml.

    :raises TopcoatError: as ``repositories.freeze``.
    """
    with repositories.freeze(profile.repositories, work) as snapshot:
        return dict(snapshot.view)


@dataclass(frozen=True)
class Keeping:
    """What ``keep`` did: the view, the bytes that are kept of it, and under which name."""

    view: Mapping[str, str]
    held: int
    place: str
    """A folder, or a name in a registry with the digest that proves all of it."""


def keep(
    found: NamedSet, place: str, *, reader: SetReader, registries: Registries, profile: Profile, recipes: Mapping[str, Recipe], work: Path
) -> Keeping:
    """Put the repositories' state that a set was made of into a folder or a registry, with every package that its images took.

    :param place: a folder, or ``docker://`` and a name with a tag. :param work: cache folder of repositories.
    :raises ContentError: a package is in no repository of that state, or an image's packages cannot be read.
    :raises UsageError: another state is kept there.
    """
    where = ImageReference.of_url(place)
    with repositories.freeze(profile.repositories, work, view=_view_of(found, profile)) as snapshot:
        places = _Places(snapshot)
        wanted: dict[str, set[str]] = {}
        for packages in _own(found, reader, profile, recipes).values():
            for package in packages:
                for repo_id, entry in places.of(package):
                    wanted.setdefault(repo_id, set()).add(entry.href)
        places.require()
        view, hrefs = dict(snapshot.view), {repo_id: sorted(hrefs) for repo_id, hrefs in wanted.items()}
        if where is None:
            return Keeping(view, kept.keep(snapshot, hrefs, Path(place), place), place)
        # beside the fetched packages: they are linked, not copied
        with tempfile.TemporaryDirectory(dir=work, prefix=".keep-") as folder:
            client = registries.client(where.host)
            stored.fetch_one(client, where, Path(folder), kept.CONTENTS)  # another state under this tag is refused
            held = kept.keep(snapshot, hrefs, Path(folder), place)
            return Keeping(view, held, f"docker://{where.with_digest(stored.store(client, where, Path(folder)))}")


def lock(found: NamedSet, folder: Path, *, reader: SetReader, profile: Profile, recipes: Mapping[str, Recipe], work: Path) -> list[Family]:
    """The locks of a set's families: what each image took that the image below it does not hold.

    :param folder: where earlier locks lie; what they say of other architectures stays.
    :raises ContentError: as ``keep``; or an image's parent is not in the set.
    """
    with repositories.freeze(profile.repositories, work, view=_view_of(found, profile)) as snapshot:
        places = _Places(snapshot)
        own = _own(found, reader, profile, recipes)
        families: dict[str, set[Locked]] = {}
        for name, packages in own.items():
            parent = recipes[name].parent
            if parent is not None and parent not in own:
                raise ContentError(
                    f"{name} stands on {parent}, which is not in the set {found.name}", next_step="lock a set of whole families and their parents"
                )
            into = families.setdefault(recipes[name].family, set())
            for package in packages - (own[parent] if parent else frozenset()):
                into.update(_locked(repo_id, entry) for repo_id, entry in places.of(package)[:1])
        places.require()
        urls = {frozen.id: frozen.repository.baseurl for frozen in snapshot.repositories}
    return [_family(name, packages, folder / f"{name}.yaml", profile.arch, urls) for name, packages in sorted(families.items())]


def _family(name: str, packages: set[Locked], path: Path, arch: str, urls: Mapping[str, str]) -> Family:
    before = manifest.read(path) if path.exists() else Manifest()
    after = before.with_architecture(arch, urls, packages)
    return Family(name, after, tuple(_differences(before.packages.get(arch, ()), after.packages.get(arch, ()))))


def _differences(before: Iterable[Locked], after: Iterable[Locked]) -> Iterable[str]:
    old, new = ({(one.nevra.name, one.nevra.arch, one.nevra.evr): one for one in side} for side in (before, after))
    names = sorted({key[:2] for key in old.keys() ^ new.keys()})
    for name, arch in names:
        went, came = (sorted(evr for one, other, evr in side if (one, other) == (name, arch)) for side in (old, new))
        yield f"{name}.{arch} {', '.join(went) or '(none)'} -> {', '.join(came) or '(gone)'}"
    rebuilt = sorted(key for key in old.keys() & new.keys() if old[key].checksum != new[key].checksum)
    yield from (f"{old[key].nevra}: another build of the same version" for key in rebuilt)


def _view_of(found: NamedSet, profile: Profile) -> dict[str, str] | None:
    """The state that a receipt names, without the repository of the changes under test, which is no repository of the profile."""
    known = {repository.id for repository in profile.repositories}
    extra = sorted(name for name in found.view if name.partition("#")[0] not in known)
    if extra:
        raise ContentError(
            f"{found.name} was made with repository {extra[0]}, which the profile {profile.name} does not have",
            next_step="take a set that was made without changes under test, or the profile that it was made with",
        )
    return dict(found.view) or None


def _own(found: NamedSet, reader: SetReader, profile: Profile, recipes: Mapping[str, Recipe]) -> dict[str, frozenset[tuple[str, str, int]]]:
    """Image -> its packages that the base image of its root does not hold.

    An image that has no packages at all takes nothing from a repository.
    """
    known = found.only(recipes)
    if not known.images:
        raise ContentError(f"{found.name} holds no image of the tree", next_step="name the set's own recipes with --recipes and --profile")
    bases = {name: _base_of(name, recipes, profile) for name in known.images}
    facts = reader.facts(known)
    below = reader.facts(replace(found, images={str(base): base for base in bases.values()}, contents=b""))
    return {name: _packages(one) - _packages(below[str(bases[name])]) for name, one in facts.items()}


def _packages(facts: ImageFacts) -> frozenset[tuple[str, str, int]]:
    return facts.packages or frozenset()


def _base_of(name: str, recipes: Mapping[str, Recipe], profile: Profile) -> ImageReference:
    """The base image that an image's root starts from."""
    own = recipes[chain(name, recipes)[-1]].own_base
    reference = ImageReference.parse(own or profile.base.source)
    return reference if own or profile.base.digest is None else reference.with_digest(profile.base.digest)


def _locked(repo_id: str, entry: RepositoryPackage) -> Locked:
    return Locked(entry.nevra, repo_id, entry.checksum, entry.size, entry.href, entry.source_rpm)


class _Places:
    """Where the packages of images lie in the repositories, the place that dnf prefers first; remembers what lies nowhere."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._found: dict[str, list[tuple[str, RepositoryPackage]]] = {}
        self._missing: set[str] = set()
        for frozen in sorted(snapshot.repositories, key=lambda one: one.repository.priority):
            for entry in snapshot.packages(frozen.id):
                self._found.setdefault(str(entry.nevra), []).append((frozen.id, entry))

    def of(self, package: tuple[str, str, int]) -> list[tuple[str, RepositoryPackage]]:
        """(repository id, package) of every repository that has it."""
        found = self._found.get(package[0], [])
        if not found and Nevra.parse(package[0]).name != "gpg-pubkey":
            self._missing.add(package[0])
        return found

    def require(self) -> None:
        """:raises ContentError: something that was asked for lies nowhere."""
        if self._missing:
            raise ContentError(
                f"{len(self._missing)} package(s) of the set are in no repository of the profile any more: {some(sorted(self._missing), _NAMED)}",
                next_step="name the set by the receipt of its run, whose view of the repositories still holds them, or update the set first",
            )
