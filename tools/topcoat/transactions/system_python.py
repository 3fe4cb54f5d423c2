"""The system's own Python, which has dnf's and rpm's bindings, and one long-lived worker process under it.

This module must never import dnf or rpm, and never wait for a worker without a time limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.layers import mounts
from topcoat.process import Processes, groups, jail, run
from topcoat.process.bounds import Bounds

CANDIDATES = (Path("/usr/bin/python3"), Path("/usr/libexec/platform-python"))
WORKER = Path(__file__).with_name("worker")
JAIL = Path(str(jail.__file__)).parent
"""Of the modules that a worker finds by bare name, beside its own."""
_START_SECONDS = 60.0
_READER_SECONDS = 2.0
# Mounts, processes, network: all that a worker starts ends with it. Each transaction has a jail of its own inside (process/jail).
NAMESPACES = ("unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child")


# Of an ordinary user: root of a namespace of his own, where he may change a package database that is his, and nothing else.
OWN_USER = ("--user", "--map-root-user")


class SystemPython:
    """Finds the interpreter that can do package transactions on this machine."""

    def __init__(self, candidates: Sequence[Path] = CANDIDATES) -> None:
        self._candidates = tuple(candidates)

    def find(self) -> Path:
        """Path of the first interpreter that has the bindings.

        :raises InfrastructureError: none has.
        """
        for path in self._candidates:
            if path.exists() and run([path, "-I", "-c", "import dnf, rpm"], timeout=_START_SECONDS, check=False).code == 0:
                return path
        looked = ", ".join(str(path) for path in self._candidates)
        raise InfrastructureError(
            f"no Python with dnf's and rpm's bindings (looked at {looked})",
            retriable=False,
            next_step="install python3-dnf and python3-rpm (bindep.txt)",
        )


def namespaces() -> tuple[str, ...]:
    """The command that starts a worker in namespaces of its own."""
    return NAMESPACES if os.geteuid() == 0 else (NAMESPACES[0], *OWN_USER, *NAMESPACES[1:])


class Worker:
    """One worker process, started on first use. One request at a time; a worker that does not answer in time is ended and started anew."""

    def __init__(self, python: Path, *, processes: Processes | None = None, bounds: Bounds | None = None) -> None:
        """:param bounds: what its transactions are held to, each by itself."""
        self._python = python
        self._processes = processes
        self._bounds = bounds or Bounds()
        self._group = groups.fresh()
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._buffer = b""
        self._last: deque[str] = deque(maxlen=20)

    def ask(
        self,
        request: dict[str, object],
        *,
        timeout: float,
        image: str | None = None,
        fetch: Callable[[list[tuple[str, str]]], None] = lambda needed: None,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer.

        :param fetch: called with (repository id, href) of each package before a transaction starts; has them verified and on disk when it returns.
        :param timeout: seconds; then the worker and everything it started is ended, and its mounts are gone.
        :raises ContentError: the request cannot be carried out (``kind`` content, promise, scriptlet, limit).
        :raises InfrastructureError: time is up, the worker died, or the machine failed.
        """
        log = str(request["log"]) if request.get("log") else None
        child = self._running()
        try:
            deadline = time.monotonic() + timeout
            self._send(child, request)
            answer = json.loads(self._line(child, deadline))
            if "need" in answer:
                fetch([(repository, href) for repository, href in answer["need"]])
                self._send(child, {"ok": True})
                answer = json.loads(self._line(child, deadline))
        except TimeoutError:
            self.stop()
            raise InfrastructureError(
                f"the package transaction took longer than {timeout:.0f} s and was ended",
                image=image,
                log=log,
                next_step="look at the log's last scriptlet",
            ) from None
        except (BrokenPipeError, EOFError, ValueError):
            code = self.stop()
            raise InfrastructureError(
                f"the transaction worker ended (code {code}): {self._tail()}",
                image=image,
                log=log,
                next_step="run again; if it stays, look at the log",
            ) from None
        except BaseException:
            self.stop()  # an answer that nobody reads would be taken for the next one
            raise
        if answer["ok"]:
            told: dict[str, Any] = answer
            return told
        raise _error(answer, image, log)

    def stop(self, *, grace: float = 0.0) -> int | None:
        """End the process; returns its exit code, None when there was none.

        :param grace: seconds it may take to end by itself, now that nobody asks any more.
        """
        child, self._child = self._child, None
        if child is None:
            return None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
        if self._reader is not None:
            # its last words are the reason that people need; a grandchild that holds the pipe must not hold us
            self._reader.join(_READER_SECONDS)
        child.stdout.close()  # type: ignore[union-attr]
        groups.remove(self._group)
        if self._processes:
            self._processes.discard(child.pid)
        return code

    def _send(self, child: subprocess.Popen[bytes], message: dict[str, object]) -> None:
        assert child.stdin is not None
        child.stdin.write(json.dumps(message).encode() + b"\n")
        child.stdin.flush()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.stop()
        self._buffer = b""
        self._last.clear()
        try:
            child = subprocess.Popen(
                [
                    *(*namespaces(), os.fspath(self._python), "-I", os.fspath(WORKER), os.fspath(JAIL)),
                    *(mounts.__file__, self._group, json.dumps(self._bounds.as_dict())),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # HOME must hold no .rpmmacros of the caller: they would enter the images.
                env={"HOME": "/nonexistent", "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise InfrastructureError("unshare is not installed", retriable=False, next_step="install util-linux") from error
        self._child = child
        if self._processes:
            self._processes.add(child.pid)
        self._reader = threading.Thread(target=self._drain, args=(child,), daemon=True)
        self._reader.start()
        try:
            hello = json.loads(self._line(child, time.monotonic() + _START_SECONDS))
        except (EOFError, TimeoutError, ValueError):
            self.stop()
            raise InfrastructureError(
                f"the transaction worker did not start: {self._tail()}",
                retriable=False,
                next_step="run as root, or where ordinary users may make namespaces (sysctl user.max_user_namespaces)",
            ) from None
        if not hello.get("ok"):
            raise InfrastructureError(f"the transaction worker did not start: {hello}", retriable=False)
        return child

    def _drain(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None
        with child.stderr as stream:
            for line in stream:
                self._last.append(line.decode("utf-8", "replace").rstrip())

    def _tail(self) -> str:
        return "; ".join(self._last)[-1000:] or "no output"

    def _line(self, child: subprocess.Popen[bytes], deadline: float) -> bytes:
        """The next line of the answers.

        :raises TimeoutError: :raises EOFError:
        """
        assert child.stdout is not None
        handle = child.stdout.fileno()
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise TimeoutError
            data = os.read(handle, 1 << 16)
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _error(answer: dict[str, object], image: str | None, log: str | None) -> TopcoatError:
    what = str(answer["what"])
    kind = answer["kind"]
    if kind == "promise":
        return ContentError(
            f"the plan is a promise, and dnf would break it: {what}",
            image=image,
            log=log,
            next_step="plan again; if it stays, the planner and dnf disagree: report it with both lists",
        )
    if kind == "scriptlet":
        return ContentError(
            f"package transaction: {what}", image=image, log=log, next_step="read the scriptlet's output in the log, correct the package"
        )
    if kind == "limit":
        return ContentError(f"package transaction: {what}", image=image, log=log, next_step="read what it did in the log, correct the package")
    if kind == "content":
        return ContentError(f"package transaction: {what}", image=image, log=log, next_step="correct the packages or the repositories")
    retriable = answer.get("errno") not in (1, 13, 28, 122)  # EPERM, EACCES, ENOSPC, EDQUOT
    return InfrastructureError(f"package transaction: {what}", image=image, log=log, retriable=retriable, next_step="run again; look at the log")
