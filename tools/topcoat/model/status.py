"""Where a task, an image or a run stands: one set of words for the engine, the receipt and everything that people read.

This module must never hold what follows from a status for others (exit codes, colours): they look it up by the member.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Status(enum.StrEnum):
    """The words as receipts and events carry them; of several runs that are joined, the later one here is the worse."""

    DONE = "done"
    PARTIAL = "partial"
    """A run of which only images failed that are allowed to."""
    WAITING = "waiting"
    RUNNING = "running"
    """Also what the receipt of a killed run says for ever."""
    SKIPPED = "skipped"
    """Never begun, because what it stands on was not done."""
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def word(self) -> str:
        """The plain text, for formats that know no enumerations."""
        return self.value

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self not in (Status.WAITING, Status.RUNNING)

    @property
    def usable(self) -> bool:
        """Whether the images of a run that ended so may be used."""
        return self in (Status.DONE, Status.PARTIAL)

    @staticmethod
    def worst(statuses: Iterable[Status]) -> Status:
        """The one that speaks for all; ValueError when there is none."""
        order = list(Status)
        return max(statuses, key=order.index)


OF_TASKS = (Status.DONE, Status.FAILED, Status.SKIPPED, Status.CANCELLED)
"""How a task or an image can have ended, in the order in which they are counted."""
OF_RUNS = (Status.RUNNING, Status.DONE, Status.FAILED, Status.PARTIAL, Status.CANCELLED)
"""What the receipt of a run can say."""
