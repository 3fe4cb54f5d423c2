"""A network of its own, in which nothing can be reached but what this process listens on inside it; and a port that is free.

This module must never connect it to anything.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from types import TracebackType

from topcoat.errors import InfrastructureError

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PrivateNetwork:
    """A network namespace with loopback. It lasts until ``close`` and until the last process inside has ended."""

    def __init__(self) -> None:
        """:raises InfrastructureError: no right to make one."""
        self._handle = -1
        self._run(self._make)

    @property
    def path(self) -> str:
        """What a process that wants to go inside opens (setns(2)); valid while this object is open."""
        return f"/proc/{os.getpid()}/fd/{self._handle}"

    def listen(self, port: int) -> socket.socket:
        """A listening socket on 127.0.0.1 inside."""
        found: list[socket.socket] = []

        def inside() -> None:
            if ctypes.CDLL(None, use_errno=True).setns(self._handle, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            found.append(socket.create_server(("127.0.0.1", port)))

        self._run(inside)
        return found[0]

    def _make(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        with socket.socket() as anything:
            fcntl.ioctl(anything, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        self._handle = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @staticmethod
    def _run(work) -> None:  # type: ignore[no-untyped-def]
        """In a thread of its own: a thread has its own network, and this one ends with what it did."""
        failures: list[OSError] = []

        def guarded() -> None:
            try:
                work()
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=guarded, name="network")
        thread.start()
        thread.join()
        if failures:
            raise InfrastructureError(
                f"cannot make a network for builds: {failures[0].strerror}",
                retriable=False,
                next_step="run as root, on a node that may make namespaces",
            ) from failures[0]

    def close(self) -> None:
        """Let it go."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> PrivateNetwork:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
