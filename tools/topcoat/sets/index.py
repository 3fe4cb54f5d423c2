"""Joins the images of several architectures to one set: for each image an index over what the runs of the architectures have published.

This module must never read or send a layer where the images lie where the index will, and never put a moment or a host into an index: the same
images give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.lists import old_names
from topcoat.model import Action, Digest, ImageReference, ImageRepository, ImageResult, Profile, Reason, Receipt, Status
from topcoat.model.profile import platform_of
from topcoat.process.each import each
from topcoat.publisher import Publisher
from topcoat.registry import Descriptor, Manifest, NotFoundError, PlatformError, Registries, RegistryClient, digest_of
from topcoat.registry.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, Image, index_manifest
from topcoat.report import figures
from topcoat.sets.architectures import Part, WantedPart
from topcoat.sets.architectures import look as look_at
from topcoat.sets.named import NamedSet
from topcoat.sets.reading import SetReader
from topcoat.sets.skew import count, skews

_PARALLEL = 12
_SHOWN = 50
"""Source packages of other versions that the receipt names."""


@dataclass(frozen=True)
class Child:
    """An image in an index. ``result``: what its run says of it; None where it was carried."""

    arch: str
    reference: ImageReference
    """By digest, where it lies now."""
    descriptor: Descriptor
    result: ImageResult | None = None


@dataclass(frozen=True)
class Joined:
    """A set of indexes, not yet written."""

    tag: str
    parts: tuple[Part, ...]
    children: Mapping[str, tuple[Child, ...]]
    """Image name -> its children in the order of the profile."""
    indexes: Mapping[str, Manifest]
    notes: tuple[str, ...] = ()
    """What is not as it should be, in sentences for people."""
    skew: tuple[str, ...] = field(default=())
    """Source packages that the architectures have in different versions, a line each."""


class Joiner:
    """Joins the architectures of one profile."""

    def __init__(self, registries: Registries, profile: Profile, wanted: Sequence[WantedPart], *, work: Path, reference_tag: str = "") -> None:
        """:param profile: whose registry and names the set gets. :param wanted: in the order of the profile.

        :raises UsageError: the profile has one architecture.
        """
        if not profile.architectures:
            raise UsageError(
                f"the profile {profile.name} has one architecture, {profile.arch}: its images need no index",
                next_step="name its architectures under 'architectures'; without, 'topcoat build' gives the images the tag of the set",
            )
        self._registries = registries
        self._profile = profile
        self._wanted = wanted
        self._work = work
        self._reference_tag = reference_tag or profile.reference_tag

    # ---- looking ----------------------------------------------------------------------------------------------------------------------------

    def join(self, tag: str, receipts: Mapping[str, Receipt]) -> Joined:
        """Look at what the set would be; nothing is written.

        :param receipts: by the tag of their architecture, where they are not taken from the registry.
        :raises ContentError: an architecture or an image misses that may not.
        """
        parts = tuple(look_at(one, tag, self._registries, receipts.get(one.profile.run_tag(tag))) for one in self._wanted)
        self._require(tag, parts)
        names = list(dict.fromkeys(name for part in parts for name in part.wanted.images))
        found = dict(zip(names, each(names, lambda name: self._children(name, parts), workers=_PARALLEL), strict=True))
        empty = sorted(name for name, children in found.items() if not children)
        if empty:
            raise ContentError(
                f"{tag}: no architecture has {', '.join(empty)}, and {self._reference_tag} shows none that could be carried",
                next_step="wait for the architecture that has it, or leave the image out with --exclude",
            )
        return Joined(tag, parts, found, {name: index_over(children) for name, children in found.items()}, _notes(parts, found), self._skew(found))

    def _require(self, tag: str, parts: Sequence[Part]) -> None:
        problems = [f"{part.name}: {part.problem}" for part in parts if part.problem and part.wanted.architecture.missing == "fail"]
        for part in parts:
            lost = [name for name in part.wanted.images if name not in part.images]
            if not part.problem and lost and part.wanted.architecture.missing == "fail":
                problems.append(f"{part.name}: its run of {part.tag} failed at {', '.join(lost[:5])}")
        if problems:
            raise ContentError(
                f"{tag} is not made: {'; '.join(problems)}", next_step="run the build of that architecture to its end, then this command again"
            )

    def _children(self, name: str, parts: Sequence[Part]) -> tuple[Child, ...]:
        having = [part for part in parts if name in part.wanted.images]
        alone = not any(name in part.images for part in having)
        children = []
        for part in having:
            reference = part.images.get(name)
            if reference is not None:
                client = self._registries.client(reference.host)
                manifest, image = client.image(reference.repository, str(reference.digest), platform=part.wanted.profile.platform)
                children.append(Child(part.name, reference, describe(manifest, image, part.name), part.result(name)))
            # An image that only a late architecture has stays what it was: without it the set could not be promoted.
            elif part.wanted.architecture.missing == "carry" or alone:
                carried = self._carried(name, part)
                if carried:
                    children.append(carried)
        return tuple(children)

    def _carried(self, name: str, part: Part) -> Child | None:
        """The image that the reference tag shows for an architecture; None where it shows none."""
        profile = part.wanted.profile
        client = self._registries.client(profile.reference_registry or profile.registry)
        repository = profile.reference_repository_of(name)
        try:
            manifest, image = client.image(repository, self._reference_tag, platform=profile.platform)
        except (NotFoundError, PlatformError):
            return None
        return Child(part.name, ImageReference(client.host, repository, digest=manifest.digest), describe(manifest, image, part.name))

    def _skew(self, found: Mapping[str, Sequence[Child]]) -> tuple[str, ...]:
        """What the architectures hold in other versions than the first that has the image."""
        names = [one.architecture.name for one in self._wanted]
        sides: dict[str, dict[str, ImageReference]] = {arch: {} for arch in names}
        for name, children in found.items():
            for child in children:
                sides[child.arch][name] = child.reference
        facts = {
            arch: SetReader(self._registries, self._work, platform_of(arch)).facts(NamedSet(arch, arch, self._profile.registry, sides[arch]))
            for arch in names
        }
        return tuple(map(str, skews(facts)))

    # ---- writing ----------------------------------------------------------------------------------------------------------------------------

    def publish(self, joined: Joined, recipes_root: Path, *, say: Callable[[str], None] = lambda line: None) -> Receipt:
        """Write the indexes under the tag of the set, also of names that images had before, and read each back.

        :param recipes_root: its lists say which names these are.
        :raises ContentError: the tag shows a single image, or an index of more architectures than the new one.
        """
        client, publisher = self._registries.client(self._profile.registry), Publisher(self._registries)
        started = max((part.receipt.started for part in joined.parts if part.receipt), default=0.0)
        before = dict(zip(joined.indexes, each(joined.indexes, lambda name: self._shown(client, name, joined.tag), workers=_PARALLEL), strict=True))
        refused = [text for name, manifest in before.items() if manifest and (text := _loses(name, manifest, joined.indexes[name]))]
        if refused:
            raise ContentError(
                f"{joined.tag} stays as it is: {'; '.join(sorted(refused)[:5])}", next_step="give the set another tag, or delete this one first"
            )
        todo = [name for name, index in joined.indexes.items() if before[name] is None or before[name].digest != index.digest]  # type: ignore[union-attr]
        say(f"{joined.tag}: {len(todo)} of {len(joined.indexes)} indexes are new")
        publisher.copy_set(
            [
                (child.reference, self._place(name).at(Digest(str(child.reference.digest))))
                for name in todo
                for child in joined.children[name]
                if child.reference.place != self._place(name)
            ]
        )
        each(todo, lambda name: self._write(client, name, joined), workers=_PARALLEL)
        aliases = {
            name: [ImageRepository(self._profile.registry, self._profile.repository_of(old)) for old in others]
            for name, others in old_names(recipes_root, joined.indexes).items()
        }
        publisher.copy_set(
            [(self._place(name).at(joined.indexes[name].digest), place.tag(joined.tag)) for name, places in aliases.items() for place in places]
        )
        return _receipt(self._profile, joined, started)

    def _place(self, name: str) -> ImageRepository:
        return ImageRepository(self._profile.registry, self._profile.repository_of(name))

    def _shown(self, client: RegistryClient, name: str, tag: str) -> Manifest | None:
        digest = client.shown(self._profile.repository_of(name), tag)
        return client.manifest(self._profile.repository_of(name), digest) if digest else None

    def _write(self, client: RegistryClient, name: str, joined: Joined) -> None:
        repository, index = self._profile.repository_of(name), joined.indexes[name]
        client.put_manifest(repository, joined.tag, index.body, index.media_type, read_back=False)
        shown = client.shown(repository, joined.tag)
        if shown != index.digest:
            raise InfrastructureError(
                f"{client.host}/{repository}:{joined.tag} reads back as {shown}, not {index.digest}",
                image=name,
                next_step="another job may write the same tag; a registry that keeps single images and indexes apart needs a new one",
            )


def describe(manifest: Manifest, image: Image, arch: str) -> Descriptor:
    """An image as an entry of an index (image-spec, "Image Index"): what its own configuration says of the platform counts."""
    system, _, architecture = platform_of(arch).partition("/")
    platform = {"architecture": image.config.get("architecture") or architecture, "os": image.config.get("os") or system}
    if image.config.get("variant"):
        platform["variant"] = image.config["variant"]
    return replace(manifest.descriptor, platform=tuple(sorted(platform.items())))


def index_over(children: Sequence[Child]) -> Manifest:
    """The index over images, in the order given: Docker's list where each is Docker's, for clients that know no other, else OCI's."""
    entries = [child.descriptor for child in children]
    media_type = DOCKER_INDEX if all(entry.media_type == DOCKER_MANIFEST for entry in entries) else OCI_INDEX
    body = index_manifest(entries, media_type=media_type)
    return Manifest(digest_of(body), media_type, body)


def _platform(child: Descriptor) -> str:
    values = dict(child.platform)
    return f"{values.get('os', '')}/{values.get('architecture', '')}"


def _loses(name: str, before: Manifest, after: Manifest) -> str:
    """Why an index may not take the place of what its tag shows; empty when it may."""
    if not before.is_index:
        return f"{name} is a single image there"
    gone = {_platform(child) for child in before.children} - {_platform(child) for child in after.children}
    return f"{name} would lose {', '.join(sorted(gone))}" if gone else ""


def _notes(parts: Sequence[Part], found: Mapping[str, Sequence[Child]]) -> tuple[str, ...]:
    lines = []
    for part in parts:
        carried = [name for name, children in found.items() for child in children if child.arch == part.name and child.result is None]
        absent = [name for name in part.wanted.images if part.name not in (child.arch for child in found[name])]
        because = f", because {part.problem}" if part.problem else ""
        lines += [f"{part.name} is as before in {count(carried)}{because}"] if carried else []
        lines += [f"{part.name} is missing in {count(absent)}{because}"] if absent else []
    return tuple(lines)


def _receipt(profile: Profile, joined: Joined, started: float) -> Receipt:
    """The receipt of the set: its images are the indexes, and what is said of them is said by the runs of the architectures."""
    proven = {part.name: part.receipt for part in joined.parts if part.receipt and not part.problem}
    runs = list(proven.values())
    first = proven.get(profile.arch, runs[0])
    skew = joined.skew[:_SHOWN] + ((f"and {len(joined.skew) - _SHOWN} more packages",) if len(joined.skew) > _SHOWN else ())
    return Receipt(
        profile.name,
        joined.tag,
        Status.DONE,
        min((run.started for run in runs), default=started),
        max((run.finished for run in runs), default=started),
        tuple(_result(profile, name, joined) for name in joined.indexes),
        repositories=first.repositories,
        coverage=_coverage(runs),
        zuul=first.zuul,
        gated=tuple({str(entry.get("package")): entry for run in runs for entry in run.gated}.values()),
        recipes=first.recipes if all(run.recipes == first.recipes for run in runs) else {},
        warnings=(*joined.notes, *skew, *dict.fromkeys(text for run in runs for text in run.warnings)),
    )


def _coverage(runs: Sequence[Receipt]) -> tuple[dict[str, object], ...]:
    """A package is where it must be when it is in every architecture that was asked for it."""
    found: dict[str, dict[str, object]] = {}
    for run in runs:
        for entry in run.coverage:
            known = found.get(str(entry["package"]))
            if known is None or not figures.is_covered(entry):
                found[str(entry["package"])] = entry
    return tuple(found[name] for name in sorted(found))


def _result(profile: Profile, name: str, joined: Joined) -> ImageResult:
    children = joined.children[name]
    made = [child.result for child in children if child.result]
    lead = next((one for one in made if one.action != Action.REUSE.value), made[0] if made else None)
    changes = {change.key: change for one in made for change in one.changes}
    return ImageResult(
        name,
        Status.DONE,
        lead.action if lead else Action.REUSE.value,
        lead.reason if lead else Reason.UNCHANGED.code,
        f"index over {', '.join(child.arch + ('' if child.result else ' (as before)') for child in children)}{f': {lead.sentence}' if lead else ''}",
        repository=f"{profile.registry}/{profile.repository_of(name)}",
        tag=joined.tag,
        digest=joined.indexes[name].digest,
        fingerprint=lead.fingerprint if lead else None,
        method="index",
        changes=tuple(changes.values()),
        parent=lead.parent if lead else None,
        where=lead.where if lead else "",
        reference_digest=None,
        warnings=tuple(f"{child.arch}: {text}" for child in children if child.result for text in child.result.warnings),
    )
