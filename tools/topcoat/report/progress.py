"""The live view of a run, made from nothing but its event stream: ``auto``, ``plain``, ``tty``, ``rawjson``, ``quiet``.

This module must never slow a run down or end it: what cannot be shown is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from topcoat.engine.events import Event, JsonLines
from topcoat.model import Status
from topcoat.report.console import clean, some
from topcoat.report.figures import plural, time_text
from topcoat.report.state import State, TaskView, failure_line

MODES = ("auto", "plain", "tty", "rawjson", "quiet")


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
                busy = sorted((v for v in self._state.tasks.values() if v.status is Status.RUNNING), key=lambda v: v.since)
                doing = some((f"{v.id} {v.stage} {time_text(self._state.now - v.since)}" for v in busy), 4)
                took = time_text(self._state.now - self._state.began)
                self._say(f"{self._position()} still at it after {took}: {doing or 'waiting for a retry'}{self._others()}")
            elif event.kind == "cancelling":
                self._say(f"{self._position()} cancelled; {self._state.count(Status.RUNNING)} running are being ended")

    def _words(self, view: TaskView) -> str:
        if view.status is Status.FAILED:
            return f"{failure_line(view.id, view.error)} after {time_text(view.seconds)}"
        if view.status in (Status.SKIPPED, Status.CANCELLED):
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
        running, waiting = self._state.count(Status.RUNNING), self._state.count(Status.WAITING)
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
        if event.kind == "task-finished" and view and view.status is Status.FAILED:
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
