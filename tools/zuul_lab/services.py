"""Long-running programs of the lab: start one with its log, wait until it answers.

This module must never start a program outside the lab's namespaces; its callers run inside.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.errors import InfrastructureError
from zuul_lab.layout import Places

# Seconds that a part may take to come up: many times what it needs on a quiet machine, because nobody gains from giving up on a busy one.
PATIENCE = 600.0


@dataclass(frozen=True)
class Service:
    """A started program: its name, pid (inside the lab) and log."""

    name: str
    pid: int
    log: Path

    def alive(self) -> bool:
        """Whether the program still runs."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def start(
    places: Places, name: str, argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Service:
    """Start a program in a session of its own; both streams go to ``<logs>/<name>.log``."""
    log = places.logs / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [os.fspath(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    pids = places.state / "pids"
    pids.mkdir(exist_ok=True)
    (pids / name).write_text(str(child.pid))
    return Service(name, child.pid, log)


def known(places: Places) -> dict[str, Service]:
    """Every service that was started in this lab, by name."""
    pids = places.state / "pids"
    if not pids.is_dir():
        return {}
    return {entry.name: Service(entry.name, int(entry.read_text()), places.logs / f"{entry.name}.log") for entry in sorted(pids.iterdir())}


def wait_until(what: str, test: Callable[[], bool], *, timeout: float = PATIENCE, service: Service | None = None, pause: float = 0.2) -> None:
    """Ask ``test`` until it says yes.

    :raises InfrastructureError: the service died (with its last lines), or the time is up.
    """
    deadline = time.monotonic() + timeout
    while True:
        if test():
            return
        if service and not service.alive():
            raise InfrastructureError(f"{service.name} ended before {what}: {service.tail()}", log=str(service.log), retriable=False)
        if time.monotonic() > deadline:
            log = str(service.log) if service else None
            raise InfrastructureError(
                f"waited {timeout:.0f} s in vain until {what}", log=log, next_step="read the log; give a busy machine more time"
            )
        time.sleep(pause)


def port_answers(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on a port."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
