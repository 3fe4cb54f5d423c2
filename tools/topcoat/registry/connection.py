"""HTTP/1.1 connections to one host, kept open and shared by threads, in which every read knows the deadline of its operation.

This module must never retry, follow redirects or know what a registry is; ``transport`` does.

Why ``http.client`` and not httpx: a promotion of 104 images is hundreds of small requests, and http.client needs a third of the processor time for
each (0.4 against 1.1 ms, TLS, measured). And a time limit has to hold for the answer's header too: a server that sends one byte a second never
trips a read timeout, so each single ``recv`` gets what is left of the operation's time.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from topcoat.registry.errors import DeadlineError

_Answer = TypeVar("_Answer")

_IDLE_SECONDS = 20.0


@dataclass(frozen=True)
class Deadline:
    """A point in time (``time.monotonic`` seconds) that one operation must not pass."""

    at: float
    what: str

    @classmethod
    def after(cls, seconds: float, what: str) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds, what)

    def left(self) -> float:
        """Seconds left.

        :raises DeadlineError: none are.
        """
        seconds = self.at - time.monotonic()
        if seconds <= 0:
            self.expire()
        return seconds

    def expire(self) -> NoReturn:
        """:raises DeadlineError: always."""
        raise DeadlineError(f"{self.what}: took longer than its time limit")


class _Reader(io.RawIOBase):
    """Reads a socket; each recv waits for the read timeout or for the rest of the deadline, whichever is less."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        return self._wire.guarded(self._wire.socket.recv_into, buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._wire.reader_closed()


class _Wire:
    """What ``http.client`` takes for a socket.

    As with a real one, ``close`` takes effect when the last file made of it is closed: after an answer that ends the connection ``http.client``
    closes the socket at once, and reads the body afterwards.
    """

    def __init__(self, sock: socket.socket, read_timeout: float) -> None:
        self.socket = sock
        self._read_timeout = read_timeout
        self.deadline: Deadline | None = None
        self._readers = 0
        self._closing = False

    def guarded(self, call: Callable[[Any], _Answer], data: Any) -> _Answer:
        """One system call within the read timeout and the deadline; which of the two ran out decides the error."""
        left = self.deadline.left() if self.deadline else self._read_timeout
        self.socket.settimeout(min(self._read_timeout, left))
        try:
            return call(data)
        except TimeoutError:
            if self.deadline and left <= self._read_timeout:
                self.deadline.expire()
            raise

    def sendall(self, data) -> None:  # type: ignore[no-untyped-def]
        self.guarded(self.socket.sendall, data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self), 64 * 1024)

    def reader_closed(self) -> None:
        """A file made of this is closed."""
        self._readers -= 1
        if self._closing and not self._readers:
            self.socket.close()

    def close(self) -> None:
        self._closing = True
        if not self._readers:
            self.socket.close()


class Connection(http.client.HTTPConnection):
    """One connection, with or without TLS."""

    def __init__(self, host: str, port: int, *, context: ssl.SSLContext | None, connect_timeout: float, read_timeout: float) -> None:
        super().__init__(host, port, timeout=connect_timeout)
        self._context = context
        self._read_timeout = read_timeout
        self.reused = False
        self.idle_since = 0.0
        proxy = _proxy_for("https" if context else "http", host)
        if proxy and context:
            self.host, self.port = proxy
            self.set_tunnel(host, port)
        self._server_name = host

    def connect(self) -> None:
        """Open the socket, and TLS on it with the name checked."""
        super().connect()
        assert self.sock is not None
        sock: socket.socket = self.sock
        if self._context:
            try:
                sock = self._context.wrap_socket(sock, server_hostname=self._server_name)
            except BaseException:
                sock.close()
                raise
        self.sock = _Wire(sock, self._read_timeout)

    def limit(self, deadline: Deadline) -> None:
        """Give every later read and write this deadline; opens the connection where it is not open."""
        if self.sock is None:
            self.timeout = min(self.timeout or self._read_timeout, deadline.left())
            self.connect()
        self.sock.deadline = deadline  # type: ignore[union-attr]


def _proxy_for(scheme: str, host: str) -> tuple[str, int] | None:
    """Host and port of the proxy that the environment names for this host, or None."""
    proxies = urllib.request.getproxies_environment()
    if scheme not in proxies or urllib.request.proxy_bypass_environment(host, proxies):  # type: ignore[attr-defined]
        return None
    parts = urllib.parse.urlsplit(proxies[scheme] if "//" in proxies[scheme] else f"//{proxies[scheme]}")
    return (parts.hostname, parts.port or 3128) if parts.hostname else None


class ConnectionPool:
    """Connections to one host and port; at most ``limit`` at a time, idle ones are used again, last used first."""

    def __init__(self, host: str, port: int, *, context: ssl.SSLContext | None, limit: int, connect_timeout: float, read_timeout: float) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._slots = threading.BoundedSemaphore(limit)
        self._idle: deque[Connection] = deque()
        self._lock = threading.Lock()

    def take(self, deadline: Deadline, *, fresh: bool = False) -> Connection:
        """Lend a connection; ``give`` must follow.

        :param fresh: never an idle one (its server may have closed it meanwhile).
        """
        if not self._slots.acquire(timeout=deadline.left()):
            deadline.left()
            raise DeadlineError(f"{deadline.what}: no free connection")
        connection = None if fresh else self._take()
        return connection or Connection(
            self._host, self._port, context=self._context, connect_timeout=self._connect_timeout, read_timeout=self._read_timeout
        )

    def give(self, connection: Connection, *, keep: bool) -> None:
        """Take a connection back; ``keep`` only when its last answer was read to the end."""
        if keep and connection.sock is not None:
            connection.reused = True
            connection.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()
        self._slots.release()

    def _take(self) -> Connection | None:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None or time.monotonic() - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()
