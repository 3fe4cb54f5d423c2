"""Puts images into registries: each blob over the wire once, manifest last, read back by digest, floating tags by a call of their own.

This module must never move a tag before everything under it is in place.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import Digest, ImageReference, ImageRepository
from topcoat.model.receipt import LayerSize
from topcoat.process.each import each
from topcoat.publisher.ledger import BlobLedger
from topcoat.registry import INVENTORY_TYPE, Descriptor, Image, Manifest, Registries, RegistryClient, digest_of, image_manifest
from topcoat.registry.attached import LISTS, Attached
from topcoat.registry.referrers import Documents

Source = Path | bytes | ImageRepository
"""Where a blob comes from: a file, its bytes, or a repository that holds it (mounted where it is the same registry, else copied from there)."""


@dataclass(frozen=True)
class Published:
    """What a push did. Sizes are compressed bytes; ``bytes_mounted`` went over no wire."""

    manifest: Manifest
    bytes_pushed: int = 0
    bytes_mounted: int = 0
    layers: tuple[LayerSize, ...] = ()
    unchanged: bool = False
    """The registry held exactly this manifest already."""

    @property
    def digest(self) -> Digest:
        """Digest of the manifest."""
        return self.manifest.digest


@dataclass
class _Tally:
    pushed: int = 0
    mounted: int = 0


class Publisher:
    """One for a run, shared by its threads."""

    def __init__(self, registries: Registries, *, scratch: Path | None = None) -> None:
        """:param scratch: folder for blobs on their way from one registry to another; the system's temporary folder by default."""
        self._registries = registries
        self._ledger = BlobLedger()
        self._scratch = scratch

    # ---- images -----------------------------------------------------------------------------------------------------------------------------

    def publish(
        self,
        repository: ImageRepository | str,
        image: Image,
        blobs: Mapping[Digest, Source],
        tags: Iterable[str] = (),
        *,
        read_back: bool = True,
        there: bool | None = None,
        new: Collection[Digest] = (),
    ) -> Published:
        """Push an image.

        :param repository: also as text, ``host[:port]/path``.
        :param blobs: where each layer comes from; a layer that is not named must be in the repository already. One whose source is the repository
            itself is not asked for: the registry checks it when it takes the manifest (distribution-spec 1.1, "Pushing Manifests").
        :param tags: unique tags; a floating tag is moved afterwards with ``move_tag``.
        :param read_back: fetch the manifest again and compare; needless only for who does so with its last tag.
        :param there: whether the registry holds exactly this manifest, where the caller knows; the registry is asked otherwise.
        :param new: layers that only just came to be: no registry is asked whether it holds them.
        :raises ContentError: a layer is nowhere. :raises InfrastructureError: the registry.
        """
        target = ImageRepository.of(repository)
        client = self._registries.client(target.host)
        body, config = image_manifest(image)
        manifest = Manifest(digest_of(body), image.media_type, body)
        digest = manifest.digest
        tally = _Tally()
        sent: set[Digest] = set()
        unchanged = client.head(target.path, digest) == digest if there is None else there
        held: list[Digest] = []
        if not unchanged:
            sources: dict[Digest, Source] = {**blobs, digest_of(config): config}
            for descriptor in manifest.blobs:
                if sources.get(descriptor.digest) == target:
                    held.append(descriptor.digest)
                elif self._ensure(client, target.path, descriptor, sources.get(descriptor.digest), tally, new=descriptor.digest in new):
                    sent.add(descriptor.digest)
        wanted = list(tags)
        if not unchanged or wanted:
            for number, tag in enumerate(wanted or [digest]):
                if unchanged and client.head(target.path, tag) == digest:
                    continue
                try:
                    client.put_manifest(target.path, tag, body, image.media_type, read_back=read_back and number == 0 and not unchanged)
                except InfrastructureError:
                    self._prove_held(client, target.path, held)
                    raise
        for layer in image.layers:  # who holds the image holds its layers
            self._ledger.add(target.host, layer.digest, target.path)
        layers = tuple(LayerSize(layer.digest, layer.size, layer.digest in sent) for layer in image.layers)
        return Published(manifest, tally.pushed, tally.mounted, layers, unchanged)

    def _prove_held(self, client: RegistryClient, repository: str, digests: Iterable[Digest]) -> None:
        """Say so where the registry refused a manifest because a layer is gone from a repository whose images name it."""
        for digest in digests:
            if not client.has_blob(repository, digest):
                raise _nowhere(client.host, repository, digest)

    def move_tag(self, repository: ImageRepository | str, digest: Digest, tag: str, *, look: bool = True) -> bool:
        """Point a tag at a manifest of the same repository; False when it did already.

        One manifest request where the manifest is known to this run, no layer traffic.

        :param look: ask first where the tag points; needless for a tag of this run alone on an image that this run made.
        """
        target = ImageRepository.of(repository)
        client = self._registries.client(target.host)
        if look and client.head(target.path, tag) == digest:
            return False
        manifest = client.manifest(target.path, digest)
        client.put_manifest(target.path, tag, manifest.body, manifest.media_type, read_back=False)
        return True

    def copy(self, source: ImageReference, target: ImageReference, *, artifacts: bool = True) -> Published:
        """Copy an image or an index with all its children, and what is attached to it; only what is missing goes over the wire.

        :param target: with the tag to give, or without one (then by digest only); a tag is read back.
        :raises ContentError: the tag shows another image afterwards.
        """
        tally = _Tally()
        reader, writer = self._registries.client(source.host), self._registries.client(target.host)
        manifest = reader.manifest(source.repository, source.target)
        unchanged = self._transfer(reader, source.repository, manifest, writer, target.repository, tally, artifacts=artifacts)
        if target.tag and writer.shown(target.repository, target.tag) != manifest.digest:
            writer.put_manifest(target.repository, target.tag, manifest.body, manifest.media_type, read_back=False)
            unchanged = False
            shown = writer.shown(target.repository, target.tag)
            if shown != manifest.digest:
                raise ContentError(
                    f"{target} shows {shown} after {manifest.digest} was copied there", next_step="find out who else moves this tag, and copy again"
                )
        return Published(manifest, tally.pushed, tally.mounted, (), unchanged)

    def copy_set(self, pairs: Sequence[tuple[ImageReference, ImageReference]], *, artifacts: bool = True, workers: int = 4) -> list[Published]:
        """Copy images that share layers: what any of the targets holds, also from a run that was cut off, is mounted and not sent again.

        :param pairs: (source, target) as of ``copy``. :returns: in the same order.
        :raises NotFoundError: a source does not exist; nothing was copied then.
        """

        def look(pair: tuple[ImageReference, ImageReference]) -> Manifest:
            return self._registries.client(pair[0].host).manifest(pair[0].repository, pair[0].target)

        def learn(known: tuple[tuple[ImageReference, ImageReference], Manifest, set[Descriptor]]) -> None:
            pair, manifest, blobs = known
            self._learn(pair[1], manifest.digest, blobs, {one for one in blobs if times[one.digest] > 1})

        manifests = each(pairs, look, workers=workers)
        parts = each(zip(pairs, manifests, strict=True), lambda one: self._blobs_below(one[0][0], one[1]), workers=workers)
        times = Counter(blob.digest for blobs in parts for blob in blobs)
        each(zip(pairs, manifests, parts, strict=True), learn, workers=workers)
        return each(pairs, lambda pair: self.copy(*pair, artifacts=artifacts), workers=workers)

    def _blobs_below(self, source: ImageReference, manifest: Manifest) -> set[Descriptor]:
        """Every blob of an image, or of all images of an index."""
        reader = self._registries.client(source.host)
        below = (self._blobs_below(source, reader.manifest(source.repository, child.digest)) for child in manifest.children)
        return set(manifest.blobs).union(*below)

    def _learn(self, target: ImageReference, digest: Digest, blobs: set[Descriptor], shared: set[Descriptor]) -> None:
        """Write down which blobs a target repository holds: all when it holds the image, else those of the shared ones that it shows."""
        client = self._registries.client(target.host)
        whole = client.head(target.repository, digest) == digest
        for blob in blobs if whole else shared:
            if whole or not client.blob_problem(target.repository, blob):
                self._ledger.add(target.host, blob.digest, target.repository)

    def _transfer(
        self, reader: RegistryClient, source: str, manifest: Manifest, writer: RegistryClient, target: str, tally: _Tally, *, artifacts: bool
    ) -> bool:
        """Bring one manifest with everything below it; True when it was there."""
        here = (reader.host, source) == (writer.host, target)
        there = here or writer.head(target, manifest.digest) == manifest.digest
        if not there:
            for child in manifest.children:
                self._transfer(reader, source, reader.manifest(source, child.digest), writer, target, tally, artifacts=artifacts)
            for descriptor in manifest.blobs:
                self._ensure(writer, target, descriptor, ImageRepository(reader.host, source), tally)
            writer.put_manifest(target, manifest.digest, manifest.body, manifest.media_type)
        if artifacts and not here:
            known = {entry.digest for entry in writer.referrers(target, manifest.digest)}
            for entry in reader.referrers(source, manifest.digest):
                if entry.digest in known:
                    continue
                attached = reader.manifest(source, entry.digest)
                for descriptor in attached.blobs:
                    self._ensure(writer, target, descriptor, ImageRepository(reader.host, source), tally)
                writer.put_attached(target, manifest.digest, attached, entry)
            for suffix in LISTS:
                Attached(writer, target, manifest.digest, suffix).take(Attached(reader, source, manifest.digest, suffix))
        return there

    # ---- attached documents ------------------------------------------------------------------------------------------------------------------------

    def attach_inventory(self, repository: str, digest: Digest, files: dict[str, bytes]) -> Digest:
        """Store an inventory beside an image; found again by the image's digest. The same inventory again changes nothing.

        :param repository: ``host[:port]/path``. :param files: file name -> content.
        """
        return self.attach(repository, digest, {INVENTORY_TYPE: files})[INVENTORY_TYPE]

    def attach(self, repository: ImageRepository | str, digest: Digest, documents: Documents) -> dict[str, Digest]:
        """Store documents beside an image, found again by the image's digest and their types; see ``RegistryClient.attach``."""
        target = ImageRepository.of(repository)
        client = self._registries.client(target.host)
        subject = client.manifest(target.path, digest).descriptor
        return client.attach(target.path, subject, documents)

    def inventory(self, repository: ImageRepository | str, digest: Digest) -> dict[str, bytes] | None:
        """The files that ``attach_inventory`` stored, or None."""
        target = ImageRepository.of(repository)
        return self._registries.client(target.host).attachment(target.path, digest, INVENTORY_TYPE)

    # ---- blobs ----------------------------------------------------------------------------------------------------------------------------------

    def _ensure(
        self, client: RegistryClient, repository: str, descriptor: Descriptor, source: Source | None, tally: _Tally, *, new: bool = False
    ) -> bool:
        """Bring a blob into a repository by the cheapest way that works; True when it was sent."""
        host, digest = client.host, descriptor.digest
        if self._mount(client, repository, descriptor, tally):
            return False
        with self._ledger.sending(host, digest):
            # who waited for the lock finds a holder now
            if self._mount(client, repository, descriptor, tally):
                return False
            location = None
            if isinstance(source, ImageRepository) and source.host == host and source.path != repository:
                location = client.blobs.start(repository, digest, source.path)
                if location is None:
                    tally.mounted += descriptor.size
                    self._ledger.add(host, digest, source.path)
                    self._ledger.add(host, digest, repository)
                    return False
                client.blobs.cancel(repository, location)
            sent = self._send(client, repository, descriptor, source, new=new)
            if sent:
                tally.pushed += descriptor.size
            self._ledger.add(host, digest, repository)
            return sent

    def _mount(self, client: RegistryClient, repository: str, descriptor: Descriptor, tally: _Tally) -> bool:
        """Mount from a repository that is known to hold the blob; True when it is in place."""
        holders = self._ledger.holders(client.host, descriptor.digest)
        if repository in holders:
            return True
        for holder in holders:
            location = client.blobs.start(repository, descriptor.digest, holder)
            if location is None:
                tally.mounted += descriptor.size
                self._ledger.add(client.host, descriptor.digest, repository)
                return True
            # this registry does not mount, or the blob is gone from there
            client.blobs.cancel(repository, location)
            self._ledger.forget(client.host, descriptor.digest, holder)
        return False

    def _send(self, client: RegistryClient, repository: str, descriptor: Descriptor, source: Source | None, *, new: bool = False) -> bool:
        """Send a blob that cannot be mounted; False when the repository held it."""
        if new and isinstance(source, Path | bytes):
            client.put_blob(repository, descriptor.digest, source)
            return True
        if isinstance(source, Path | bytes):
            return client.blobs.put_missing(repository, descriptor.digest, source)
        if not client.blob_problem(repository, descriptor):
            return False
        if source is None or source == ImageRepository(client.host, repository):
            raise _nowhere(client.host, repository, descriptor.digest)
        # by way of a file: a retry must be able to start again, and a stream would hold a connection that the other side may need
        with tempfile.NamedTemporaryFile(prefix="topcoat-blob-", dir=self._scratch) as spool:
            with self._registries.client(source.host).stream_blob(source.path, descriptor.digest, descriptor.size) as chunks:
                for chunk in chunks:
                    spool.write(chunk)
            spool.flush()
            client.put_blob(repository, descriptor.digest, Path(spool.name))
        return True


def _nowhere(host: str, repository: str, digest: Digest) -> ContentError:
    return ContentError(
        f"{host}/{repository}: layer {digest} is neither in the registry nor given", next_step="rebuild the image this layer belongs to"
    )
