"""What the engine is given and what it gives back: tasks, their stages, their results.

This module must never run anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from topcoat.errors import TopcoatError
from topcoat.model.status import Status

_Value = TypeVar("_Value")


class Context(Protocol):
    """What a stage function receives."""

    task: str
    stage: str
    attempt: int
    """1 for the first try of this stage, counting up with each retry."""

    @property
    def cancelled(self) -> bool:
        """True once the run is being cancelled, or this attempt's time is up: return or raise as soon as that is safe."""

    def emit(self, **data: object) -> None:
        """Publish a ``stage-progress`` event; data must be JSON-serialisable."""

    def result_of(self, task: str, stage: str | None = None) -> object:
        """Value of a task (its last stage) or of one finished stage; KeyError when it is no (transitive) dependency or has not finished.

        Without ``stage`` and while the task still runs (only a stage of it was depended on), the value of its last finished stage.
        """

    def stage_result(self, stage: str) -> object:
        """Value of an earlier stage of this very task; KeyError when there is none."""

    def wait(self, seconds: float) -> bool:
        """Sleep, but return True at once when ``cancelled`` becomes true."""


StageFunction = Callable[[Context], object]


@dataclass(frozen=True)
class Stage:
    """One step of a task, run in a bounded pool; the pool's slot is held only while the function runs."""

    name: str
    pool: str
    function: StageFunction
    timeout: float | None = None
    """Seconds, the last resort: functions give ``topcoat.process.run`` their own, shorter limit. None: no limit."""
    after: frozenset[str] = frozenset()
    """Further conditions of this stage: ``task`` (all of it is done) or ``task/stage`` (that stage has finished), so that a child can be
    built while its parent is still being pushed."""


@dataclass(frozen=True)
class Task:
    """Stages that run in order once every dependency (``task`` or ``task/stage``) holds."""

    id: str
    dependencies: frozenset[str]
    stages: tuple[Stage, ...]
    weight: float = 1.0
    """Expected seconds; only its proportions matter: the longest remaining path goes first."""
    labels: Mapping[str, object] = field(default_factory=dict)
    """JSON data that travels in ``run-started`` for whoever shows the run, for example ``{"action": "update", "reason": "rpm-gated"}``."""


@dataclass(frozen=True)
class TaskResult:
    """What became of a task."""

    id: str
    status: Status
    """One of ``OF_TASKS``; ``SKIPPED``: a dependency did not get done."""
    value: object = None
    """What the last stage returned."""
    error: TopcoatError | None = None
    skipped_because: str | None = None
    """The reason in words, for people."""
    blocked_by: str | None = None
    """The task that was the first on the way up not to get done, where that kept this one from being begun."""
    attempts: int = 0
    """0: never started; else 1 plus the number of retries over all stages."""
    stages: tuple[tuple[str, float, float], ...] = ()
    """(stage, start, end), seconds since the epoch, the last attempt of each stage that was started."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Value of each finished stage."""


class InternalError(TopcoatError):
    """A stage raised something that is no TopcoatError: a defect of ours. Never retried."""

    code = "internal"
    exit_code = 1


def of_kind(value: object, kind: type[_Value]) -> _Value:
    """What a stage returned, as what it says that it returns.

    :raises InternalError: it is something else.
    """
    if not isinstance(value, kind):
        raise InternalError(f"a stage gave {type(value).__name__} where {kind.__name__} is wanted")
    return value


class Flag:
    """A one-way switch without a lock, so that a signal handler may set it at any moment."""

    def __init__(self) -> None:
        self._on = False

    def set(self) -> None:
        """Switch it on, for good."""
        self._on = True

    def __bool__(self) -> bool:
        return self._on


class StopFlag(Flag):
    """Two flags read as one: the whole run's and one attempt's."""

    def __init__(self, run: Flag) -> None:
        super().__init__()
        self._run = run

    def __bool__(self) -> bool:
        return self._on or bool(self._run)
