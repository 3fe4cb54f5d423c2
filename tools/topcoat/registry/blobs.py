"""Blobs of one registry: read verified and resumed, mounted, sent.

This module must never hand out the end of a blob whose digest is wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.model import Digest
from topcoat.model.image import check_digest, check_repository
from topcoat.registry import scopes
from topcoat.registry.connection import Deadline
from topcoat.registry.errors import BrokenConnectionError, DigestMismatchError, HiddenError, NotFoundError
from topcoat.registry.exchange import Reply, Upload
from topcoat.registry.transport import Response, Transport

SMALL_BYTES = 1 << 20
"""Up to here a blob is sent without a question whether it is there: the question costs as much as the answer saves."""
MEMORY_BYTES = 64 << 20
"""Up to here a blob is read into memory; no configuration, list of packages or receipt comes near it."""


class Blobs:
    """The blob half of a registry client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def exists(self, repository: str, digest: Digest) -> bool:
        """Whether a repository holds a blob."""
        return self._head(repository, digest)[0]

    def size(self, repository: str, digest: Digest) -> int | None:
        """Bytes of a blob as the registry holds it, -1 where it does not say; None where it holds none."""
        there, size = self._head(repository, digest)
        return size if there else None

    def _head(self, repository: str, digest: Digest) -> tuple[bool, int]:
        def work(deadline: Deadline) -> tuple[bool, int]:
            try:
                answer = self._transport.request("HEAD", _path(repository, digest), deadline, scopes=scopes.pull(repository), ok=(200, 404))
            except HiddenError:
                return False, -1  # an upload will tell whether the repository may be made
            length = answer.headers.get("content-length", "")
            return answer.status == 200, int(length) if length.isascii() and length.isdigit() else -1

        return self._transport.operation(f"head blob {repository} {digest}", work)

    def read(self, repository: str, digest: Digest, most: int = MEMORY_BYTES) -> bytes:
        """A small blob (configuration, inventory), verified, in memory.

        :param most: bytes that it may have.
        :raises ContentError: it has more; the rest is not read.
        """
        content = bytearray()
        with self.stream(repository, digest) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > most:
                    raise ContentError(
                        f"{self._transport.host}/{repository}: the blob {digest} has more than {most} bytes, too many for a document",
                        next_step="see who pushed it: what lies beside an image, or is its configuration, is small",
                    )
        return bytes(content)

    @contextlib.contextmanager
    def stream(self, repository: str, digest: Digest, size: int = 0) -> Iterator[Iterator[bytes]]:
        """See ``RegistryClient.stream_blob``.

        :param size: bytes where known; gives the transfer its time limit.
        """
        chunks = self._resumed(repository, digest, size)
        try:
            yield chunks
        finally:
            chunks.close()  # type: ignore[attr-defined]

    def _resumed(self, repository: str, digest: Digest, size: int) -> Iterator[bytes]:
        """Chunks of a blob over as many connections as it takes, inside one time limit."""
        limits = self._transport.limits
        what = f"{self._transport.host}: blob {repository}@{digest}"
        deadline = Deadline.after(limits.for_blob(size), what)
        seen = hashlib.sha256()
        held = b""  # the last chunk stays here until the digest is proved
        done = 0
        failures = 0
        while True:
            try:
                with self._open(repository, digest, done, deadline) as reply:
                    skip = done if done and reply.status == 200 else 0
                    for chunk in reply.chunks(blob=True):
                        if skip >= len(chunk):
                            skip -= len(chunk)
                            continue
                        chunk, skip = chunk[skip:], 0
                        seen.update(chunk)
                        done += len(chunk)
                        previous, held = held, chunk
                        if previous:
                            yield previous
                break
            except InfrastructureError as error:
                failures += 1
                if not error.retriable or failures >= limits.attempts:
                    raise
                self._transport.traffic.add(retries=1)
                # a read that got further starts its waits anew inside ``_open``; the deadline bounds the whole
        found = f"sha256:{seen.hexdigest()}"
        if found != digest:
            raise DigestMismatchError(
                f"{what}: the registry sent {done} bytes with the digest {found}", next_step="the registry's storage is damaged; push the image again"
            )
        if held:
            yield held

    def _open(self, repository: str, digest: Digest, offset: int, deadline: Deadline) -> Reply:
        headers = {"Range": f"bytes={offset}-"} if offset else {}

        def work(_operation: Deadline) -> Reply:
            return self._transport.send(
                "GET", _path(repository, digest), deadline, scopes=scopes.pull(repository), headers=headers, ok=(200, 206) if offset else (200,)
            )

        return self._transport.operation(f"blob {repository} {digest}", work, seconds=deadline.left())

    def mount(self, repository: str, digest: Digest, source_repository: str) -> bool:
        """See ``RegistryClient.mount_blob``."""
        return self.start(repository, digest, source_repository) is None

    def start(self, repository: str, digest: Digest, source_repository: str = "") -> str | None:
        """Begin an upload, asking for a mount where a source is named.

        :returns: None when the blob was mounted, else the URL that the upload goes to
            (distribution-spec 1.1, "Mounting a blob from another repository").
        """
        query = urllib.parse.urlencode({"mount": check_digest(digest), "from": check_repository(source_repository)}) if source_repository else ""

        def work(deadline: Deadline) -> Response:
            path = f"/v2/{check_repository(repository)}/blobs/uploads/"
            if query:
                # some registries answer a mount they cannot do with an error, though the specification wants an upload begun instead
                with contextlib.suppress(TopcoatError):
                    needed = (*scopes.push(repository), *scopes.pull(source_repository))
                    return self._transport.request("POST", f"{path}?{query}", deadline, scopes=needed, ok=(201, 202))
                deadline.left()
            return self._transport.request("POST", path, deadline, scopes=scopes.push(repository), ok=(202,))

        answer = self._transport.operation(f"upload {repository}", work)
        if answer.status == 201:
            self._transport.traffic.add(mounts=1)
            return None
        if "location" not in answer.headers:
            raise InfrastructureError(
                f"{self._transport.host}: an upload was begun without a Location", retriable=False, next_step="look at the registry"
            )
        return self._transport.own(answer.headers["location"])

    def cancel(self, repository: str, location: str) -> None:
        """Tell the registry that an upload will not go on; failures do not matter, it forgets by itself."""
        with contextlib.suppress(TopcoatError):
            deadline = Deadline.after(10.0, "cancel upload")
            self._transport.request("DELETE", location, deadline, scopes=scopes.delete(repository), ok=(200, 202, 204, 404, 405))

    def put(self, repository: str, digest: Digest, source: bytes | Path, *, location: str | None = None) -> None:
        """Send a blob; after a failure again from its beginning, with a new upload.

        :param location: an upload that ``start`` began and that was not used yet.
        """
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        begun = [location] if location else []
        tried = False

        def work(deadline: Deadline) -> None:
            nonlocal tried
            if tried and self.exists(repository, digest):
                return  # only the answer was lost
            tried = True
            where = begun.pop() if begun else self.start(repository, digest)
            assert where is not None  # without a source repository there is nothing to mount
            try:
                self._send(repository, digest, source, size, where, deadline)
            except NotFoundError as error:
                # a request that was sent again after a cut: the registry has finished or dropped this upload
                raise BrokenConnectionError(f"{error.what}: the upload was lost", next_step="run again") from error

        self._transport.operation(f"upload {repository} {digest}", work, seconds=self._transport.limits.for_blob(size))
        self._transport.traffic.add(blob_bytes_sent=size)

    def put_missing(self, repository: str, digest: Digest, source: bytes | Path) -> bool:
        """Send a blob unless it is there already; False when it was. A small one is sent without asking."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > SMALL_BYTES and self.exists(repository, digest):
            return False
        self.put(repository, digest, source)
        return True

    def _send(self, repository: str, digest: Digest, source: bytes | Path, size: int, where: str, deadline: Deadline) -> None:
        """One try: a single PUT, or chunks and an empty PUT (distribution-spec 1.1, "POST then PUT" and "Pushing a blob in chunks")."""
        step = self._transport.limits.chunk_bytes
        final = Upload(source)
        if size > step:
            where = self._send_chunks(repository, source, size, where, deadline)
            final = Upload(b"")
        url = f"{where}{'&' if '?' in where else '?'}{urllib.parse.urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        try:
            answer = self._transport.request("PUT", url, deadline, scopes=scopes.push(repository), headers=headers, body=final, ok=(201, 204))
        except InfrastructureError as error:
            if "DIGEST_INVALID" in error.what:
                raise DigestMismatchError(
                    f"{self._transport.host}: {repository}@{digest} arrived damaged", next_step="look at the network"
                ) from error
            raise
        returned = answer.headers.get("docker-content-digest")
        if returned and returned != digest:
            raise DigestMismatchError(
                f"{self._transport.host}: {repository}@{digest} was stored as {returned}", next_step="look at the registry and at proxies"
            )

    def _send_chunks(self, repository: str, source: bytes | Path, size: int, where: str, deadline: Deadline) -> str:
        """Send the parts one after the other; after a failure from where the registry says that it is (distribution-spec 1.1, "Pushing a blob in
        chunks": 416, and GET of the upload).

        :returns: where the upload is closed.
        """
        step, failures, offset = self._transport.limits.chunk_bytes, 0, 0
        needed = scopes.push(repository)
        while offset < size:
            part = Upload(source, offset, min(step, size - offset))
            headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{offset}-{offset + part.size - 1}"}
            try:
                answer = self._transport.request("PATCH", where, deadline, scopes=needed, headers=headers, body=part, ok=(200, 202, 204, 416))
                done = answer.status != 416
            except InfrastructureError as error:
                if not error.retriable:
                    raise
                done = False
            if done:
                offset += part.size
                where = self._transport.own(answer.headers["location"]) if "location" in answer.headers else where
                continue
            failures += 1
            state = self._transport.request("GET", where, deadline, scopes=needed, ok=(200, 204, 400, 404, 405))
            held = _received(state.headers, size) if state.status < 400 else None
            if held is None or failures >= self._transport.limits.attempts:
                raise BrokenConnectionError(f"{self._transport.host}: upload to {repository}: a part was lost", next_step="run again")
            self._transport.traffic.add(retries=1)
            offset = held
            where = self._transport.own(state.headers["location"]) if "location" in state.headers else where
        return where


def _received(headers: Mapping[str, str], at_most: int) -> int | None:
    """How many bytes of an upload a registry holds, of its Range header (``0-99`` are a hundred); None when it does not say."""
    match = re.fullmatch(r"(?:bytes[= ])?0-(\d{1,18})", headers.get("range", "").strip())
    if not match:
        return None
    last = int(match[1])
    held = last + 1 if last else 0  # docker-registry says 0-0 of nothing
    return held if held <= at_most else None


def _path(repository: str, digest: Digest) -> str:
    return f"/v2/{check_repository(repository)}/blobs/{check_digest(digest)}"
