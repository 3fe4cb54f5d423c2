"""Requests to one registry: authorised, limited in time, repeated by error class, counted.

This module must never send our credentials to another host, and never put a header into an error.
"""

from __future__ import annotations

import copy
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from topcoat.documents import Door
from topcoat.errors import InfrastructureError, TopcoatError, UsageError, seconds_to_wait
from topcoat.registry.auth import Authenticator, Credentials
from topcoat.registry.connection import ConnectionPool, Deadline
from topcoat.registry.errors import AccessError, HiddenError, NotFoundError, RefusedError
from topcoat.registry.exchange import Reply, Upload, exchange
from topcoat.registry.limits import Limits, Traffic
from topcoat.registry.links import absolute
from topcoat.registry.tls import Tls

T = TypeVar("T")

_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_SAME_VERB = {307, 308}  # RFC 9110, 15.4: the others may turn a PUT into a GET
_PORTS = {"http": 80, "https": 443}
_PACKED = {"gzip", "x-gzip", "deflate", "compress", "br", "zstd"}
_MAX_DOCUMENT = 16 * 1024 * 1024
_MAX_ERROR = 4 * 1024
_TOKENS = Door(InfrastructureError, "check the token server")
# errno numbers as docker-registry shows them ("Err":28) and the texts of the kernel
_DISK_FULL = ("no space left on device", '"err":28', '"err": 28', "quota exceeded", '"err":122')
_READ_ONLY = ("read-only file system", '"err":30', "read-only mode", "readonly")


@dataclass(frozen=True)
class Response:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False, default=b"")


class Transport:
    """Everything between a method of the client and the socket. Threads may share it."""

    def __init__(
        self,
        host: str,
        *,
        credentials: Credentials | None,
        tls: Tls,
        plain_hosts: frozenset[str],
        limits: Limits,
        traffic: Traffic,
    ) -> None:
        """:param plain_hosts: the hosts that may be spoken to without TLS, as ``host[:port]``."""
        self.host = host
        self.limits = limits
        self.traffic = traffic
        self._plain_hosts = plain_hosts
        self._tls = tls
        # the API of Docker Hub has another name than its images
        self._address = "registry-1.docker.io" if host == "docker.io" else host
        self._base = f"{'http' if host in plain_hosts else 'https'}://{self._address}"
        self._pools: dict[tuple[str, str], ConnectionPool] = {}
        self._lock = threading.Lock()
        self._authenticator = Authenticator(host, credentials, self._fetch_token)
        self._known: bool | None = None

    # ---- operations: repeated, inside one time limit --------------------------------------------------------------------------------------

    def operation(self, what: str, work: Callable[[Deadline], T], *, seconds: float | None = None) -> T:
        """Run ``work``, again while it fails with an error that can pass.

        :param what: what is done, for errors: ``GET nova-api:current``.
        :param seconds: time limit for all attempts and waits together.
        :raises TopcoatError: the error of the last attempt, no longer retriable, saying how many there were.
        """
        deadline = Deadline.after(seconds or self.limits.operation_seconds, f"{self.host}: {what}")
        attempt = 0
        while True:
            attempt += 1
            try:
                return work(deadline)
            except InfrastructureError as error:
                if not error.retriable:
                    raise
                wait = error.retry_after if error.retry_after is not None else self._backoff(attempt)
                late = deadline.at - time.monotonic() <= wait
                if late or attempt >= self.limits.attempts:
                    raise _exhausted(error, attempt, late) from error
                self.traffic.add(retries=1)
                time.sleep(wait)

    def _backoff(self, attempt: int) -> float:
        longest = min(self.limits.first_wait * 2 ** (attempt - 1), self.limits.longest_wait)
        return float(longest * random.uniform(0.5, 1.0))  # spread, so that workers that failed together do not come back together

    # ---- one request ----------------------------------------------------------------------------------------------------------------------

    def request(
        self,
        verb: str,
        path: str,
        deadline: Deadline,
        *,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Upload | None = None,
        ok: tuple[int, ...] = (200,),
    ) -> Response:
        """One request with its whole answer.

        :param path: from the root of the host (``/v2/...``), or a whole URL as a Location header gives it.
        :param scopes: what a token must allow, ``repository:NAME:pull``.
        :param ok: the states that are an answer; any other is raised as an error.
        :raises TopcoatError: by class of what went wrong (see ``failure``).
        """
        with self.send(verb, path, deadline, scopes=scopes, headers=headers, body=body, ok=ok) as reply:
            body_of = reply.read(_MAX_DOCUMENT)
            packed = reply.headers.get("content-encoding", "").strip().lower()
            if body_of and packed in _PACKED:  # its digest would be that of other bytes
                raise InfrastructureError(
                    f"{self.host}: {verb} {path.partition('?')[0]} is sent as {packed}, which nobody asked for",
                    retriable=False,
                    next_step="look at the registry, and at proxies on the way",
                )
            return Response(reply.status, reply.headers, body_of)

    def send(
        self,
        verb: str,
        path: str,
        deadline: Deadline,
        *,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Upload | None = None,
        ok: tuple[int, ...] = (200,),
    ) -> Reply:
        """As ``request``, but the body is still on the wire; the caller closes the reply."""
        url = path if "://" in path else self._base + path
        for _ in range(6):
            reply = self._authorised(verb, url, deadline, scopes, headers or {}, body)
            if reply.status in ok:
                return reply
            with reply:
                if reply.status in (_REDIRECTS if verb in ("GET", "HEAD") else _SAME_VERB) and "location" in reply.headers:
                    url = self._same(absolute(url, reply.headers["location"]))
                    reply.read(_MAX_DOCUMENT)
                    continue
                answer = _error_response(reply)
            has_login = self._authenticator.has_login(scopes)
            error = failure(self.host, verb, url, answer, has_login=has_login)
            if isinstance(error, AccessError) and verb in ("GET", "HEAD") and scopes and has_login and self._is_known(deadline):
                raise HiddenError(f"{error.what}, or no such repository", next_step="check the name, and the rights of this login") from error
            raise error
        raise RefusedError(f"{self.host}: more than five redirects", next_step="check the registry's configuration")

    def _authorised(self, verb: str, url: str, deadline: Deadline, scopes: tuple[str, ...], headers: Mapping[str, str], body: Upload | None) -> Reply:
        """Send with our credentials, to our own host only; after a 401 once more with what it asked for."""
        if not self._is_ours(url):
            return self._exchange(verb, url, deadline, headers, body)
        authorisation = self._authenticator.header(scopes)
        reply = self._exchange(verb, url, deadline, _with(headers, authorisation), body)
        repeated = False
        while reply.status in (401, 403, 404):
            try:
                renewed = self._better(reply, scopes, authorisation, deadline, repeated=repeated)
            except BaseException:
                reply.close()
                raise
            if renewed is None:
                return reply
            with reply:
                _error_response(reply)
            # The first answer to a stranger is no refusal of a login: only one that was sent counts as tried.
            reply, repeated, authorisation = self._exchange(verb, url, deadline, _with(headers, renewed), body), authorisation is not None, renewed
        return reply

    def _better(self, reply: Reply, scopes: tuple[str, ...], sent: str | None, deadline: Deadline, *, repeated: bool) -> str | None:
        """The header to try after a refusal, or None where nothing else is left to try.

        :param sent: the header that was refused.
        """
        if reply.status == 404:
            return self._authenticator.header(scopes) if sent is None and self._introduce(scopes, deadline) else None
        if reply.status == 401:
            challenge = reply.headers.get("www-authenticate")
            if challenge is not None or not self._authenticator.knows_scheme:
                self._authenticator.learn(challenge or "")
            if not repeated:
                # Perhaps the same password once more: under load some registries refuse a good one now and then.
                return self._authenticator.header(scopes, refused=sent)
        return self._authenticator.header(scopes) if self._authenticator.give_up(scopes) else None

    def _introduce(self, scopes: tuple[str, ...], deadline: Deadline) -> bool:
        """Find out how to log in, where a stranger is told that nothing is there; False when there is no login, or it was tried."""
        if self._authenticator.knows_scheme or not self._authenticator.has_login(scopes):
            return False
        with self._exchange("GET", f"{self._base}/v2/", deadline, {}, None) as reply:
            if reply.status == 401:
                self._authenticator.learn(_error_response(reply).headers.get("www-authenticate", ""))
            else:
                self._authenticator.try_basic()
        return True

    def _is_known(self, deadline: Deadline) -> bool:
        """Whether the registry takes our login at all; asked once."""
        if self._known is None:
            try:
                with self._authorised("GET", f"{self._base}/v2/", deadline, (), {}, None) as reply:
                    self._known = reply.status == 200
            except AccessError:
                self._known = False
        return self._known

    def _exchange(self, verb: str, url: str, deadline: Deadline, headers: Mapping[str, str], body: Upload | None) -> Reply:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.netloc in self._plain_hosts):
            raise UsageError(
                f"{self.host} leads to {parts.scheme}://{parts.netloc}, which is not encrypted",
                next_step=f"allow it with --plain-http {parts.netloc}",
            )
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        where = f"{parts.netloc}: {verb} {parts.path}"
        whole = {"Host": parts.netloc, "User-Agent": "topcoat", "Accept-Encoding": "identity", **headers}
        return exchange(self._pool(parts), verb, target, whole, body, deadline, where, self.traffic)

    def _pool(self, parts: urllib.parse.SplitResult) -> ConnectionPool:
        with self._lock:
            pool = self._pools.get((parts.scheme, parts.netloc))
            if pool is None:
                pool = self._pools[parts.scheme, parts.netloc] = ConnectionPool(
                    parts.hostname or "",
                    parts.port or (443 if parts.scheme == "https" else 80),
                    context=self._tls.context() if parts.scheme == "https" else None,
                    limit=self.limits.connections,
                    connect_timeout=self.limits.connect_timeout,
                    read_timeout=self.limits.read_timeout,
                )
            return pool

    def _is_ours(self, url: str) -> bool:
        return urllib.parse.urlsplit(url).netloc == self._address

    def own(self, location: str) -> str:
        """A Location header as a URL of this registry.

        Behind a proxy that ends TLS, registries name themselves with http://; where only the scheme differs the answer is taken as ours.

        :raises InfrastructureError: it is no address.
        """
        return self._same(absolute(self._base + "/", location))

    def _same(self, url: str) -> str:
        """A URL as we write it ourselves, where it is this registry's: some give their port although it is the usual one, or capital letters."""
        parts, mine = urllib.parse.urlsplit(url), urllib.parse.urlsplit(self._base)
        there = (parts.hostname, parts.port or _PORTS.get(parts.scheme))
        here = (mine.hostname, mine.port or _PORTS[mine.scheme])
        is_same = parts.username is None and (there == here or (parts.netloc == self._address and mine.scheme == "https"))
        return self._base + url.split(parts.netloc, 1)[1] if is_same and parts.scheme in _PORTS else url

    def _fetch_token(self, realm: str, service: Mapping[str, str], scopes: tuple[str, ...], login: str | None) -> dict[str, object]:
        """Ask a token server (distribution project, "Token Authentication Specification")."""
        query = urllib.parse.urlencode([*service.items(), *(("scope", scope) for scope in scopes)])
        realm = absolute(f"{self._base}/", realm)
        url = f"{realm}{'&' if '?' in realm else '?'}{query}" if query else realm

        refusals = 0

        def work(deadline: Deadline) -> dict[str, object]:
            nonlocal refusals
            with self._exchange("GET", url, deadline, _with({}, login), None) as reply:
                if reply.status == 401 and login and not refusals:
                    refusals += 1  # under load some servers refuse a good password now and then: once more, as for the registry itself
                    _error_response(reply)
                    raise InfrastructureError(f"{self.host}: GET {realm} answered 401 once")
                if reply.status != 200:
                    error = failure(self.host, "GET", realm, _error_response(reply), has_login=login is not None)
                    if reply.status == 400:  # quay's answer to a scope that it does not know
                        raise AccessError(error.what, next_step=error.next_step)
                    raise error
                return _TOKENS.json_object(reply.read(_MAX_DOCUMENT), f"{self.host}: the token server's answer")

        return self.operation("token", work)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()


def _with(headers: Mapping[str, str], authorisation: str | None) -> Mapping[str, str]:
    return {**headers, "Authorization": authorisation} if authorisation else headers


def _error_response(reply: Reply) -> Response:
    """The answer with as much of its body as an error message can use."""
    data = b""
    try:
        for chunk in reply.chunks():
            data += chunk
            if len(data) > _MAX_ERROR:
                break
    except InfrastructureError:
        pass  # the status is known; a cut-off explanation changes nothing
    return Response(reply.status, reply.headers, data[:_MAX_ERROR])


def _exhausted(error: InfrastructureError, attempts: int, late: bool) -> InfrastructureError:
    """The same error, marked as final: an outer retry would only multiply the attempts."""
    final = copy.copy(error)
    final.what = f"{error.what} (gave up after {attempts} attempt{'s' if attempts > 1 else ''}{', no time left' if late else ''})"
    final.retriable = False
    return final


def failure(host: str, verb: str, url: str, answer: Response, *, has_login: bool) -> TopcoatError:
    """The error for an answer that is none of the expected ones.

    429, 408 and 5xx are infrastructure and retried, except where the text says that the disk is full or the registry read-only;
    401 and 403 are usage; 404 is content; 405 and 501 and 507 are infrastructure that no retry helps.
    """
    text = answer.body.decode("utf-8", "replace")
    said = _said(text)
    where = f"{host}: {verb} {urllib.parse.urlsplit(url).path} answered {answer.status}{': ' + said if said else ''}"
    lowered = text.lower().replace(" ", "") if '"err"' in text.lower() else text.lower()
    if answer.status == 507 or (answer.status >= 500 and any(mark in lowered or mark in text.lower() for mark in _DISK_FULL)):
        return RefusedError(
            f"{where}: the registry's disk is full", next_step="free space on the registry (topcoat gc, then its own garbage collection)"
        )
    if answer.status in (405, 501) or (answer.status >= 500 and any(mark in lowered or mark in text.lower() for mark in _READ_ONLY)):
        return RefusedError(
            f"{where}: the registry does not allow this (read-only, or not supported)", next_step="switch the registry's read-only mode off"
        )
    if answer.status in (401, 403):
        step = (
            "check the login for this registry in the auth file, and its rights"
            if has_login
            else "add a login for this registry to the auth file (--authfile)"
        )
        return AccessError(f"{where}: access refused", next_step=step)
    if answer.status == 404:
        return NotFoundError(where, next_step="check the name; 'topcoat discover' shows what the registry holds")
    if answer.status in _RETRIED or answer.status >= 500:
        return InfrastructureError(
            where, retry_after=seconds_to_wait(answer.headers.get("retry-after")), next_step="wait for the registry and run again"
        )
    # While somebody uploads a blob that is there already, docker-registry 2.8 writes its link anew, and for a moment the link is empty.
    passes = answer.status == 400 and "MANIFEST_BLOB_UNKNOWN" in text
    return InfrastructureError(where, retriable=passes, next_step="the registry refuses the request; its log tells why")


def _said(text: str) -> str:
    """The registry's own words, one line (distribution-spec, "Error Codes")."""
    try:
        errors = _TOKENS.shape("").items(_TOKENS.json_object(text, "").get("errors"), "", dict)
        text = "; ".join(f"{entry.get('code', '')} {entry.get('message', '')}".strip() for entry in errors) or text
    except TopcoatError:
        if "<html" in text.lower():
            return ""
    return " ".join(text.split())[:300]
