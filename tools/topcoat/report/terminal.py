"""The live view on a terminal: a calm tree of what runs, what failed and what waits, with times and the longest path.

This module must never print more lines than the terminal has, and leaves nothing behind but failures: the summary follows.
"""

from __future__ import annotations

import threading
import time
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from topcoat.engine.events import Event
from topcoat.model import Status
from topcoat.report.console import STYLES, clean
from topcoat.report.figures import OUTCOMES, time_text
from topcoat.report.state import State, TaskView, failure_line


class Terminal:
    """A listener and a context manager around rich's live display."""

    def __init__(self, stream: TextIO, console: Console | None = None) -> None:
        self._console = console or Console(file=stream, highlight=False)
        self._lock = threading.Lock()
        self.state = State()
        self._clock_offset: float | None = None
        self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Terminal:
        self._live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(*details)  # type: ignore[arg-type]

    def __call__(self, event: Event) -> None:
        """Take one event in; failures are printed above the tree, for good."""
        with self._lock:
            view = self.state(event)
            self._clock_offset = time.monotonic() - event.time
        if event.kind == "task-finished" and view is not None and view.status is Status.FAILED:
            self._live.console.print(Text(failure_line(view.id, view.error), "red"))

    def render(self) -> RenderableType:
        """The picture of this moment."""
        with self._lock:
            now = time.monotonic() - self._clock_offset if self._clock_offset is not None else self.state.now
            if not self.state.tasks:
                return Text("starting", "dim")
            height = max(4, (self._console.height or 25) - 5)
            return Group(self._head(now), self._tree(now, height), self._foot())

    def _head(self, now: float) -> Text:
        state = self.state
        total = len(state.tasks)
        width = max(10, min(40, self._console.width - 50))
        groups: dict[str, int] = {}
        for view in state.tasks.values():
            name = view.outcome if view.status.ended else view.status
            groups[name] = groups.get(name, 0) + 1
        bar = Text()
        order = [*OUTCOMES, "running", "waiting"]
        for name in sorted(groups, key=lambda item: order.index(item) if item in order else 5):
            style = {"running": "bold white", "waiting": "bright_black", "done": "green"}.get(name, STYLES.get(name, "green"))
            bar.append(("─" if name == "waiting" else "━") * round(width * groups[name] / total), style)
        bar.truncate(width, pad=True)
        failed = groups.get("failed", 0)
        line = Text.assemble(
            bar, f" {state.ended}/{total}  ", (f"{groups.get('running', 0)} running", "bold"), f"  {groups.get('waiting', 0)} waiting  "
        )
        if failed:
            line.append(f"{failed} failed  ", "bold red")
        line.append(time_text(max(0.0, now - state.began)), "dim")
        if state.cancelling:
            line.append("  ending what runs", "bold yellow")
        line.no_wrap = True
        return line

    def _tree(self, now: float, height: int) -> RenderableType:
        """Running and failed tasks under their ancestors; where that is too tall, the running ones alone, oldest first."""
        tasks = self.state.tasks
        wanted = [view for view in tasks.values() if view.status in (Status.RUNNING, Status.FAILED)]
        wanted.sort(key=lambda view: (view.status is not Status.RUNNING, view.since, view.id))
        critical = set(self.state.critical_path())
        shown: dict[str, None] = {}
        for view in wanted:
            chain = self._chain(view)
            if len(shown) + sum(name not in shown for name in chain) <= height:
                shown.update(dict.fromkeys(chain))
        if not shown:
            lines = [self._label(view, now, critical) for view in wanted[:height]]
            return Group(*lines)
        top = Tree(Text(""), hide_root=True, guide_style="bright_black")
        branches: dict[str, Tree] = {}
        for name in sorted(shown, key=lambda item: (len(self._chain(tasks[item])), item)):
            chain = self._chain(tasks[name])
            above = branches.get(chain[-2], top) if len(chain) > 1 else top
            branches[name] = above.add(self._label(tasks[name], now, critical))
        return top

    def _chain(self, view: TaskView) -> list[str]:
        """The task under its ancestors; of several dependencies the one with the longest path leads."""
        chain = [view.id]
        while True:
            above = [name for name in self.state.tasks[chain[0]].dependencies if name in self.state.tasks and name not in chain]
            if not above:
                return chain
            chain.insert(0, max(above, key=lambda name: (self.state.tasks[name].remaining, name)))

    def _label(self, view: TaskView, now: float, critical: set[str]) -> Text:
        name = clean(view.id)
        text = Text(no_wrap=True, overflow="ellipsis")
        if view.status is Status.RUNNING:
            text.append(name, "bold")
            text.append(f"  {view.stage} ", "cyan")
            text.append(time_text(max(0.0, now - view.since)), "cyan")
        elif view.status is Status.FAILED:
            text.append(f"{name}  failed", "bold red")
        elif view.status is Status.DONE:
            text.append(f"{name}  {view.outcome} {time_text(view.seconds)}", "dim")
        else:
            text.append(f"{name}  {view.status}", "dim")
        if view.id in critical:
            text.append("  ◆", "magenta")
        waiting = sum(other.status is Status.WAITING and view.id in other.dependencies for other in self.state.tasks.values())
        if waiting:
            text.append(f"  {waiting} wait for it", "bright_black")
        if view.line and view.status in (Status.RUNNING, Status.WAITING):
            text.append(f"  {clean(view.line)}", "bright_black")
        return text

    def _foot(self) -> Text:
        path = [clean(name) for name in self.state.critical_path()]
        text = Text.assemble(("◆ longest path ", "magenta"), (" > ".join(path), "dim"))
        text.no_wrap, text.overflow = True, "ellipsis"
        return text
