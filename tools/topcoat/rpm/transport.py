"""Gets the bytes of a yum repository over file:// and http(s)://, verified while they arrive.

This module must never leave a half-written or unverified file under its final name, and never retry without an end.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 4
LONGEST_PAUSE_SECONDS = 60.0
_CHUNK = 1 << 18
_ALGORITHMS = {"sha": "sha1", "sha1": "sha1", "sha224": "sha224", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}


class FetchError(Exception):
    """A URL could not be had. ``kind``: ``missing`` (the server says it does not exist or may not be read), ``unreachable`` (no or no usable
    answer after all attempts), ``wrong`` (what came is not what was promised), ``unsupported`` (the URL or checksum is of a kind we do not read).
    """

    def __init__(self, kind: str, url: str, cause: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{url}: {cause}")
        self.kind = kind
        self.url = url
        self.cause = cause
        self.retry_after = retry_after


@dataclass(frozen=True)
class Checksum:
    """Algorithm as repomd.xml and primary.xml name it (``sha256``), and lower-case hexadecimal digits."""

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"


def join(base: str, href: str) -> str:
    """URL of a relative href below a base URL (RFC 3986 would drop the last part of a base without a slash; yum does not)."""
    return href if urlsplit(href).scheme else f"{base.rstrip('/')}/{href}"


def local_path(url: str) -> Path | None:
    """Path of a ``file://`` URL, None for any other."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


class Transport:
    """One connection pool for all repositories; safe for several threads.

    :param timeout: seconds without a byte after which an attempt is given up.
    :param pause: waits that many seconds between attempts.
    """

    def __init__(self, *, timeout: float = 30.0, pause: Callable[[float], None] = time.sleep) -> None:
        self._timeout = timeout
        self._pause = pause
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._client:
                self._client.close()
                self._client = None

    def read(self, url: str, *, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes.

        :raises FetchError: it cannot be had, or is larger.
        """

        def collect(chunks: Iterator[bytes]) -> bytes:
            body = bytearray()
            for chunk in chunks:
                body += chunk
                if len(body) > limit:
                    raise FetchError("wrong", url, f"larger than {limit} bytes")
            return bytes(body)

        return self._attempts(url, collect)

    def download(self, url: str, target: Path, *, checksum: Checksum, size: int | None = None) -> None:
        """Store a body under ``target`` when, and only when, it is the one that the checksum (and size in bytes) promises.

        :raises FetchError: it cannot be had, or is another one.
        """
        target.parent.mkdir(parents=True, exist_ok=True)

        def store(chunks: Iterator[bytes]) -> None:
            partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
            digest = hasher(checksum, url)
            length = 0
            try:
                with partial.open("wb") as sink:
                    for chunk in chunks:
                        length += len(chunk)
                        if size is not None and length > size:
                            raise FetchError("wrong", url, f"larger than the {size} bytes that the repository names")
                        digest.update(chunk)
                        sink.write(chunk)
                if size is not None and length != size:
                    raise FetchError("wrong", url, f"{length} bytes instead of the {size} that the repository names")
                if digest.hexdigest() != checksum.value:
                    raise FetchError("wrong", url, f"{checksum.algorithm} is {digest.hexdigest()} instead of {checksum.value}")
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

        self._attempts(url, store)

    def _attempts(self, url: str, use: Callable[[Iterator[bytes]], object]):  # type: ignore[no-untyped-def]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._open(url) as chunks:
                    return use(chunks)
            except FetchError as error:
                if error.kind != "unreachable" or attempt == ATTEMPTS or local_path(url) is not None:
                    raise
                self._pause(min(error.retry_after or 0.5 * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _open(self, url: str) -> Iterator[Iterator[bytes]]:
        path = local_path(url)
        if path is not None:
            with _open_local(url, path) as stream:
                yield iter(lambda: stream.read(_CHUNK), b"")
        elif urlsplit(url).scheme in ("http", "https"):
            import httpx  # late: a tenth of a second that a plan from local repositories need not pay

            try:
                with self._http().stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                    _check_status(url, response)
                    yield response.iter_bytes(_CHUNK)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError("unreachable", url, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
        else:
            raise FetchError("unsupported", url, "only file://, http:// and https:// are read")

    def _http(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(timeout=self._timeout, follow_redirects=True)
            return self._client


def hasher(checksum: Checksum, url: str):  # type: ignore[no-untyped-def]
    """A hashlib object for a checksum; FetchError(unsupported) for an algorithm that proves nothing (md5) or that nobody knows."""
    name = _ALGORITHMS.get(checksum.algorithm)
    if name is None:
        raise FetchError("unsupported", url, f"checksum type {checksum.algorithm!r} is not accepted")
    return hashlib.new(name)


def matches(path: Path, checksum: Checksum, size: int | None = None) -> bool:
    """Whether a file exists and is the one that checksum and size promise."""
    try:
        if size is not None and path.stat().st_size != size:
            return False
        digest = hasher(checksum, str(path))
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == checksum.value


def _open_local(url: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FetchError("missing", url, "no such file") from error
    except OSError as error:
        raise FetchError("unreachable", url, str(error)) from error


def _check_status(url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    cause = f"HTTP {status} {response.reason_phrase}".strip()
    if status == 429 or status >= 500:
        raise FetchError("unreachable", url, cause, retry_after=_retry_after(response.headers.get("Retry-After")))
    raise FetchError("missing", url, cause)


def _retry_after(value: str | None) -> float | None:
    """Seconds form of RFC 9110, 10.2.3; a date is rare enough here to fall back to our own pause."""
    return float(value) if value and value.isdigit() else None
