"""A run as its events have told it so far: what every live view draws from.

This module must never write anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from topcoat.engine.events import Event
from topcoat.model import Status
from topcoat.report.console import clean
from topcoat.report.figures import DID, brief, next_step


@dataclass
class TaskView:
    """What the events have said about one task."""

    id: str
    dependencies: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    labels: Mapping[str, object] = field(default_factory=dict)
    remaining: float = 0.0
    status: Status = Status.WAITING
    stage: str | None = None
    since: float = 0.0
    started: float = 0.0
    line: str = ""
    outcome: str = ""
    seconds: float = 0.0
    error: Mapping[str, object] | None = None


class State:
    """The run as told so far."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskView] = {}
        self.began = 0.0
        self.now = 0.0
        self.cancelling = False

    def __call__(self, event: Event) -> TaskView | None:
        """Take one event in; returns the task it is about."""
        self.now = event.time
        if event.kind == "run-started":
            self.began = event.time
            for shape in event.data["tasks"]:  # type: ignore[attr-defined]
                self.tasks[shape["id"]] = TaskView(
                    shape["id"], tuple(shape["dependencies"]), tuple(shape["stages"]), shape.get("labels") or {}, shape["remaining"]
                )
        elif event.kind == "cancelling":
            self.cancelling = True
        view = self.tasks.get(event.task or "")
        if view is None:
            return None
        if event.kind == "stage-started":
            view.status, view.stage, view.since, view.line = Status.RUNNING, event.stage, event.time, ""
            view.started = view.started or event.time
        elif event.kind == "stage-progress":
            view.line = str(event.data.get("line") or event.data.get("message") or view.line)
        elif event.kind == "stage-finished":
            view.status, view.stage = Status.WAITING, None
        elif event.kind == "retry":
            view.line = f"again in {float(event.data['delay']):.0f} s: {event.data['error'].get('what', '')}"  # type: ignore[arg-type, attr-defined]
        elif event.kind == "task-finished":
            status = Status(str(event.data["status"]))
            view.status, view.stage = status, None
            view.seconds = float(event.data["seconds"])  # type: ignore[arg-type]
            view.error = event.data.get("error")  # type: ignore[assignment]
            told = event.data.get("outcome") or DID.get(str(view.labels.get("action")), "done")
            view.outcome = str(told) if status is Status.DONE else status.word
            view.line = str(event.data.get("skipped_because") or event.data.get("message") or "")
        return view

    def count(self, *statuses: Status) -> int:
        """How many tasks have one of these statuses."""
        return sum(view.status in statuses for view in self.tasks.values())

    @property
    def ended(self) -> int:
        """How many tasks are over, one way or the other."""
        return sum(view.status.ended for view in self.tasks.values())

    def critical_path(self) -> list[str]:
        """The chain of tasks that are not over with the longest expected work, first task first."""
        by_parent: dict[str, list[TaskView]] = {}
        unfinished = [view for view in self.tasks.values() if not view.status.ended]
        for view in unfinished:
            for parent in view.dependencies:
                by_parent.setdefault(parent, []).append(view)
        path: list[str] = []
        choices = unfinished
        while choices:
            first = max(choices, key=lambda view: view.remaining)
            path.append(first.id)
            choices = [view for view in by_parent.get(first.id, []) if view.id not in path]
        return path


def failure_line(name: str, error: Mapping[str, object] | None) -> str:
    """What happened, what to do, whether a recheck helps, in one line that cannot move the cursor."""
    error = error or {}
    text = f"{name} FAILED: {brief(error.get('what') or 'no reason given')}"
    step = next_step(error)
    if step:
        text += f" -> {step}"
    text += " (a recheck can help)" if error.get("recheck_helps") else " (a recheck will not help)"
    if error.get("log"):
        text += f" log: {error['log']}"
    return clean(text)
