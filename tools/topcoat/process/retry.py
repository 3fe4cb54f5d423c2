"""When something that failed is tried again, and how long to wait before.

This module must never retry a content error: the same input gives the same failure, only later.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from topcoat.errors import TopcoatError


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff, bounded per stage; a server's ``Retry-After`` wins over our own delay."""

    attempts: int = 4
    """Tries of one stage in all, the first included."""
    initial: float = 1.0
    """Seconds before the second try."""
    factor: float = 2.0
    maximum: float = 60.0
    """Longest delay of our own, seconds."""
    longest_retry_after: float = 300.0
    """A server that asks for more is not waited for: the stage fails."""
    spread: float = 0.25
    """Share of the delay that is added, different per task, so that workers do not come back together."""

    def delay(self, error: BaseException, attempt: int, task: str) -> float | None:
        """Seconds to wait before the next try of a stage whose try number ``attempt`` failed, or None: do not try again."""
        if not isinstance(error, TopcoatError) or not error.retriable or attempt >= self.attempts:
            return None
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            return float(asked) if asked <= self.longest_retry_after else None
        delay = min(self.initial * self.factor ** (attempt - 1), self.maximum)
        return delay * (1 + self.spread * (zlib.crc32(f"{task}:{attempt}".encode()) % 1000) / 1000)


NEVER = RetryPolicy(attempts=1)
