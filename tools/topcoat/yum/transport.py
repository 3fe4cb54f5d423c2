"""Gets the bytes of a yum repository over file:// and http(s)://, verified while they arrive.

This module must never leave a half-written or unverified file under its final name, and never retry without an end.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from topcoat.errors import seconds_to_wait
from topcoat.yum import slow

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 4
LONGEST_PAUSE_SECONDS = 60.0
_CHUNK = 1 << 18
_Result = TypeVar("_Result")
_ALGORITHMS = {"sha": "sha1", "sha1": "sha1", "sha224": "sha224", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}


class FetchError(Exception):
    """A URL could not be had; the subclass says what kind of thing stood in the way."""

    def __init__(self, url: str, cause: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{url}: {cause}")
        self.url = url
        self.cause = cause
        self.retry_after = retry_after


class MissingError(FetchError):
    """The server says that it does not exist."""


class WrongError(FetchError):
    """What came is not what was promised."""


class UnsignedError(FetchError):
    """No signature that counts stands beside it."""


class UnsupportedError(FetchError):
    """The URL or checksum is of a kind that we do not read."""


class ClosedError(FetchError):
    """Whether it exists cannot be said: the way to it is closed."""


class UnreachableError(ClosedError):
    """No or no usable answer after all attempts."""


class ForbiddenError(ClosedError):
    """The server wants somebody else."""


class CertificateError(ClosedError):
    """The server does not prove who it is."""


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

    :param timeout: seconds without a byte after which an attempt is given up; also those that connecting and the answer's headers may take together,
        and those over which the lowest speed is measured. As dnf.conf(5), ``timeout``.
    :param minrate: lowest speed of a body, bytes a second (dnf.conf(5), ``minrate``).
    :param pause: waits that many seconds between attempts.
    """

    def __init__(self, *, timeout: float = 30.0, minrate: int = 1000, pause: Callable[[float], None] = time.sleep) -> None:
        self._timeout = timeout
        self._minrate = minrate
        self._pause = pause
        self._clients: dict[str | None, httpx.Client] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def read(self, url: str, *, limit: int, ca_file: str | None = None) -> bytes:
        """The whole body, at most ``limit`` bytes.

        :param ca_file: PEM file of the authorities that the server may be certified by, beside the system's.
        :raises FetchError: it cannot be had, or is larger.
        """

        def collect(chunks: Iterator[bytes]) -> bytes:
            body = bytearray()
            for chunk in chunks:
                body += chunk
                if len(body) > limit:
                    raise WrongError(url, f"larger than {limit} bytes")
            return bytes(body)

        return self._attempts(url, collect, ca_file)

    def download(self, url: str, target: Path, *, checksum: Checksum, size: int | None = None, ca_file: str | None = None) -> None:
        """Store a body under ``target`` when, and only when, it is the one that the checksum (and size in bytes) promises.

        :param ca_file: as for ``read``.
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
                            raise WrongError(url, f"larger than the {size} bytes that the repository names")
                        digest.update(chunk)
                        sink.write(chunk)
                if size is not None and length != size:
                    raise WrongError(url, f"{length} bytes instead of the {size} that the repository names")
                if digest.hexdigest() != checksum.value:
                    raise WrongError(url, f"{checksum.algorithm} is {digest.hexdigest()} instead of {checksum.value}")
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

        self._attempts(url, store, ca_file)

    def _attempts(self, url: str, use: Callable[[Iterator[bytes]], _Result], ca_file: str | None) -> _Result:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._open(url, ca_file) as chunks:
                    return use(chunks)
            except UnreachableError as error:
                if attempt == ATTEMPTS or local_path(url) is not None:
                    raise
                own = 0.5 * 2 ** (attempt - 1)
                self._pause(min(own if error.retry_after is None else error.retry_after, LONGEST_PAUSE_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _open(self, url: str, ca_file: str | None) -> Iterator[Iterator[bytes]]:
        path = local_path(url)
        if path is not None:
            with _open_local(url, path) as stream:
                yield iter(lambda: stream.read(_CHUNK), b"")
        elif urlsplit(url).scheme in ("http", "https"):
            import httpx  # late: a tenth of a second that a plan from local repositories need not pay

            try:
                with slow.headers_within(self._timeout), self._http(ca_file).stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                    slow.no_deadline()
                    _check_status(url, response)
                    # Raw: a server that calls a .gz file "Content-Encoding: gzip" (Apache's AddEncoding) sends the file itself.
                    yield self._fast_enough(url, response.iter_raw())
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _broken(url, error) from error
        else:
            raise UnsupportedError(url, "only file://, http:// and https:// are read")

    def _fast_enough(self, url: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, as long as they come at the lowest speed at least."""
        start, length = time.monotonic(), 0
        for chunk in chunks:
            yield chunk
            length += len(chunk)
            passed = time.monotonic() - start
            if passed >= self._timeout:
                if length < self._minrate * passed:
                    raise UnreachableError(url, f"slower than {self._minrate} bytes a second")
                start, length = time.monotonic(), 0

    def _http(self, ca_file: str | None) -> httpx.Client:
        import httpx

        with self._lock:
            if ca_file not in self._clients:
                context = httpx.create_ssl_context()
                if ca_file is not None:
                    try:
                        context.load_verify_locations(ca_file)
                    except (OSError, ssl.SSLError) as error:
                        raise UnsupportedError(ca_file, f"is no readable certificate authority ({error})") from error
                client = httpx.Client(timeout=self._timeout, follow_redirects=True, verify=context)
                slow.watch(client)
                self._clients[ca_file] = client
            return self._clients[ca_file]


def hasher(checksum: Checksum, url: str) -> hashlib._Hash:
    """A hashlib object for a checksum; UnsupportedError for an algorithm that proves nothing (md5) or that nobody knows."""
    name = _ALGORITHMS.get(checksum.algorithm)
    if name is None:
        raise UnsupportedError(url, f"checksum type {checksum.algorithm!r} is not accepted")
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
        raise MissingError(url, "no such file") from error
    except OSError as error:
        raise UnreachableError(url, str(error)) from error


def _check_status(url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    cause = f"HTTP {status} {response.reason_phrase}".strip()
    if status == 429 or status >= 500:
        raise UnreachableError(url, cause, retry_after=seconds_to_wait(response.headers.get("Retry-After")))
    raise (ForbiddenError if status in (401, 403, 407) else MissingError)(url, cause)


def _broken(url: str, error: Exception) -> FetchError:
    """What ended a connection, in words that name the cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return CertificateError(url, f"its certificate is not accepted: {cause.verify_message}")
    return UnreachableError(url, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
