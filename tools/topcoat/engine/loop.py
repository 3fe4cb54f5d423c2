"""The deciding thread of a run: one thread decides everything, workers only run stage functions and post messages to it.

This module must never wait for a worker that may not answer: every wait has an end, and every try ends in exactly one way.
"""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from topcoat.engine.events import Event, Listener
from topcoat.engine.schedule import Graph
from topcoat.engine.task import Flag, InternalError, Stage, StopFlag, Task, TaskResult
from topcoat.errors import InfrastructureError, TopcoatError, machine_error
from topcoat.model.status import OF_TASKS, Status
from topcoat.process import Processes
from topcoat.process.retry import RetryPolicy

_logger = logging.getLogger(__name__)


class Settings(Protocol):
    """What a run asks of the engine that it belongs to; see ``Engine`` for the meaning of each."""

    pools: dict[str, int]
    retry: RetryPolicy
    listeners: tuple[Listener, ...]
    keep_going: bool
    clock: Callable[[], float]
    processes: Processes | None
    log_of: Callable[[str], Path | None] | None
    describe: Callable[[TaskResult], Mapping[str, object]] | None
    heartbeat: float
    grace: float
    cancel_flag: Flag

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end."""


@dataclass
class _State:
    """Where one task stands; touched by the deciding thread only."""

    task: Task
    index: int = 0
    status: Status = Status.WAITING
    attempt: int = 0
    tries: int = 0
    values: dict[str, object] = field(default_factory=dict)
    times: dict[str, tuple[float, float]] = field(default_factory=dict)
    announced: bool = False
    queued: bool = False

    @property
    def stage(self) -> Stage:
        return self.task.stages[self.index]


@dataclass
class _Attempt:
    """One running try of one stage."""

    state: _State
    stage: Stage
    started: float
    deadline: float | None
    stop: StopFlag
    token: int


class _Context:
    """See ``topcoat.engine.task.Context``."""

    def __init__(self, run: Run, attempt: _Attempt) -> None:
        self.task = attempt.state.task.id
        self.stage = attempt.stage.name
        self.attempt = attempt.state.attempt
        self._run = run
        self._stop = attempt.stop
        self._token = attempt.token

    @property
    def cancelled(self) -> bool:
        return bool(self._stop)

    def emit(self, **data: object) -> None:
        self._run.inbox.put(("progress", self._token, data))

    def wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self._stop and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return bool(self._stop)

    def result_of(self, task: str, stage: str | None = None) -> object:
        if not self._run.graph.is_ancestor(task, self.task):
            raise KeyError(f"{self.task} does not depend on {task}")
        values = self._run.states[task].values
        if stage is not None:
            return values[stage]
        return list(values.values())[-1] if values else None

    def stage_result(self, stage: str) -> object:
        return self._run.states[self.task].values[stage]


class Run:
    """The deciding thread's view of one run."""

    def __init__(self, engine: Settings, graph: Graph) -> None:
        self._engine = engine
        self.graph = graph
        self.states = {task.id: _State(task) for task in graph.tasks.values()}
        # SimpleQueue.put is reentrant, so a signal handler may use it while this thread waits in get().
        self.inbox: queue.SimpleQueue[tuple[str, int, object]] = queue.SimpleQueue()
        self._results: dict[str, TaskResult] = {}
        self._ready: dict[str, list[tuple[float, str]]] = {name: [] for name in engine.pools}
        self._free = dict(engine.pools)
        self._running: dict[int, _Attempt] = {}
        self._delayed: list[tuple[float, str]] = []
        self._token = 0
        self._stopped_by: str | None = None
        self._give_up_at: float | None = None
        self._listeners = list(engine.listeners)
        self._wakeups: list[str] = []
        self._began = time.monotonic()
        self._beat_at = self._began + engine.heartbeat

    # -- the loop ------------------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, TaskResult]:
        self._emit("run-started", data=self._description())
        for name in sorted(self.states):
            self._advance(self.states[name])
        while len(self._results) < len(self.states):
            try:
                if self._engine.cancelled and self._give_up_at is None:
                    self._begin_cancel()
                self._start_what_can()
                if len(self._results) == len(self.states):
                    break
                self._handle(*self.inbox.get(timeout=self._patience()))
            except queue.Empty:
                pass
            self._look_at_clocks()
        self._emit("run-finished", data=self._counts())
        return {name: self._results[name] for name in self.states}

    def _patience(self) -> float:
        """Seconds until something is due without a message."""
        moments = [self._beat_at]
        moments += [attempt.deadline for attempt in self._running.values() if attempt.deadline is not None]
        if self._delayed:
            moments.append(self._delayed[0][0])
        if self._give_up_at is not None:
            moments.append(self._give_up_at)
        return max(0.0, min(moments) - time.monotonic())

    def _look_at_clocks(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            self._enqueue(self.states[heapq.heappop(self._delayed)[1]])
        for attempt in [a for a in self._running.values() if a.deadline is not None and a.deadline <= now]:
            attempt.stop.set()
            # The thread may still run, so a second try beside it would be two writers of one thing: not retriable.
            self._over(
                attempt,
                InfrastructureError(
                    f"stage {attempt.stage.name} took longer than {attempt.stage.timeout:g} s",
                    image=attempt.state.task.id,
                    retriable=False,
                    next_step="look at the log for what it waited for; a recheck helps when the machine was overloaded",
                ),
            )
        if self._give_up_at is not None and now >= self._give_up_at:
            for attempt in list(self._running.values()):
                attempt.stop.set()
                self._over(attempt, None, abandoned=True)
        if now >= self._beat_at:
            self._emit("heartbeat", data=self._counts())

    def _handle(self, what: str, token: int, payload: object) -> None:
        if what == "cancel":
            self._begin_cancel()
            return
        attempt = self._running.get(token)
        if attempt is None:
            return  # late news of an attempt that was given up
        if what == "progress":
            self._emit("stage-progress", attempt.state.task.id, attempt.stage.name, payload)  # type: ignore[arg-type]
        elif what == "value":
            self._over(attempt, None, value=payload)
        else:
            self._over(attempt, payload)  # type: ignore[arg-type]

    # -- starting ------------------------------------------------------------------------------------------------------------------

    def _advance(self, state: _State) -> None:
        """Look whether a waiting task's next stage may be queued, or can never run."""
        if state.status is not Status.WAITING or state.queued or state.task.id in self._results:
            return
        blocked = False
        for other_id, index in self.graph.needs[state.task.id, state.index]:
            other = self.states[other_id]
            finished = self._results.get(other_id)
            if finished is not None and finished.status is not Status.DONE and index >= len(other.values):
                self._give_up(state, other_id, finished)
                return
            reached = finished is not None and finished.status is Status.DONE if index == len(other.task.stages) else len(other.values) > index
            blocked = blocked or not reached
        if blocked:
            return
        if not state.task.stages:
            self._finish(state, Status.DONE)
            return
        if not state.announced:
            state.announced = True
            self._emit("task-ready", state.task.id)
        self._enqueue(state)

    def _enqueue(self, state: _State) -> None:
        if state.task.id in self._results:
            return
        state.queued = True
        heapq.heappush(self._ready[state.stage.pool], (-self.graph.remaining[state.task.id, state.index], state.task.id))

    def _start_what_can(self) -> None:
        if self._engine.cancelled or self._stopped_by is not None:
            self._cancel_idle()
            return
        for pool, heap in self._ready.items():
            while heap and self._free[pool] > 0:
                state = self.states[heapq.heappop(heap)[1]]
                state.queued = False
                self._start(state)

    def _start(self, state: _State) -> None:
        stage = state.stage
        self._free[stage.pool] -= 1
        state.status = Status.RUNNING
        state.attempt += 1
        state.tries += state.attempt > 1 or not state.tries
        self._token += 1
        deadline = None if stage.timeout is None else time.monotonic() + stage.timeout
        attempt = _Attempt(state, stage, self._engine.clock(), deadline, StopFlag(self._engine.cancel_flag), self._token)
        self._running[attempt.token] = attempt
        self._emit("stage-started", state.task.id, stage.name, {"attempt": state.attempt})
        worker = threading.Thread(target=self._work, args=(attempt, _Context(self, attempt)), name=f"{state.task.id}/{stage.name}", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:
            self._over(attempt, InfrastructureError(f"cannot start a thread: {error}", image=state.task.id))

    def _work(self, attempt: _Attempt, context: _Context) -> None:
        """Runs in the worker thread; whatever happens, exactly one message says how it ended."""
        try:
            value = attempt.stage.function(context)
        except BaseException as error:  # noqa: BLE001 (a lost worker would hang the run)
            self.inbox.put(("error", attempt.token, error))
        else:
            self.inbox.put(("value", attempt.token, value))

    # -- ending --------------------------------------------------------------------------------------------------------------------

    def _over(self, attempt: _Attempt, error: BaseException | None, *, value: object = None, abandoned: bool = False) -> None:
        """A try has ended (or is given up): free its slot, then decide what follows."""
        del self._running[attempt.token]
        self._free[attempt.stage.pool] += 1
        state, stage = attempt.state, attempt.stage
        end = self._engine.clock()
        state.times[stage.name] = (attempt.started, end)
        state.status = Status.WAITING
        ok = error is None and not abandoned
        self._emit("stage-finished", state.task.id, stage.name, {"ok": ok, "seconds": round(end - attempt.started, 3), "attempt": state.attempt})
        if ok:
            state.values[stage.name] = value
            state.index += 1
            state.attempt = 0
            if state.index == len(state.task.stages):
                self._finish(state, Status.DONE, value=value)
            else:
                self._wake(state.task.id)
                self._advance(state)
            return
        if abandoned or (self._engine.cancelled and error is not None):
            self._finish(state, Status.CANCELLED, error=error if isinstance(error, TopcoatError) else None)
            return
        assert error is not None
        delay = None if self._stopped_by else self._engine.retry.delay(error, state.attempt, state.task.id)
        if delay is None:
            self._finish(state, Status.FAILED, error=self._as_error(state, stage, error))
            return
        shape = error.as_dict() if isinstance(error, TopcoatError) else {}
        self._emit("retry", state.task.id, stage.name, {"attempt": state.attempt, "delay": round(delay, 3), "error": shape})
        state.queued = True
        heapq.heappush(self._delayed, (time.monotonic() + delay, state.task.id))

    def _as_error(self, state: _State, stage: Stage, error: BaseException) -> TopcoatError:
        if isinstance(error, TopcoatError):
            return error
        log = self._engine.log_of(state.task.id) if self._engine.log_of else None
        machine = machine_error(error, image=state.task.id, log=str(log) if log else None)
        if machine is not None:
            return machine
        text = "".join(traceback.format_exception(error))
        _logger.error("%s/%s: unexpected exception\n%s", state.task.id, stage.name, text)
        if log is not None:
            try:
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("a", encoding="utf-8") as sink:
                    sink.write(text)
            except OSError as failure:
                _logger.error("cannot write %s: %s", log, failure)
        return InternalError(
            f"stage {stage.name}: unexpected {type(error).__name__}: {error}",
            image=state.task.id,
            next_step="this is a defect of topcoat: report it with the log, which holds the traceback",
            log=str(log) if log else None,
        )

    def _give_up(self, state: _State, other: str, result: TaskResult) -> None:
        """A condition of this task can never hold any more."""
        first = result.blocked_by or other
        if result.status is Status.CANCELLED:
            self._finish(state, Status.CANCELLED, because=result.skipped_because or f"{other} was cancelled", blocked_by=first)
        else:
            self._finish(state, Status.SKIPPED, because=result.skipped_because or f"parent {other} failed", blocked_by=first)

    def _finish(
        self,
        state: _State,
        status: Status,
        *,
        value: object = None,
        error: TopcoatError | None = None,
        because: str | None = None,
        blocked_by: str | None = None,
    ) -> None:
        stages = tuple((name, *times) for name, times in state.times.items())
        result = TaskResult(state.task.id, status, value, error, because, blocked_by, state.tries, stages, dict(state.values))
        self._results[state.task.id] = result
        state.status = status
        data: dict[str, object] = {"status": status.word, "seconds": round(sum(end - start for _, start, end in stages), 3), "attempts": state.tries}
        if error is not None:
            data["error"] = error.as_dict()
        if because is not None:
            data["skipped_because"] = because
        if self._engine.describe is not None:
            data.update(self._engine.describe(result))
        self._emit("task-finished", state.task.id, data=data)
        if status is Status.FAILED and not self._engine.keep_going and self._stopped_by is None:
            self._stopped_by = state.task.id
        self._wake(state.task.id)

    def _wake(self, finished: str) -> None:
        """Look again at everything that waits for this task; the recursion through failures is as deep as the graph, so it is kept in a list."""
        self._wakeups.append(finished)
        if len(self._wakeups) > 1:
            return
        while self._wakeups:
            for waiter in sorted(set(self.graph.waiters.get(self._wakeups[0], ()))):
                self._advance(self.states[waiter])
            self._wakeups.pop(0)

    def _begin_cancel(self) -> None:
        if self._give_up_at is not None:
            self._give_up_at = time.monotonic()  # asked twice: do not wait for what still runs
            return
        self._give_up_at = time.monotonic() + self._engine.grace
        self._emit("cancelling", data=self._counts())
        if self._engine.processes is not None:
            self._engine.processes.stop()
        self._cancel_idle()

    def _cancel_idle(self) -> None:
        """End every task that has no running stage."""
        busy = {attempt.state.task.id for attempt in self._running.values()}
        because = f"the run stopped when {self._stopped_by} failed" if self._stopped_by else "the run was cancelled"
        for heap in self._ready.values():
            heap.clear()
        self._delayed.clear()
        for name in sorted(self.states):
            if name not in self._results and name not in busy:
                self._advance_to_end(self.states[name], because)

    def _advance_to_end(self, state: _State, because: str) -> None:
        """A task whose dependency failed is skipped, also now; the others are cancelled."""
        state.queued = False
        for other_id, index in self.graph.needs[state.task.id, state.index]:
            finished = self._results.get(other_id)
            if finished is not None and finished.status in (Status.FAILED, Status.SKIPPED) and index >= len(self.states[other_id].values):
                self._give_up(state, other_id, finished)
                return
        self._finish(state, Status.CANCELLED, because=because)

    # -- telling -------------------------------------------------------------------------------------------------------------------

    def _emit(self, kind: str, task: str | None = None, stage: str | None = None, data: Mapping[str, object] | None = None) -> None:
        event = Event(self._engine.clock(), kind, task, stage, data or {})
        self._beat_at = time.monotonic() + self._engine.heartbeat
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:
                _logger.exception("a listener failed and is dropped")
                self._listeners.remove(listener)

    def _counts(self) -> dict[str, object]:
        counts: dict[str, object] = dict.fromkeys((status.word for status in OF_TASKS), 0)
        for result in self._results.values():
            counts[result.status.word] += 1  # type: ignore[operator]
        counts["running"] = len(self._running)
        counts["waiting"] = len(self.states) - len(self._results) - len({a.state.task.id for a in self._running.values()})
        counts["seconds"] = round(time.monotonic() - self._began, 3)
        return counts

    def _description(self) -> dict[str, object]:
        graph = self.graph
        order = sorted(self.states, key=lambda name: (-graph.remaining[name, 0], name))
        tasks = [
            {
                "id": name,
                "dependencies": sorted(graph.dependencies_of(name) - {name}),
                "stages": [stage.name for stage in graph.tasks[name].stages],
                "weight": graph.tasks[name].weight,
                "remaining": round(graph.remaining[name, 0], 3),
                "labels": dict(graph.tasks[name].labels),
            }
            for name in order
        ]
        return {"tasks": tasks, "pools": dict(self._engine.pools)}
