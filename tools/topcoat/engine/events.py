"""The event stream of a run: everything that is shown about a run is derived from it.

This module must never decide anything about the run, and an event must never hold a secret.

The JSON form of an event, one a line, is described by ``events.schema.json`` beside this file (version in ``VERSION``).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TextIO

from topcoat.model.status import OF_TASKS

VERSION = 1

KINDS = (
    "run-started",
    "task-ready",
    "stage-started",
    "stage-progress",
    "stage-finished",
    "retry",
    "task-finished",
    "heartbeat",
    "cancelling",
    "run-finished",
)


@dataclass(frozen=True)
class Event:
    """One thing that happened; ``task`` and ``stage`` are None where the event is about the run."""

    time: float
    """Seconds since the epoch."""
    kind: str
    task: str | None = None
    stage: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """The JSON shape, see ``schema()``."""
        shape: dict[str, object] = {"version": VERSION, "time": round(self.time, 3), "kind": self.kind}
        if self.task is not None:
            shape["task"] = self.task
        if self.stage is not None:
            shape["stage"] = self.stage
        if self.data:
            shape["data"] = dict(self.data)
        return shape

    def to_line(self) -> str:
        """One line of JSON without line end."""
        return json.dumps(self.to_dict(), sort_keys=True, default=str)

    @classmethod
    def from_dict(cls, shape: Mapping[str, object]) -> Event:
        """The inverse of ``to_dict``."""
        return cls(shape["time"], shape["kind"], shape.get("task"), shape.get("stage"), shape.get("data") or {})  # type: ignore[arg-type]


Listener = Callable[[Event], None]


def schema() -> dict[str, object]:
    """The JSON Schema of one event line: the file beside this one, with the words of ``Status`` filled in."""
    document: dict[str, Any] = json.loads(resources.files(__package__).joinpath("events.schema.json").read_text("utf-8"))
    words, counts = [status.word for status in OF_TASKS], document["$defs"]["counts"]
    document["$defs"]["status"]["enum"] = words
    counts["required"] += words
    counts["properties"] |= {word: {"type": "integer"} for word in words}
    return document


class JsonLines:
    """A listener that writes each event as one JSON line and flushes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        with self._lock:
            self._stream.write(event.to_line() + "\n")
            self._stream.flush()
