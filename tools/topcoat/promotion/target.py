"""One registry and namespace whose floating tags are moved: its images, checks, moves and their undoing.

This module must never move a tag of a set whose other members it has not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from topcoat.errors import ContentError, TopcoatError
from topcoat.model import Digest, labels
from topcoat.process.each import each
from topcoat.promotion.control import Control
from topcoat.registry import INVENTORY_TYPE, Descriptor, Manifest, RegistryClient
from topcoat.registry.oci import MANIFEST_TYPES, parse_image

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Place:
    """A registry host and the repositories of the images there."""

    host: str
    namespace: str
    repositories: tuple[tuple[str, str], ...]
    """(image name, repository path)."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(old name, image name): names that renamed images had before; ``repositories`` holds their paths, and they are members like all others."""

    def __str__(self) -> str:
        return f"{self.host}/{self.namespace}".rstrip("/")


class Target:
    """A place with a client for it."""

    def __init__(self, place: Place, client: RegistryClient, workers: int = 8, pid: int | None = None) -> None:
        self.place = place
        self.client = client
        self.control = Control(client, place.namespace, pid=pid)
        self._repositories = dict(place.repositories)
        self._workers = workers

    def repository_of(self, image: str) -> str:
        """Repository path of an image."""
        return self._repositories[image]

    def digests(self, tag: str) -> dict[str, Digest | None]:
        """Image name -> digest under a tag, None where there is none; computed from what the registry sends.

        :raises InfrastructureError: it lists a tag that it does not send.
        """
        return dict(each(self._repositories, lambda image: (image, self.client.shown(self.repository_of(image), tag)), workers=self._workers))

    def manifests(self, tag: str) -> dict[str, Manifest]:
        """Image name -> manifest under a tag; an old name has that of its image.

        :raises ContentError: images without it; names them all.
        """
        aliases = dict(self.place.aliases)
        own = [image for image in self._repositories if image not in aliases]
        found = dict(each(own, lambda image: (image, self._manifest(image, tag)), workers=self._workers))
        missing = sorted(image for image, manifest in found.items() if manifest is None)
        if missing:
            raise ContentError(
                f"{self.place}: {len(missing)} of {len(found)} images have no tag {tag}: {', '.join(missing[:10])}",
                next_step="build and publish the whole set first",
            )
        whole = {image: manifest for image, manifest in found.items() if manifest is not None}
        return whole | {old: whole[image] for old, image in aliases.items() if image in whole}

    def _manifest(self, image: str, tag: str) -> Manifest | None:
        from topcoat.registry import NotFoundError

        try:
            return self.client.manifest(self.repository_of(image), tag)
        except NotFoundError:
            return None

    def check(self, manifests: Mapping[str, Manifest], *, inventories: bool) -> None:
        """Every blob of every manifest, of the children of an index, and the inventories must be there, each as long as it must be.

        A blob that several images share is asked for once: registries store it once. That each repository is linked to it is checked by the registry
        itself when it takes the manifest, and then a failure brings the whole set back.

        An image of an index is for the platform that the index names it for, and no name shows the image of another one.

        :raises ContentError: something is missing, cut off, for another platform or another image; names images and digests.
        """
        single = [(image, one) for image, manifest in manifests.items() for one in self.client.with_children(self.repository_of(image), manifest)]
        blobs = {blob: image for image, manifest in reversed(single) for blob in manifest.blobs}
        statements = {child.digest for _image, manifest in single for child in manifest.statements}
        subjects = [
            (manifest.digest, image) for image, manifest in single if inventories and not manifest.is_index and manifest.digest not in statements
        ]

        def blob(item: tuple[Descriptor, str]) -> str | None:
            descriptor, image = item
            problem = self.client.blob_problem(self.repository_of(image), descriptor)
            return f"{image}: {problem}" if problem else None

        def inventory(item: tuple[Digest, str]) -> str | None:
            digest, image = item
            found = self.client.referrers(self.repository_of(image), digest, INVENTORY_TYPE)
            return None if found else f"{image}: the inventory of {digest} is missing"

        children = [(child, image) for image, manifest in manifests.items() for child in manifest.images if child.media_type in MANIFEST_TYPES]
        strangers = self._of_another_name(manifests)
        if strangers:
            raise ContentError(
                f"{self.place}: {len(strangers)} name(s) show another image of the set: {'; '.join(sorted(strangers)[:10])}",
                next_step="build and publish the set again: somebody has copied one image over another",
            )
        wrong = [problem for problem in each(children, self._other_platform, workers=self._workers) if problem]
        if wrong:
            raise ContentError(
                f"{self.place}: {len(wrong)} image(s) are for another platform than their index says: {'; '.join(sorted(wrong)[:10])}",
                next_step="join the architectures again ('topcoat index')",
            )
        missing = [
            problem for problem in (*each(blobs.items(), blob, workers=self._workers), *each(subjects, inventory, workers=self._workers)) if problem
        ]
        if missing:
            raise ContentError(
                f"{self.place}: the set is not whole, {len(missing)} part(s) are missing or cut off: {'; '.join(sorted(missing)[:10])}",
                next_step="build and publish the set again",
            )

    def _of_another_name(self, manifests: Mapping[str, Manifest]) -> list[str]:
        """Names that show an image of another name of the set, which says so itself; images of others may stand under two names."""
        aliases = dict(self.place.aliases)
        shown: dict[Digest, list[str]] = {}
        for image, manifest in manifests.items():
            if image not in aliases:
                first = manifest.images[0].digest if manifest.is_index and manifest.images else manifest.digest
                shown.setdefault(first, []).append(image)
        found = []
        for digest, names in shown.items():
            if len(names) > 1:
                said = self.client.image(self.repository_of(names[0]), digest)[1].labels.get(labels.IMAGE)
                found += [f"{name} shows {said}" for name in names if said in names and name != said]
        return found

    def _other_platform(self, item: tuple[Descriptor, str]) -> str | None:
        """What is wrong with the platform that an index gives a child; None where it is that of the child's configuration, or none."""
        child, image = item
        said = dict(child.platform)
        if not said.get("architecture"):
            return None
        own = self.client.image(self.repository_of(image), child.digest)[1].platform
        wanted = f"{said.get('os') or 'linux'}/{said['architecture']}"
        return None if own == wanted else f"{image}: {child.digest} is for {own} and stands there for {wanted}"

    def move(self, tag: str, digests: Mapping[str, Digest]) -> None:
        """Point the tag of each image at its digest and read each back.

        :raises TopcoatError: the first failure, after every move that had begun has ended.
        """

        def one(image: str) -> None:
            repository = self.repository_of(image)
            manifest = self.client.manifest(repository, digests[image])
            self.client.put_manifest(repository, tag, manifest.body, manifest.media_type, read_back=False)
            shown = self.client.shown(repository, tag)
            if shown != digests[image]:
                raise ContentError(
                    f"{self.client.host}/{repository}:{tag} shows {shown} after it was moved to {digests[image]}",
                    image=image,
                    next_step="someone else moves this tag; find out who",
                )

        each(sorted(digests), one, workers=self._workers)

    def newest(self, digests: Mapping[str, Digest]) -> str:
        """When the newest of some images was created, as its configuration says (RFC 3339, UTC); empty where none says so.

        Images of ours are as old as the newest package in them, so this orders sets by what is inside, not by when somebody pushed them.
        """

        def one(image: str) -> str:
            repository = self.repository_of(image)
            manifest = self.client.manifest(repository, digests[image])
            # one architecture may have moved on while the others stayed
            own = [self.client.manifest(repository, child.digest) for child in manifest.images] if manifest.is_index else [manifest]
            return max((parse_image(single, self.client.blob(repository, single.config.digest)).created for single in own), default="")

        return max(each(sorted(digests), one, workers=self._workers), default="")

    def restore(self, tag: str, previous: Mapping[str, Digest], images: Iterable[str]) -> list[str]:
        """Bring tags back to what they were; images without an entry in ``previous`` lose the tag. Each tag is read back, also one that was right.

        :returns: one sentence for each image that could not be brought back; empty is good.
        """

        def one(image: str) -> str | None:
            try:
                repository = self.repository_of(image)
                shown = self.client.shown(repository, tag)
                if image not in previous:
                    if shown is not None:
                        self.client.delete_tag(repository, tag)
                        shown = self.client.shown(repository, tag)
                    if shown is not None:
                        return f"{image}: {repository}:{tag} shows {shown} and should be gone"
                elif shown != previous[image]:
                    self.move(tag, {image: previous[image]})
            except TopcoatError as error:
                return f"{image}: {error.what}"
            return None

        return [problem for problem in each(sorted(images), one, workers=self._workers) if problem]
