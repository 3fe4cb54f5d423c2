"""A proxy in front of a real registry that spoils chosen requests and forwards all others.

It must never answer in the registry's place, except where the fault itself is an answer (429, 500, a token challenge).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trustme

_READ = 64 * 1024


@dataclass
class Request:
    """What a client asked; a rule may change ``target`` before it is forwarded, and name headers (lower case) to leave out."""

    number: int
    verb: str
    target: str
    headers: Mapping[str, str]
    body_size: int
    without: set[str] = field(default_factory=set)


@dataclass
class Fault:
    """What happens to one request. Nothing set: it is forwarded as it is."""

    status: int = 0
    """Answer this instead of forwarding."""
    headers: dict[str, str] = field(default_factory=dict)
    """With ``status``: headers of that answer; without: headers that replace the registry's."""
    body: bytes = b""
    reset_before: bool = False
    """The registry never sees the request."""
    reset_after: bool = False
    """The registry does it, the client never hears of it."""
    reset_at: int | None = None
    """This many bytes of the answer's body arrive, then a reset."""
    drip: float = 0.0
    """Seconds between the single bytes of the answer."""
    silent: float = 0.0
    """Seconds without any answer, then a reset."""
    damage: bool = False
    """One byte in the middle of the answer's body is another."""
    raw: bytes = b""
    """These bytes instead of an answer, then the end (servers in the process only)."""


Rule = Callable[[Request], Fault | None]


class FaultProxy:
    """HTTP proxy on loopback, TLS on the client's side; the registry behind it speaks plain HTTP."""

    def __init__(self, backend: str, directory: Path, rule: Rule | None = None) -> None:
        """:param backend: ``host:port`` of the registry."""
        self.rule: Rule = rule or (lambda request: None)
        self.seen: list[Request] = []
        name, _, port = backend.rpartition(":")
        self._backend = (name, int(port))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._serving: list[threading.Thread] = []
        authority = trustme.CA()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port_used = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{port_used}"
        self.ca_file = directory / f"proxy-ca-{port_used}.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept; close alone would leave it there, and the port with it
        self._thread.join(5)
        self._listener.close()
        with self._lock:
            serving, connections = list(self._serving), list(self._open)
        # Shut down, and closed by the thread that serves it alone: a number that another thread still reads from is soon that of another connection.
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in serving:
            thread.join(2)

    def forget(self) -> None:
        """Start counting requests anew."""
        with self._lock:
            self.seen.clear()

    def count(self, verb: str, part: str = "") -> int:
        """How many requests had this verb and this text in their target."""
        return sum(request.verb == verb and part in request.target for request in self.seen)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._serving = [one for one in self._serving if one.is_alive()]
                self._serving.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(60)
        client: socket.socket = raw
        with self._lock:
            self._open.add(raw)
        with contextlib.suppress(OSError, EOFError, ValueError):
            client = self._handshake(raw)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.discard(raw)
                self._open.add(client)
            stream = client.makefile("rb")
            backend: list[socket.socket] = []
            while self._one(client, stream, backend):
                pass
            for connection in backend:
                connection.close()
        with self._lock:
            self._open.discard(client)
        with contextlib.suppress(OSError):
            client.close()

    def _handshake(self, raw: socket.socket) -> socket.socket:
        try:
            return self._tls.wrap_socket(raw, server_side=True)
        except (OSError, ValueError) as error:  # the client only sees that it was left: the cause is known here
            print(f"proxy {self.host}: no TLS with a client: {error!r}", file=sys.stderr)
            raise

    def _one(self, client: socket.socket, stream, backend: list[socket.socket]) -> bool:  # type: ignore[no-untyped-def]
        """Handle one request; False when the connection is over."""
        head = _head(stream)
        if not head:
            return False
        first, headers = _parse(head)
        verb, target, _version = first.split(" ", 2)
        body = stream.read(int(headers.get("content-length", 0)))
        with self._lock:
            request = Request(len(self.seen) + 1, verb, target, headers, len(body))
            self.seen.append(request)
        fault = self.rule(request) or Fault()
        if fault.reset_before:
            return _reset(client)
        if fault.silent:
            time.sleep(fault.silent)
            return _reset(client)
        if fault.status:
            lines = [f"HTTP/1.1 {fault.status} Spoiled", *(f"{k}: {v}" for k, v in fault.headers.items()), f"Content-Length: {len(fault.body)}"]
            client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if verb == "HEAD" else fault.body))
            return True
        answer_head, answer_body = self._forward(
            backend, f"{verb} {request.target} HTTP/1.1", _replace(head, dict.fromkeys(request.without, "")), body, verb
        )
        if fault.reset_after:
            return _reset(client)
        if fault.headers:
            answer_head = _replace(answer_head, fault.headers)
        if fault.damage and answer_body:
            middle = len(answer_body) // 2
            answer_body = answer_body[:middle] + bytes([answer_body[middle] ^ 1]) + answer_body[middle + 1 :]
        if fault.reset_at is not None:
            client.sendall(answer_head + answer_body[: fault.reset_at])
            time.sleep(0.3)  # a reset throws away what the other side has not read yet
            return _reset(client)
        if fault.drip:
            for byte in answer_head + answer_body:
                client.sendall(bytes([byte]))
                time.sleep(fault.drip)
            return True
        client.sendall(answer_head + answer_body)
        return True

    def _forward(self, backend: list[socket.socket], first: str, head: bytes, body: bytes, verb: str) -> tuple[bytes, bytes]:
        """Send to the registry and read its whole answer; the body comes back with a Content-Length."""
        if not backend:
            backend.append(socket.create_connection(self._backend, 30))
            backend[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = backend[0]
        connection.sendall(first.encode() + b"\r\n" + head.split(b"\r\n", 1)[1] + body)
        stream = connection.makefile("rb")
        answer = _head(stream)
        if not answer:
            raise ConnectionResetError("the registry closed the connection before it answered")
        status, headers = _parse(answer)
        code = int(status.split(" ")[1])
        if verb == "HEAD" or code in (204, 304):
            return answer, b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            data = b""
            while size := int(stream.readline().split(b";")[0], 16):
                data += stream.read(size)
                stream.readline()
            stream.readline()
            return _replace(answer, {"Transfer-Encoding": "", "Content-Length": str(len(data))}), data
        return answer, stream.read(int(headers.get("content-length", 0)))


def _head(stream) -> bytes:  # type: ignore[no-untyped-def]
    lines = []
    while True:
        line = stream.readline(_READ)
        if not line:
            return b""
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    return first, {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}


def _replace(head: bytes, headers: Mapping[str, str]) -> bytes:
    """The header block with fields replaced; an empty value removes one."""
    first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    gone = {name.lower() for name in headers}
    kept = [line for line in rest if line.partition(":")[0].strip().lower() not in gone]
    return "\r\n".join([first, *kept, *(f"{name}: {value}" for name, value in headers.items() if value)]).encode() + b"\r\n\r\n"


def _reset(client: socket.socket) -> bool:
    """End a connection with RST: no orderly close, as when a router or a process dies."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    return False
