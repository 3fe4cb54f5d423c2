"""Servers in the process that spoil chosen requests: what a proxy does to a connection, done by the server itself.

It must never know what a server serves; which request is spoiled, and how, is said by a rule.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.functional.registry.faults import Fault


@dataclass(frozen=True)
class Asked:
    """One request, numbered from 1; ``kind`` is its verb and what it is about, without names."""

    number: int
    verb: str
    path: str
    kind: str


@dataclass
class Spoiler:
    """Counts the requests of one server and says what becomes of each."""

    kind_of: Callable[[str, str], str] = lambda verb, path: verb
    rule: Callable[[Asked], Fault | None] = lambda asked: None
    seen: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, verb: str, path: str) -> Fault:
        """Count a request; what happens to it."""
        with self.lock:
            asked = Asked(len(self.seen) + 1, verb, path, self.kind_of(verb, path))
            self.seen.append(asked)
        return self.rule(asked) or Fault()

    def reset(self) -> None:
        """Nothing was asked, nothing is spoiled."""
        with self.lock:
            self.seen.clear()
        self.rule = lambda asked: None


class SpoiledHandler(http.server.BaseHTTPRequestHandler):
    """A handler whose work goes through a spoiler."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    spoiler: Spoiler

    def log_message(self, *_words: object) -> None:
        pass

    def spoiled(self, work: Callable[[], None]) -> None:
        """Let ``work`` write its answer, and do to it what the spoiler says."""
        fault = self.spoiler.judge(self.command, self.path)
        if fault.reset_before:
            return self.reset()
        if fault.silent:
            time.sleep(fault.silent)
            return self.reset()
        if fault.raw:
            self.wfile.write(fault.raw)
            return self.hang_up()
        if fault.status:
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value.replace("{self}", self.path).replace("{host}", self.headers.get("Host", "")))
            self.send_header("Content-Length", str(len(fault.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(fault.body)
            return None
        wire, self.wfile = self.wfile, io.BytesIO()  # type: ignore[assignment]
        try:
            work()
            answer = self.wfile.getvalue()
        finally:
            self.wfile = wire
        if fault.reset_after:
            return self.reset()
        return self.pass_on(fault, answer)

    def pass_on(self, fault: Fault, answer: bytes) -> None:
        """Send an answer that was written already."""
        head, _, body = answer.partition(b"\r\n\r\n")
        if fault.headers:
            names = {name.lower() for name in fault.headers}
            first, *lines = head.decode("latin-1").split("\r\n")
            lines = [line for line in lines if line.partition(":")[0].lower() not in names]
            head = "\r\n".join([first, *lines, *(f"{name}: {value}" for name, value in fault.headers.items() if value)]).encode("latin-1")
        if fault.damage and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        whole = head + b"\r\n\r\n" + body
        if fault.reset_at is not None and body:
            self.wfile.write(head + b"\r\n\r\n" + body[: min(fault.reset_at, len(body) - 1)])
            return self.hang_up()
        if fault.drip:
            with contextlib.suppress(OSError):
                for at in range(len(whole)):
                    self.wfile.write(whole[at : at + 1])
                    time.sleep(fault.drip)
            return self.hang_up()
        self.wfile.write(whole)
        return None

    def hang_up(self) -> None:
        """An orderly end of the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """An end as when a router or a process dies."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().handle()


class QuietServer(http.server.ThreadingHTTPServer):
    """Serves on loopback; a client that went away is no error of the test."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_words: object) -> None:
        pass
