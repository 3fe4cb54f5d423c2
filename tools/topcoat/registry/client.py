"""Client of one registry (OCI distribution specification 1.1): manifests, tags, blobs, attached artifacts.

This module must never trust the wire: every digest is computed from the bytes that came, and compared.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import ssl
import threading
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest, check_repository, check_tag
from topcoat.registry import oci
from topcoat.registry.auth import Credentials
from topcoat.registry.blobs import Blobs
from topcoat.registry.connection import Deadline
from topcoat.registry.errors import DigestMismatchError, NotFoundError, RefusedError
from topcoat.registry.exchange import Upload
from topcoat.registry.limits import Limits, Traffic
from topcoat.registry.oci import Descriptor, Image, Manifest
from topcoat.registry.referrers import Referrers
from topcoat.registry.transport import Response, Transport

_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_CACHED_MANIFESTS = 8192


class RegistryClient:
    """One registry, to be shared by threads."""

    def __init__(
        self,
        host: str,
        credentials: Credentials | None = None,
        ca_file: Path | str | None = None,
        plain_http: bool = False,
        *,
        context: ssl.SSLContext | None = None,
        plain_hosts: frozenset[str] = frozenset(),
        limits: Limits | None = None,
    ) -> None:
        """:param host: ``name[:port]``.

        :param plain_http: speak to this host without TLS; ``plain_hosts`` are others (a token server) that may be.
        :param context: TLS settings shared with other clients, instead of ``ca_file``.
        """
        self.host = host
        self.limits = limits or Limits()
        self.traffic = Traffic()
        self._transport = Transport(
            host,
            credentials=credentials,
            context=context or tls_context(ca_file),
            plain_hosts=plain_hosts | {host} if plain_http else plain_hosts,
            limits=self.limits,
            traffic=self.traffic,
        )
        self.blobs = Blobs(self._transport)
        self._referrers = Referrers(self, self._transport)
        self._manifests: OrderedDict[tuple[str, Digest], Manifest] = OrderedDict()
        self._lock = threading.Lock()
        self._tags_can_go: bool | None = None

    def __repr__(self) -> str:
        return f"RegistryClient({self.host!r})"

    # ---- manifests ------------------------------------------------------------------------------------------------------------------------

    def manifest(self, repository: str, target: str, *, cached: bool = True) -> Manifest:
        """The manifest or index under a tag or digest, its digest proved from its bytes.

        :param cached: a manifest asked for by digest may come from memory: its bytes cannot change.
        :raises NotFoundError: there is none.
        """
        if ":" in target and cached:
            with self._lock:
                known = self._manifests.get((repository, target))
            if known:
                return known

        def work(deadline: Deadline) -> Manifest:
            answer = self._transport.request(
                "GET", _manifest_path(repository, target), deadline, scopes=pull(repository), headers={"Accept": oci.ACCEPT}
            )
            return self._checked(repository, target, answer)

        return self._transport.operation(f"manifest {repository} {target}", work)

    def _checked(self, repository: str, target: str, answer: Response) -> Manifest:
        digest = oci.digest_of(answer.body)
        promised = target if ":" in target else answer.headers.get("docker-content-digest") or digest
        if promised != digest:
            raise DigestMismatchError(
                f"{self.host}: the manifest {repository} {target} has the digest {digest}, the registry says {promised}",
                next_step="the registry or something on the way damages manifests; look at both",
            )
        media_type = answer.headers.get("content-type", "").split(";")[0].strip()
        if media_type not in oci.MANIFEST_TYPES + oci.INDEX_TYPES:
            try:  # some registries answer with a general type; the document names its own
                media_type = str(json.loads(answer.body).get("mediaType"))
            except (ValueError, AttributeError):
                media_type = ""
        if media_type not in oci.MANIFEST_TYPES + oci.INDEX_TYPES:
            raise ContentError(
                f"{self.host}/{repository} {target} is neither an OCI nor a Docker v2 manifest", next_step="push the image again with a current tool"
            )
        return self._remember(repository, Manifest(digest, media_type, answer.body))

    def _remember(self, repository: str, manifest: Manifest) -> Manifest:
        with self._lock:
            self._manifests[repository, manifest.digest] = manifest
            while len(self._manifests) > _CACHED_MANIFESTS:
                self._manifests.popitem(last=False)
        return manifest

    def head(self, repository: str, target: str) -> Digest | None:
        """Digest of the manifest under a tag or digest, or None where there is none; always asks the registry."""

        def work(deadline: Deadline) -> Digest | None:
            answer = self._transport.request(
                "HEAD", _manifest_path(repository, target), deadline, scopes=pull(repository), headers={"Accept": oci.ACCEPT}, ok=(200, 404)
            )
            if answer.status == 404:
                return None
            digest = answer.headers.get("docker-content-digest") or self.manifest(repository, target, cached=False).digest
            if ":" in target and digest != target:
                raise DigestMismatchError(
                    f"{self.host}: asked for {repository}@{target}, the registry answers with {digest}", next_step="look at the registry"
                )
            return check_digest(digest)

        return self._transport.operation(f"head {repository} {target}", work)

    def put_manifest(self, repository: str, target: str, body: bytes, media_type: str, *, read_back: bool = True) -> Digest:
        """Store a manifest under a tag or its digest.

        :param read_back: fetch it again by digest and compare the bytes.
        :returns: its digest, computed here.
        :raises DigestMismatchError: the registry names or returns another.
        """
        digest, _headers = self._put(repository, target, body, media_type)
        if read_back:
            found = self.manifest(repository, digest, cached=False)
            if found.body != body:
                raise DigestMismatchError(f"{self.host}: {repository}@{digest} reads back differently", next_step="look at the registry's storage")
        else:
            self._remember(repository, Manifest(digest, media_type, body))
        return digest

    def _put(self, repository: str, target: str, body: bytes, media_type: str) -> tuple[Digest, dict[str, str]]:
        digest = oci.digest_of(body)
        if ":" in target and target != digest:
            raise ContentError(
                f"{repository}: the manifest to store under {target} has the digest {digest}", next_step="this is a defect of the caller"
            )

        def work(deadline: Deadline) -> dict[str, str]:
            answer = self._transport.request(
                "PUT",
                _manifest_path(repository, target),
                deadline,
                scopes=push(repository),
                headers={"Content-Type": media_type},
                body=Upload(body),
                ok=(200, 201, 202),
            )
            returned = answer.headers.get("docker-content-digest")
            if returned and returned != digest:
                raise DigestMismatchError(
                    f"{self.host}: stored {repository} {target} as {returned}, it should be {digest}",
                    next_step="something on the way changes manifests; look at proxies",
                )
            return dict(answer.headers)

        return digest, self._transport.operation(f"put manifest {repository} {target}", work)

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Delete a manifest, and with it every tag that names it; False when it was gone already.

        :raises RefusedError: the registry deletes nothing.
        """
        check_digest(digest)

        def work(deadline: Deadline) -> bool:
            path = _manifest_path(repository, digest)
            return self._transport.request("DELETE", path, deadline, scopes=delete(repository), ok=(200, 202, 404)).status != 404

        gone = self._transport.operation(f"delete {repository} {digest}", work)
        if not gone and self.head(repository, digest):  # some answer 404 because they have no such call
            raise RefusedError(f"{self.host} does not delete manifests", next_step="clean this registry with its own tools")
        with self._lock:
            self._manifests.pop((repository, digest), None)
        return gone

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Remove one tag and nothing else; False when it was gone already.

        Where the registry deletes tags (distribution-spec 1.1, "Deleting tags") it is asked to. Where it deletes digests only, taking every tag on
        them, the tag is first moved to a manifest of its own, which nothing else can name, and that one is deleted.

        :raises RefusedError: the registry deletes nothing at all; the tag is where it was then.
        """
        check_tag(tag)
        digest = self.head(repository, tag)
        if digest is None:
            return False
        if self._tags_can_go is not False:
            self._tags_can_go = self._delete_by_tag(repository, tag)
            if self._tags_can_go:
                return True
        empty = oci.digest_of(oci.EMPTY_BLOB)
        if not self.has_blob(repository, empty):
            self.put_blob(repository, empty, oci.EMPTY_BLOB)
        own = {"io.topcoat.removed-tag": tag, "io.topcoat.nonce": secrets.token_hex(8)}
        tombstone = oci.artifact_manifest("application/vnd.topcoat.tombstone.v1+json", (), annotations=own)
        before = self.manifest(repository, digest)
        removed = self.put_manifest(repository, tag, tombstone, oci.OCI_MANIFEST, read_back=False)
        try:
            self.delete_manifest(repository, removed)
        except TopcoatError:
            self.put_manifest(repository, tag, before.body, before.media_type, read_back=False)
            raise
        return True

    def _delete_by_tag(self, repository: str, tag: str) -> bool:
        """Whether the registry has the call; docker-registry 2.8 answers 400 or 404 to a tag."""

        def work(deadline: Deadline) -> int:
            path = _manifest_path(repository, tag)
            return self._transport.request("DELETE", path, deadline, scopes=delete(repository), ok=(200, 202, 400, 404, 405, 501)).status

        return self._transport.operation(f"delete tag {repository}:{tag}", work) < 300 and self.head(repository, tag) is None

    def image(self, repository: str, target: str, *, platform: str = "linux/amd64") -> tuple[Manifest, Image]:
        """An image; where the name holds an index, its child for the platform.

        :returns: the manifest of the image itself (never an index) and the image.
        :raises NotFoundError: no such manifest. :raises ContentError: no child for the platform, or no image.
        """
        manifest = self.manifest(repository, target)
        if manifest.is_index:
            manifest = self.manifest(repository, oci.select_platform(manifest, platform).digest)
        return manifest, oci.parse_image(manifest, self.blob(repository, manifest.config.digest))

    # ---- lists ----------------------------------------------------------------------------------------------------------------------------

    def tags(self, repository: str) -> tuple[str, ...]:
        """Every tag of a repository, all pages, sorted; empty for a repository that does not exist."""
        path = f"/v2/{check_repository(repository)}/tags/list"
        for query in ("?n=1000", ""):  # a registry without pages may know no such parameter and answer 404
            try:
                found = self._pages(f"{path}{query}", "tags", pull(repository))
                return tuple(sorted(tag for tag in found if ":" not in tag))  # some list digests as tags too
            except NotFoundError:
                continue
        return ()

    def catalog(self) -> tuple[str, ...]:
        """Every repository, all pages, sorted.

        :raises RefusedError: the registry has no catalog, as many have not; work with an image list instead.
        """
        try:
            return tuple(sorted(self._pages("/v2/_catalog?n=1000", "repositories", ("registry:catalog:*",))))
        except NotFoundError as error:
            raise RefusedError(f"{self.host} has no catalog of its repositories", next_step="name the images, or give an image list") from error

    def _pages(self, path: str, key: str, scopes: tuple[str, ...]) -> set[str]:
        """All entries of a list that comes in pages (Link header, rel="next")."""
        found: set[str] = set()
        seen: set[str] = set()
        while path not in seen:
            seen.add(path)

            def work(deadline: Deadline, path: str = path) -> Response:
                return self._transport.request("GET", path, deadline, scopes=scopes)

            answer = self._transport.operation(f"list {path.split('?')[0]}", work)
            try:
                found.update(json.loads(answer.body).get(key) or ())
            except (ValueError, AttributeError) as error:
                raise InfrastructureError(
                    f"{self.host}: the list at {path} is not JSON", retriable=False, next_step="look at the registry"
                ) from error
            link = _NEXT.search(answer.headers.get("link", ""))
            if link:
                # only path and query: a next page on another host is none of ours
                parts = urllib.parse.urlsplit(urllib.parse.urljoin(path, link[1]))
                path = f"{parts.path}?{parts.query}"
        return found

    # ---- blobs: see topcoat.registry.blobs ----------------------------------------------------------------------------------------------------

    def blob(self, repository: str, digest: Digest) -> bytes:
        """A small blob (configuration, inventory), verified, in memory."""
        with self.stream_blob(repository, digest) as chunks:
            return b"".join(chunks)

    def stream_blob(self, repository: str, digest: Digest, size: int = 0) -> contextlib.AbstractContextManager[Iterator[bytes]]:
        """The chunks of a blob; a cut connection is resumed; the last chunk is held back until the digest is proved."""
        return self.blobs.stream(repository, digest, size)

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether a repository holds a blob."""
        return self.blobs.exists(repository, digest)

    def mount_blob(self, repository: str, digest: Digest, source_repository: str) -> bool:
        """Make a blob of another repository ours without sending it; False where the registry does not."""
        return self.blobs.mount(repository, digest, source_repository)

    def put_blob(self, repository: str, digest: Digest, source: bytes | Path) -> None:
        """Send a blob; checked by the registry against the digest."""
        self.blobs.put(repository, digest, source)

    # ---- attached artifacts: see topcoat.registry.referrers -----------------------------------------------------------------------------------

    def referrers(self, repository: str, digest: Digest, artifact_type: str | None = None) -> tuple[Descriptor, ...]:
        """What is attached to a manifest, by the referrers API or the tag that stands in for it."""
        return self._referrers.find(repository, digest, artifact_type)

    def attach(self, repository: str, subject: Descriptor, artifact_type: str, files: dict[str, bytes]) -> Digest:
        """Store files as an artifact attached to a manifest; the same files again change nothing."""
        return self._referrers.attach(repository, subject, artifact_type, files)

    def put_attached(self, repository: str, subject: Digest, manifest: Manifest, entry: Descriptor) -> None:
        """Store an artifact's manifest (its blobs are there) so that ``referrers`` of the subject lists ``entry``."""
        self._referrers.put(repository, subject, manifest, entry)

    def attachment(self, repository: str, digest: Digest, artifact_type: str) -> dict[str, bytes] | None:
        """The files attached last to a manifest under this type, or None."""
        return self._referrers.read(repository, digest, artifact_type)

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()


def pull(repository: str) -> tuple[str, ...]:
    """Token scope to read a repository."""
    return (f"repository:{repository}:pull",)


def push(repository: str) -> tuple[str, ...]:
    """Token scope to write a repository."""
    return (f"repository:{repository}:pull,push",)


def delete(repository: str) -> tuple[str, ...]:
    """Token scope to delete in a repository."""
    return (f"repository:{repository}:delete",)


def tls_context(ca_file: Path | str | None) -> ssl.SSLContext:
    """TLS with the system's authorities and, where given, one more."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"cannot read the certificate authority {ca_file}: {error}", next_step="check --ca-file") from error
    return context


def _manifest_path(repository: str, target: str) -> str:
    checked = check_digest(target) if ":" in target else check_tag(target)
    return f"/v2/{check_repository(repository)}/manifests/{checked}"
