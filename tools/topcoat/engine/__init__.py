"""Runs a graph of work: bounded pools, limits that hold, retry by error class, events; see ``Engine``.

This room must never know what the work is: no image, registry or package is named here.
"""

from topcoat.engine.events import Event, JsonLines, Listener
from topcoat.engine.runner import Engine
from topcoat.engine.signals import cancel_on_signal
from topcoat.engine.task import Context, InternalError, Stage, Task, TaskResult, of_kind
from topcoat.process.retry import NEVER, RetryPolicy

__all__ = [
    "NEVER",
    "Context",
    "Engine",
    "Event",
    "InternalError",
    "JsonLines",
    "Listener",
    "RetryPolicy",
    "Stage",
    "Task",
    "TaskResult",
    "cancel_on_signal",
    "of_kind",
]
