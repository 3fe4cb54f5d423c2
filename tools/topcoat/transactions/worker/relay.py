"""A child in a process namespace of its own, and the messages between it and this process.

This module must never let the child have a descriptor but its two pipes and its output, and never go on without the caller.
"""

# ruff: noqa: BLE001

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback

import jail
from limits import LEFT_OUT, Watch
from protocol import Refused

_MAX_ANSWER = 256 << 20
_CHUNK = 1 << 16
_LOOK_MS = 1000


class Namespaces:
    """Where the children of this process go: each into a process namespace of its own, so that all it started ends with it."""

    def __init__(self) -> None:
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def fresh(self):  # type: ignore[no-untyped-def]
        """The next child is the first process of a new namespace."""
        jail.new_namespaces(jail.CLONE_NEWPID)
        try:
            yield
        finally:
            if jail.libc.setns(self._own, jail.CLONE_NEWPID) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"setns: {os.strerror(number)}")


class Caller:
    """What a child can tell the process that answers for it; called, it has packages fetched."""

    def __init__(self, answers: int, replies: int) -> None:
        self._answers, self._replies = answers, replies

    def __call__(self, needed: list) -> None:
        _write(self._answers, {"need": needed})
        os.read(self._replies, 1)

    def doing(self, what: str) -> None:
        """Say what is begun now, for whoever has to say what it was that did not end."""
        _write(self._answers, {"doing": what})


def run(enter, work, namespaces: Namespaces, fetch, log: int, watch: Watch) -> dict:  # type: ignore[no-untyped-def]
    """Run ``work(fetch)`` in a child that called ``enter()`` first; returns its answer.

    :param fetch: called here with what the child asks for.
    :param log: descriptor for everything that the child and its children print.
    :param watch: the limits that it is held to.
    :raises Refused: the child ended without an answer, or ran into a limit.
    """
    answers, replies, output = os.pipe(), os.pipe(), os.pipe()
    sys.stderr.flush()
    with namespaces.fresh():
        child = os.fork()
        if child == 0:
            _child(enter, work, answers[1], replies[0], output[1])
    for handle in (answers[1], replies[0], output[1]):
        os.close(handle)
    try:
        answer = _listen(answers[0], replies[1], output[0], fetch, log, watch)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        _copy_rest(output[0], log)
        for handle in (answers[0], replies[1], output[0]):
            os.close(handle)
    failed = answer is None or not answer.get("ok")
    verdict = watch.verdict() if failed else watch.starved()
    if verdict:
        who = f"{answer['what']}, it" if answer and failed else watch.doing or "the transaction"
        raise Refused("limit", f"{who} {verdict}")
    if answer is None:
        how = f"by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"with code {os.WEXITSTATUS(status)}"
        raise Refused("infrastructure", f"the process of this transaction ended {how} without an answer")
    return answer


def _child(enter, work, answers: int, replies: int, output: int) -> None:  # type: ignore[no-untyped-def]
    code = 1
    try:
        for number, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(handle, number)
        answers, replies = _only(answers, replies)
        jail.new_namespaces(jail.CLONE_NEWNS | jail.CLONE_NEWIPC)
        try:
            enter()
        except OSError as error:
            answer = {"ok": False, "kind": "infrastructure", "what": f"cannot make a jail for the transaction: {error}", "errno": error.errno}
        else:
            answer = work(Caller(answers, replies))
        sys.stderr.flush()
        _write(answers, answer)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _only(*handles: int) -> list:
    """Close every descriptor above 2 but these, which get the lowest numbers."""
    high = [os.dup(handle) for handle in handles]
    keep = sorted(high)
    start = 3
    for handle in keep:
        os.closerange(start, handle)
        start = handle + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))
    return high


def _write(handle: int, message: dict) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[os.write(handle, data) :]


def _listen(answers: int, replies: int, output: int, fetch, log: int, watch: Watch):  # type: ignore[no-untyped-def]
    """Hand on output and requests until the answer is there; None when the child ended without one.

    :raises Refused: it runs into a limit; the caller ends it.
    """
    poller = select.poll()
    poller.register(0, 0)  # only POLLHUP and POLLERR: a caller that died reads no answer and unmounts nothing
    for handle in (answers, output):
        poller.register(handle, select.POLLIN)
    held, copied = b"", 0
    looked = 0.0
    while True:
        found = poller.poll(_LOOK_MS)
        if time.monotonic() - looked >= _LOOK_MS / 1000:
            looked = time.monotonic()
            over = watch.look()
            if over:
                # A transaction that is slow by itself is the machine's fault, one that runs a package's program that of the package.
                raise Refused("limit" if watch.doing or "longer" not in over else "infrastructure", f"{watch.doing or 'the transaction'} {over}")
        for handle, _ in found:
            if handle == 0:
                os._exit(1)
            if handle == output:
                data = os.read(output, _CHUNK)
                if not data:
                    poller.unregister(output)
                copied = _copy(data, log, copied, watch.output)
                continue
            data = os.read(answers, _CHUNK)
            if not data or len(held) > _MAX_ANSWER:
                return None
            held += data
            *lines, held = held.split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "doing" in message:
                    watch.doing = message["doing"]
                elif "need" in message:
                    fetch(message["need"])
                    os.write(replies, b"\n")
                else:
                    return message


def _copy(data: bytes, log: int, copied: int, most: int) -> int:
    """Copy output into the log as far as it may grow; returns how much there was."""
    if copied < most:
        os.write(log, data)
        if copied + len(data) >= most:
            os.write(log, LEFT_OUT)
    return copied + len(data)


def _copy_rest(output: int, log: int) -> None:
    """What was printed last, in the pipe; everything that could write to it has ended."""
    os.set_blocking(output, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            data = os.read(output, _CHUNK)
            if not data:
                return
            os.write(log, data)
