"""Manifests and indexes of one registry: fetched and proved by their bytes, stored and read back, deleted.

This module must never trust the wire: every digest is computed from the bytes that came, and compared.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest, check_repository, check_tag, is_digest
from topcoat.registry import oci, scopes
from topcoat.registry.connection import Deadline
from topcoat.registry.errors import DigestMismatchError, HiddenError, RefusedError
from topcoat.registry.exchange import Upload
from topcoat.registry.oci import Manifest
from topcoat.registry.transport import Response, Transport

_KEPT = 8192


class Manifests:
    """The manifest half of a registry client. Manifests asked for by digest are kept: their bytes cannot change."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._kept: OrderedDict[tuple[str, Digest], Manifest] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """Of the registry, for errors."""
        return self._transport.host

    def get(self, repository: str, target: str, *, cached: bool = True) -> Manifest:
        """The manifest or index under a tag or digest, its digest proved from its bytes.

        :param cached: a manifest asked for by digest may come from memory: its bytes cannot change.
        :raises NotFoundError: there is none.
        """
        if is_digest(target) and cached:
            with self._lock:
                known = self._kept.get((repository, target))
            if known:
                return known

        def work(deadline: Deadline) -> Manifest:
            answer = self._transport.request(
                "GET", _path(repository, target), deadline, scopes=scopes.pull(repository), headers={"Accept": oci.ACCEPT}
            )
            return self._checked(repository, target, answer)

        return self._transport.operation(f"manifest {repository} {target}", work)

    def _checked(self, repository: str, target: str, answer: Response) -> Manifest:
        digest = oci.digest_of(answer.body)
        promised = target if is_digest(target) else answer.headers.get("docker-content-digest") or digest
        if promised not in (digest, oci.sha512_of(answer.body)):
            raise DigestMismatchError(
                f"{self.host}: the manifest {repository} {target} has the digest {digest}, the registry says {promised}",
                next_step="the registry or something on the way damages manifests; look at both",
            )
        media_type = answer.headers.get("content-type", "").split(";")[0].strip()
        if media_type not in oci.MANIFEST_TYPES + oci.INDEX_TYPES:
            try:  # some registries answer with a general type; the document names its own
                media_type = str(oci.read_json(answer.body, "manifest").get("mediaType"))
            except ContentError:
                media_type = ""
        if media_type not in oci.MANIFEST_TYPES + oci.INDEX_TYPES:
            raise ContentError(
                f"{self.host}/{repository} {target} is neither an OCI nor a Docker v2 manifest", next_step="push the image again with a current tool"
            )
        return self._remember(repository, Manifest(digest, media_type, answer.body))

    def _remember(self, repository: str, manifest: Manifest) -> Manifest:
        with self._lock:
            self._kept[repository, manifest.digest] = manifest
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return manifest

    def head(self, repository: str, target: str) -> Digest | None:
        """Digest of the manifest under a tag or digest, or None where there is none; always asks the registry."""

        def work(deadline: Deadline) -> Digest | None:
            try:
                answer = self._transport.request(
                    "HEAD", _path(repository, target), deadline, scopes=scopes.pull(repository), headers={"Accept": oci.ACCEPT}, ok=(200, 404)
                )
            except HiddenError:
                return None
            if answer.status == 404:
                return None
            said = answer.headers.get("docker-content-digest", "")
            # who says nothing, or says it by another algorithm, is asked for the bytes
            digest = said if said.startswith("sha256:") else self.get(repository, target, cached=False).digest
            if is_digest(target) and digest != target:
                raise DigestMismatchError(
                    f"{self.host}: asked for {repository}@{target}, the registry answers with {digest}", next_step="look at the registry"
                )
            try:
                return check_digest(digest)
            except UsageError as error:
                raise InfrastructureError(
                    f"{self.host}: {repository} {target} is {error.what}", retriable=False, next_step="look at the registry"
                ) from error

        return self._transport.operation(f"head {repository} {target}", work)

    def put(self, repository: str, target: str, body: bytes, media_type: str, *, read_back: bool = True) -> Digest:
        """Store a manifest under a tag or its digest.

        :param read_back: fetch it again by digest and compare the bytes.
        :returns: its digest, computed here.
        :raises DigestMismatchError: the registry names or returns another.
        """
        digest, _headers = self.store(repository, target, body, media_type)
        if read_back:
            found = self.get(repository, digest, cached=False)
            if found.body != body:
                raise DigestMismatchError(f"{self.host}: {repository}@{digest} reads back differently", next_step="look at the registry's storage")
        else:
            self._remember(repository, Manifest(digest, media_type, body))
        return digest

    def store(self, repository: str, target: str, body: bytes, media_type: str) -> tuple[Digest, dict[str, str]]:
        digest = oci.digest_of(body)
        if is_digest(target) and target != digest:
            raise ContentError(
                f"{repository}: the manifest to store under {target} has the digest {digest}", next_step="this is a defect of the caller"
            )

        def work(deadline: Deadline) -> dict[str, str]:
            answer = self._transport.request(
                "PUT",
                _path(repository, target),
                deadline,
                scopes=scopes.push(repository),
                headers={"Content-Type": media_type},
                body=Upload(body),
                ok=(200, 201, 202, 204),
            )
            returned = answer.headers.get("docker-content-digest")
            if returned and returned != digest:
                raise DigestMismatchError(
                    f"{self.host}: stored {repository} {target} as {returned}, it should be {digest}",
                    next_step="something on the way changes manifests; look at proxies",
                )
            return dict(answer.headers)

        return digest, self._transport.operation(f"put manifest {repository} {target}", work)

    def delete(self, repository: str, digest: Digest) -> bool:
        """Delete a manifest, and with it every tag that names it; False when it was gone already.

        :raises RefusedError: the registry deletes nothing.
        """
        check_digest(digest)

        def work(deadline: Deadline) -> bool:
            path = _path(repository, digest)
            return self._transport.request("DELETE", path, deadline, scopes=scopes.delete(repository), ok=(200, 202, 204, 404)).status != 404

        gone = self._transport.operation(f"delete {repository} {digest}", work)
        if not gone and self.head(repository, digest):  # some answer 404 because they have no such call
            raise RefusedError(f"{self.host} does not delete manifests", next_step="clean this registry with its own tools")
        with self._lock:
            self._kept.pop((repository, digest), None)
        return gone

    def delete_by_tag(self, repository: str, tag: str) -> bool:
        """Whether the registry has the call; docker-registry 2.8 answers 400 or 404 to a tag."""

        def work(deadline: Deadline) -> int:
            path = _path(repository, tag)
            known = (200, 202, 204, 400, 404, 405, 501)
            return self._transport.request("DELETE", path, deadline, scopes=scopes.delete(repository), ok=known).status

        return self._transport.operation(f"delete tag {repository}:{tag}", work) < 300 and self.head(repository, tag) is None


def _path(repository: str, target: str) -> str:
    checked = check_digest(target) if is_digest(target) else check_tag(target)
    return f"/v2/{check_repository(repository)}/manifests/{checked}"
