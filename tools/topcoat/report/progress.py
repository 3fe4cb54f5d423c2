"""The live view of a run, made from nothing but its event stream: ``auto``, ``plain``, ``tty``, ``rawjson``, ``quiet``.

This module must never slow a run down or end it: what cannot be shown is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from topcoat.engine.events import Event, JsonLines
from topcoat.report.console import clean, some
from topcoat.report.facts import brief, next_step, plural, time_text

MODES = ("auto", "plain", "tty", "rawjson", "quiet")
_DONE = {"build": "built", "update": "updated", "reuse": "reused"}


@dataclass
class TaskView:
    """What the events have said about one task."""

    id: str
    dependencies: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    labels: Mapping[str, object] = field(default_factory=dict)
    remaining: float = 0.0
    status: str = "waiting"
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
            view.status, view.stage, view.since, view.line = "running", event.stage, event.time, ""
            view.started = view.started or event.time
        elif event.kind == "stage-progress":
            view.line = str(event.data.get("line") or event.data.get("message") or view.line)
        elif event.kind == "stage-finished":
            view.status, view.stage = "waiting", None
        elif event.kind == "retry":
            view.line = f"again in {float(event.data['delay']):.0f} s: {event.data['error'].get('what', '')}"  # type: ignore[arg-type, attr-defined]
        elif event.kind == "task-finished":
            status = str(event.data["status"])
            view.status, view.stage = status, None
            view.seconds = float(event.data["seconds"])  # type: ignore[arg-type]
            view.error = event.data.get("error")  # type: ignore[assignment]
            told = event.data.get("outcome") or _DONE.get(str(view.labels.get("action")), "done")
            view.outcome = str(told) if status == "done" else status
            view.line = str(event.data.get("skipped_because") or event.data.get("message") or "")
        return view

    def count(self, *statuses: str) -> int:
        """How many tasks have one of these statuses."""
        return sum(view.status in statuses for view in self.tasks.values())

    @property
    def ended(self) -> int:
        """How many tasks are over, one way or the other."""
        return self.count("done", "failed", "skipped", "cancelled")

    def critical_path(self) -> list[str]:
        """The chain of tasks that are not over with the longest expected work, first task first."""
        by_parent: dict[str, list[TaskView]] = {}
        unfinished = [view for view in self.tasks.values() if view.status in ("waiting", "running")]
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


class Plain:
    """Lines for a CI console: one a finished task, neighbours that were only reused in one line, a heartbeat each minute."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._state = State()
        self._reused: list[str] = []
        self._reused_at = ""

    def __call__(self, event: Event) -> None:
        """Print what the event is worth."""
        view = self._state(event)
        if event.kind == "run-started":
            path = self._state.critical_path()
            self._say(f"{plural(len(self._state.tasks), 'image')}; longest path: {' > '.join(path)}" if path else "nothing to do")
        elif event.kind == "retry" and view:
            self._say(f"{view.id} {event.stage}: {view.line}")
        elif event.kind == "task-finished" and view:
            if view.outcome == "reused":
                self._reused.append(view.id)
                self._reused_at = self._position()
                return
            self._flush()
            self._say(f"{self._position()} {self._words(view)}{self._others()}")
        elif event.kind in ("heartbeat", "cancelling", "run-finished"):
            self._flush()
            if event.kind == "heartbeat":
                busy = sorted((v for v in self._state.tasks.values() if v.status == "running"), key=lambda v: v.since)
                doing = some((f"{v.id} {v.stage} {time_text(self._state.now - v.since)}" for v in busy), 4)
                took = time_text(self._state.now - self._state.began)
                self._say(f"{self._position()} still at it after {took}: {doing or 'waiting for a retry'}{self._others()}")
            elif event.kind == "cancelling":
                self._say(f"{self._position()} cancelled; {self._state.count('running')} running are being ended")

    def _words(self, view: TaskView) -> str:
        if view.status == "failed":
            return f"{failure_line(view.id, view.error)} after {time_text(view.seconds)}"
        if view.status in ("skipped", "cancelled"):
            return f"{view.id} {view.status} ({view.line})" if view.line else f"{view.id} {view.status}"
        return f"{view.id} {view.outcome} {time_text(view.seconds)}" + (f" {view.line}" if view.line else "")

    def _flush(self) -> None:
        if self._reused:
            names, self._reused = self._reused, []
            text = f"{names[0]} reused" if len(names) == 1 else f"{len(names)} images reused: {some(names)}"
            self._say(f"{self._reused_at} {text}")

    def _position(self) -> str:
        total = len(self._state.tasks)
        return f"[{self._state.ended:{len(str(total))}d}/{total}]"

    def _others(self) -> str:
        running, waiting = self._state.count("running"), self._state.count("waiting")
        return f", {running} running, {waiting} waiting" if running or waiting else ""

    def _say(self, text: str) -> None:
        self._stream.write(clean(text) + "\n")
        self._stream.flush()


class Quiet:
    """Nothing but failures."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._state = State()

    def __call__(self, event: Event) -> None:
        """Print a failed task."""
        view = self._state(event)
        if event.kind == "task-finished" and view and view.status == "failed":
            self._stream.write(failure_line(view.id, view.error) + "\n")
            self._stream.flush()


def choose(mode: str, stream: TextIO, environ: Mapping[str, str]) -> str:
    """What ``auto`` means here: ``tty`` on a terminal that can move its cursor and is not a CI console, else ``plain``."""
    if mode != "auto":
        return mode
    capable = stream.isatty() and environ.get("TERM", "dumb") != "dumb" and not environ.get("CI")
    return "tty" if capable else "plain"


@contextmanager
def listener(mode: str, stream: TextIO, environ: Mapping[str, str] | None = None) -> Iterator[Callable[[Event], None]]:
    """A listener for ``Engine(listeners=[...])`` that shows the run while the block lasts.

    :param mode: one of ``MODES``; anything else raises ValueError (the command line has checked it).
    :param stream: where to write; usually standard error, so that results can be piped.
    """
    if mode not in MODES:
        raise ValueError(f"unknown progress mode {mode!r}")
    chosen = choose(mode, stream, os.environ if environ is None else environ)
    if chosen == "tty":
        from topcoat.report.terminal import Terminal

        with Terminal(stream) as terminal:
            yield terminal
    elif chosen == "rawjson":
        yield JsonLines(stream)
    elif chosen == "quiet":
        yield Quiet(stream)
    else:
        yield Plain(stream)
