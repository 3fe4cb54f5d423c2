"""Runs a graph of tasks: bounded pools, longest remaining path first, retry by error class, limits that hold, a clean end on cancel.

This module must never know what the tasks do, and ``run`` must never hang or lose a task, whatever a stage function does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from topcoat.engine.events import Listener
from topcoat.engine.loop import Run
from topcoat.engine.schedule import Graph
from topcoat.engine.signals import cancel_on_signal
from topcoat.engine.task import Flag, Task, TaskResult
from topcoat.process import Processes
from topcoat.process.retry import RetryPolicy


class Engine:
    """A generic runner of task graphs; one object can run several graphs, one after the other."""

    def __init__(
        self,
        pools: Mapping[str, int],
        *,
        retry: RetryPolicy | None = None,
        listeners: Sequence[Listener] = (),
        keep_going: bool = True,
        clock: Callable[[], float] = time.time,
        processes: Processes | None = None,
        log_of: Callable[[str], Path | None] | None = None,
        describe: Callable[[TaskResult], Mapping[str, object]] | None = None,
        heartbeat: float = 60.0,
        grace: float = 20.0,
        signals: bool = True,
    ) -> None:
        """:param pools: slots of each pool that stages name.

        :param listeners: called with every event, one at a time; one that raises is dropped, the run goes on.
        :param keep_going: False: after the first failed task nothing new starts; what runs ends its stage.
        :param clock: seconds since the epoch, for event times; limits use the monotonic clock.
        :param processes: stopped on cancel, so that external programs end at once.
        :param log_of: path of a task's log, which receives the traceback of an unexpected exception.
        :param describe: further JSON data for a task's ``task-finished`` event (bytes, digest, ...).
        :param heartbeat: seconds between ``heartbeat`` events while nothing else is said.
        :param grace: seconds that running stages get to end after a cancel; then they are left behind (daemon threads).
        :param signals: SIGINT, SIGTERM and SIGHUP call ``cancel`` while ``run`` is at work (in the main thread only).
        """
        self.pools = dict(pools)
        self.retry = retry or RetryPolicy()
        self.listeners = tuple(listeners)
        self.keep_going = keep_going
        self.clock = clock
        self.processes = processes
        self.log_of = log_of
        self.describe = describe
        self.heartbeat = heartbeat
        self.grace = grace
        self._signals = signals
        self.cancel_flag = Flag()
        self._run: Run | None = None

    def run(self, tasks: Iterable[Task]) -> dict[str, TaskResult]:
        """Run all tasks to an end of some kind.

        :returns: a result for every task, in the order given; never fewer.
        :raises ValueError: the graph is not one (duplicate id, unknown dependency or pool, cycle), before anything has started.
        """
        graph = Graph(tasks, self.pools)
        self._run = Run(self, graph)
        with cancel_on_signal(self.cancel) if self._signals else nullcontext():
            return self._run.run()

    def cancel(self) -> None:
        """Stop starting stages, end external programs, let ``run`` return; may be called from any thread and from a signal handler.

        A second call gives up waiting for what still runs.
        """
        run = self._run
        self.cancel_flag.set()
        if run is not None:
            run.inbox.put(("cancel", 0, None))

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return bool(self.cancel_flag)
