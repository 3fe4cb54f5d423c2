"""One request and its answer on a pooled connection.

This module must never decide whether an answer is good; it only tells a whole answer from a broken one.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path

from topcoat.registry.connection import Connection, ConnectionPool, Deadline
from topcoat.registry.errors import BrokenConnectionError
from topcoat.registry.limits import Traffic

CHUNK = 256 * 1024
_LISTS = frozenset({"www-authenticate", "link"})


class Upload:
    """A request body that can be sent again: bytes, or a part of a file."""

    def __init__(self, source: bytes | Path, offset: int = 0, length: int | None = None) -> None:
        self._source = source
        self._offset = offset
        whole = len(source) if isinstance(source, bytes) else source.stat().st_size
        self.size = whole - offset if length is None else length

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the beginning, every time."""
        if isinstance(self._source, bytes):
            yield self._source[self._offset : self._offset + self.size]
            return
        with self._source.open("rb") as stream:
            stream.seek(self._offset)
            left = self.size
            while left:
                chunk = stream.read(min(CHUNK, left))
                if not chunk:
                    raise BrokenConnectionError(f"{self._source.name} became shorter while it was sent", retriable=False, next_step="run again")
                left -= len(chunk)
                yield chunk


class Reply:
    """An answer whose body may still be on the wire. Close it: its connection is used again only when the body was read to its end."""

    def __init__(
        self, pool: ConnectionPool, connection: Connection, answer: http.client.HTTPResponse, verb: str, where: str, traffic: Traffic
    ) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._answer = answer
        self._verb = verb
        self._where = where
        self._traffic = traffic
        self.status = answer.status
        self.headers: Mapping[str, str] = _joined(answer.getheaders())

    def chunks(self, *, blob: bool = False) -> Iterator[bytes]:
        """The body; it ends early only with an error.

        :raises BrokenConnectionError: reset, or fewer bytes than Content-Length announced.
        """
        while self._verb != "HEAD":
            try:
                chunk = self._answer.read(CHUNK)
            except (http.client.HTTPException, OSError) as error:
                raise broken(self._where, error) from error
            if not chunk:
                break
            self._traffic.add(received=len(chunk), blob_bytes_received=len(chunk) if blob else 0)
            yield chunk
        left = self._answer.length
        if left and self._verb != "HEAD":
            raise BrokenConnectionError(f"{self._where}: the answer ended {left} bytes early")

    def read(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes.

        :raises BrokenConnectionError: as ``chunks``; also when there is more.
        """
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise BrokenConnectionError(
                    f"{self._where}: the answer is larger than {limit} bytes", retriable=False, next_step="check what is stored there"
                )
        return bytes(data)

    def close(self) -> None:
        """Give the connection back; may be called twice."""
        connection, self._connection = self._connection, None
        if connection:
            if self._verb == "HEAD" and not self._answer.isclosed():
                self._answer.read()
            whole = self._answer.isclosed() and not self._answer.will_close
            self._pool.give(connection, keep=whole)

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Header fields by name in lower case; several lines of one name are one list (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found and key in _LISTS else value
    return found


def exchange(
    pool: ConnectionPool, verb: str, target: str, headers: Mapping[str, str], body: Upload | None, deadline: Deadline, where: str, traffic: Traffic
) -> Reply:
    """Send a request and read the header of its answer.

    A kept connection that its server closed meanwhile is no failure of the server: the request goes out once more on a fresh one.

    :param where: host and what is done, for errors.
    :raises BrokenConnectionError: no connection, reset, silence.
    :raises DeadlineError: the operation's time is used up.
    """
    for fresh in (False, True):
        connection = pool.take(deadline, fresh=fresh)
        reused = connection.reused
        try:
            answer = _send(connection, verb, target, headers, body, deadline)
        except (http.client.HTTPException, OSError) as error:
            pool.give(connection, keep=False)
            if reused and not isinstance(error, TimeoutError):
                continue
            raise broken(where, error) from error
        except BaseException:
            pool.give(connection, keep=False)
            raise
        traffic.add(verb, sent=body.size if body else 0)
        return Reply(pool, connection, answer, verb, where, traffic)
    raise AssertionError("unreachable")


def _send(
    connection: Connection, verb: str, target: str, headers: Mapping[str, str], body: Upload | None, deadline: Deadline
) -> http.client.HTTPResponse:
    connection.limit(deadline)
    connection.putrequest(verb, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(body.size))
    elif verb in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", "0")
    connection.endheaders()
    try:
        for chunk in body.chunks() if body else ():
            connection.send(chunk)
    except (BrokenPipeError, ConnectionResetError):
        # a server may answer (401, 413, 429) and close before it has read the body: the answer says more than the broken pipe
        try:
            answer = connection.getresponse()
        except (http.client.HTTPException, OSError):
            answer = None
        if answer is None or answer.status < 400:
            raise
        return answer
    return connection.getresponse()


def broken(where: str, error: Exception) -> BrokenConnectionError:
    """The error of a connection in our words."""
    if isinstance(error, TimeoutError):
        what = "the server is silent"
    elif isinstance(error, http.client.IncompleteRead):
        what = f"the answer ended {error.expected or 'some'} bytes early"
    elif isinstance(error, http.client.RemoteDisconnected):
        what = "the server closed the connection without an answer"
    else:
        what = str(error) or type(error).__name__
    certificate = "CERTIFICATE" in what.upper()
    return BrokenConnectionError(
        f"{where}: {what}",
        retriable=not certificate,
        next_step="give the registry's certificate authority with --ca-file" if certificate else "check that the registry runs and can be reached",
    )
