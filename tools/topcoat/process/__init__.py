"""The one way to run an external program, with a limit that kills all it started; beside it work done a few at a time, and files written whole.

This room must never use a shell and never put a secret on a command line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from topcoat.errors import ContentError, InfrastructureError, TopcoatError, machine_error
from topcoat.process.bounds import Bounds
from topcoat.process.output import Output

_GRACE_SECONDS = 5.0
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Result:
    """What a finished program left: exit code, standard output (text), last lines of what it printed."""

    code: int
    printed: str
    errors: str
    left_out: str = ""
    """Why the text is not the whole output; empty where it is."""

    @property
    def output(self) -> str:
        """The whole standard output.

        :raises ContentError: it was more than is kept.
        """
        if self.left_out:
            raise ContentError(self.left_out)
        return self.printed


class Processes:
    """Every process group this run started and has not seen end, so that an abort can end them all."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def add(self, group: int) -> None:
        """Remember a group; when the run is stopping already, end it at once."""
        with self._lock:
            self._groups.add(group)
            stopping = self._stopping
        if stopping:
            kill_group(group)

    def discard(self, group: int) -> None:
        """Forget a group that ended."""
        with self._lock:
            self._groups.discard(group)

    def stop(self) -> None:
        """End every group, and every one that is added later."""
        with self._lock:
            self._stopping = True
            groups = list(self._groups)
        for group in groups:
            kill_group(group)


def kill_group(group: int) -> None:
    """SIGTERM; the caller's wait decides when SIGKILL follows. A group that is gone is fine."""
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        pass


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    image: str | None = None,
    check: bool = True,
    failure: type[TopcoatError] = ContentError,
    processes: Processes | None = None,
    ordered: bool = False,
    watch: Callable[[], str] | None = None,
    late: type[TopcoatError] = InfrastructureError,
    name: str | None = None,
    most: int = Bounds.output,
) -> Result:
    """Run a program to its end.

    :param timeout: seconds; then the whole process group is ended (TERM, after 5 s KILL).
    :param log: file that receives both streams as they come, appended; None keeps them in memory only.
    :param env: the complete environment (None: inherit).
    :param check: raise when the exit code is not 0.
    :param failure: error class for an exit code other than 0.
    :param ordered: both streams through one pipe, so that their lines stay in the order they were written; all of them count as standard output.
    :param watch: asked once a second whether the program must end: why, or an empty text.
    :param late: error class for a program whose time was up, or that ``watch`` ended.
    :param name: of the program, for errors; None: that of its file.
    :param most: bytes that are kept of its standard output, and that the log gets; the rest is left out, and whoever reads the output is told.
    :returns: exit code, standard output, last lines of standard error.
    :raises InfrastructureError: the program is missing, the time was up (``late``), or the log cannot be written.
    :raises failure: the exit code is not 0 and ``check`` is set; the message ends with the program's last lines.
    """
    words = [os.fspath(word) for word in argv]
    program = name or Path(words[0]).name
    with Output(log, most) as printed:
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if ordered else subprocess.PIPE,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise InfrastructureError(
                f"{program} is not installed", image=image, retriable=False, next_step="install the packages of bindep.txt (tools/setup-node)"
            ) from error
        if processes:
            processes.add(child.pid)
        try:
            printed.follow(_stream(child.stdout), keep=True)
            if not ordered:
                printed.follow(_stream(child.stderr), keep=False)
            if stdin is not None:
                _feed(_stream(child.stdin), stdin.encode())
            over = _wait(child, timeout, watch)
        finally:
            _end(child)
            if processes:
                processes.discard(child.pid)
    where = os.fspath(log) if log else None
    if printed.unwritten:
        raise machine_error(printed.unwritten, image=image, log=where) or printed.unwritten
    said = f"its last lines: {printed.tail}"
    if over is None:
        raise late(f"{program} took longer than {timeout:.0f} s and was ended; {said}", image=image, log=where)
    if over:
        raise late(f"{program} {over}; {said}", image=image, log=where)
    if check and child.returncode:
        raise failure(f"{program} ended with code {child.returncode}; {said}", image=image, log=where)
    left_out = f"{program} printed more than the {most >> 20} MiB that are read of it" if printed.cut else ""
    return Result(child.returncode, printed.text, printed.tail, left_out)


def _stream(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None
    return end


def _feed(stream: IO[bytes], data: bytes) -> None:
    """Write a program's input in a thread of its own: one that does not read it must not hold up the time limit."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            with stream:
                stream.write(data)

    threading.Thread(target=write, daemon=True).start()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, with all it started: TERM, after 5 s KILL."""
    if child.poll() is not None:
        return
    kill_group(child.pid)
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _wait(child: subprocess.Popen[bytes], timeout: float, watch: Callable[[], str] | None) -> str | None:
    """Wait for a program: empty when it ended, None when its time was up, else why it must end."""
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            child.wait(max(0.0, left if watch is None else min(left, _LOOK_SECONDS)))
            return ""
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                return None
            over = watch() if watch else ""
            if over:
                return over
