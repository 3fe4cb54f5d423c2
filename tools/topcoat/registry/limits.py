"""The bounds of a registry client, and the count of what it sent and received.

This module must never do input or output.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """Bounds of one client. All times are seconds."""

    connections: int = 16
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    """Longest silence of the server."""
    operation_seconds: float = 120.0
    """Whole time of one operation on a manifest or a list, retries and waits included."""
    blob_seconds: float = 120.0
    slowest_bytes_per_second: int = 128 * 1024
    """A blob's time limit is ``blob_seconds`` plus its size at this speed."""
    attempts: int = 5
    first_wait: float = 0.25
    longest_wait: float = 15.0
    chunk_bytes: int = 64 * 1024 * 1024
    """Blobs up to this size go up in one PUT, larger ones in chunks of it."""

    def for_blob(self, size: int) -> float:
        """Seconds that the transfer of a blob may take."""
        return self.blob_seconds + size / self.slowest_bytes_per_second


@dataclass
class Traffic:
    """What went over the wire (bodies only). Read it at any time; it only grows."""

    sent: int = 0
    received: int = 0
    blob_bytes_sent: int = 0
    blob_bytes_received: int = 0
    mounts: int = 0
    retries: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, verb: str = "", **amounts: int) -> None:
        """Count a request, or bytes by the name of the field."""
        with self._lock:
            if verb:
                self.requests[verb] += 1
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    def as_dict(self) -> dict[str, object]:
        """For receipts."""
        with self._lock:
            return {
                "sent": self.sent,
                "received": self.received,
                "blob_bytes_sent": self.blob_bytes_sent,
                "blob_bytes_received": self.blob_bytes_received,
                "mounts": self.mounts,
                "retries": self.retries,
                "requests": dict(sorted(self.requests.items())),
            }
