"""Runs the command in a process made by fork from one that has imported it, with the machine's limits and a clock that the test chooses.

It must never change what a command decides: waits are shorter, limits of time are smaller, everything else is as people have it.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

QUICKER = 0.02
"""How much of a wait between two attempts is really waited."""
SILENCE_SECONDS = 1.0
OPERATION_SECONDS = 4.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__, "topcoat.cli.build", "topcoat.runs.execute", "topcoat.solver.solver", "httpx", "jinja2", "jsonschema_rs"])


@dataclass(frozen=True)
class Conditions:
    """What the machine gives a run."""

    descriptors: int = 0
    """Open files that are allowed; 0: as many as here."""
    ahead: float = 0.0
    """Seconds by which the clock of the day is ahead."""
    jump: float = 0.0
    """Seconds that it jumps at every tenth look."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A command on its way, or at its end."""

    process: BaseProcess
    out: Path
    errors: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid or 0

    def wait(self, seconds: float) -> int | None:
        """Exit code (negative: the signal), None when it was not over in time."""
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self) -> None:
        """As the kernel does it when memory is short."""
        self.process.kill()


AS_HERE = Conditions()


def start(argv: Sequence[str], place: Path, conditions: Conditions = AS_HERE) -> Running:
    """Start ``topcoat ARGV``; what it says lands in two files of the folder ``place``."""
    place.mkdir(parents=True, exist_ok=True)
    out, errors = place / "out.txt", place / "errors.txt"
    process = _context.Process(target=_run, args=(list(argv), str(out), str(errors), conditions))
    process.start()
    return Running(process, out, errors)


def _run(argv: list[str], out: str, errors: str, conditions: Conditions) -> None:
    for path, number in ((out, 1), (errors, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.setsid()
    for name in [name for name in os.environ if name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))]:
        del os.environ[name]
    os.environ.update(conditions.environment)
    _shorten()
    if conditions.ahead or conditions.jump:
        _other_clock(conditions)
    if conditions.descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (conditions.descriptors, conditions.descriptors))
    from topcoat.cli import main

    main(argv)


def _shorten() -> None:
    from topcoat.registry.limits import Limits
    from topcoat.yum.transport import Transport

    names = list(Limits.__dataclass_fields__)
    smaller = {"read_timeout": SILENCE_SECONDS, "operation_seconds": OPERATION_SECONDS, "blob_seconds": OPERATION_SECONDS}
    smaller["slowest_bytes_per_second"] = 8 << 20
    values = Limits.__init__.__defaults__ or ()
    Limits.__init__.__defaults__ = tuple(smaller.get(name, value) for name, value in zip(names, values, strict=True))  # type: ignore[misc]
    Transport.__init__.__kwdefaults__ = {**(Transport.__init__.__kwdefaults__ or {}), "timeout": SILENCE_SECONDS}
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(seconds * QUICKER)
    Transport.__init__.__kwdefaults__["pause"] = time.sleep


def _other_clock(conditions: Conditions) -> None:
    real, looks = time.time, iter(range(1 << 62))
    time.time = lambda: real() + conditions.ahead + conditions.jump * (next(looks) // 10)  # type: ignore[assignment]
