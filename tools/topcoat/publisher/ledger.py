"""Which repositories of a registry are known to hold which blob, shared by all threads of a run.

This module must never guess: an entry is made only after the registry said so.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from topcoat.model import Digest


@dataclass
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    repositories: list[str] = field(default_factory=list)


class BlobLedger:
    """By (registry host, digest): the repositories that hold the blob, and a lock so that only one thread sends it."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Digest], _Entry] = {}
        self._lock = threading.Lock()

    def _entry(self, host: str, digest: Digest) -> _Entry:
        with self._lock:
            return self._entries.setdefault((host, digest), _Entry())

    def add(self, host: str, digest: Digest, repository: str) -> None:
        """Remember that a repository holds a blob."""
        entry = self._entry(host, digest)
        with self._lock:
            if repository not in entry.repositories:
                entry.repositories.append(repository)

    def forget(self, host: str, digest: Digest, repository: str) -> None:
        """A mount from this repository did not work: it is no source any more."""
        entry = self._entry(host, digest)
        with self._lock:
            if repository in entry.repositories:
                entry.repositories.remove(repository)

    def holders(self, host: str, digest: Digest) -> tuple[str, ...]:
        """Repositories known to hold the blob, first known first."""
        entry = self._entry(host, digest)
        with self._lock:
            return tuple(entry.repositories)

    @contextlib.contextmanager
    def sending(self, host: str, digest: Digest) -> Iterator[None]:
        """Only one thread at a time may find out about a blob and send it; the others wait, then mount."""
        with self._entry(host, digest).lock:
            yield
