"""A deadline for everything up to the headers of an answer: an HTTP client's own limits begin anew with each byte that a slow server sends.

This module must never end a connection of another thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


class _Deadline(threading.local):
    end: float | None = None


_deadline = _Deadline()


@contextmanager
def headers_within(seconds: float) -> Iterator[None]:
    """Within this block, and until ``no_deadline``, this thread's reads end after so many seconds (httpx.ReadTimeout)."""
    _deadline.end = time.monotonic() + seconds
    try:
        yield
    finally:
        _deadline.end = None


def no_deadline() -> None:
    """The headers are there; a body's speed is measured where it is read."""
    _deadline.end = None


def watch(client: httpx.Client) -> None:
    """Have every connection of a client keep to its thread's deadline."""
    import httpcore

    class Stream(httpcore.NetworkStream):
        def __init__(self, stream: httpcore.NetworkStream) -> None:
            self._stream = stream

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            end = _deadline.end
            if end is None:
                return self._stream.read(max_bytes, timeout)
            left = end - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout("the headers of the answer took too long")
            return self._stream.read(max_bytes, left if timeout is None else min(left, timeout))

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._stream.write(buffer, timeout)

        def close(self) -> None:
            self._stream.close()

        def start_tls(self, ssl_context, server_hostname=None, timeout=None):  # type: ignore[no-untyped-def]
            return Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

        def get_extra_info(self, info: str):  # type: ignore[no-untyped-def]
            return self._stream.get_extra_info(info)

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, *arguments, **options):  # type: ignore[no-untyped-def]
            return Stream(super().connect_tcp(*arguments, **options))

    # httpx offers no way to give its pools a backend; tests of slow headers prove that this one still is one.
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = Backend()
