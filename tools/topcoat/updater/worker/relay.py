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
import traceback

import jail
from protocol import Refused

_MAX_ANSWER = 256 << 20
_CHUNK = 1 << 16


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


def run(enter, work, namespaces: Namespaces, fetch, log: int) -> dict:  # type: ignore[no-untyped-def]
    """Run ``work(fetch)`` in a child that called ``enter()`` first; returns its answer.

    :param fetch: called here with what the child asks for.
    :param log: descriptor for everything that the child and its children print.
    :raises Refused: the child ended without an answer.
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
        answer = _listen(answers[0], replies[1], output[0], fetch, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        _copy_rest(output[0], log)
        for handle in (answers[0], replies[1], output[0]):
            os.close(handle)
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

            def fetch(needed: list) -> None:
                _write(answers, {"need": needed})
                os.read(replies, 1)

            answer = work(fetch)
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


def _listen(answers: int, replies: int, output: int, fetch, log: int):  # type: ignore[no-untyped-def]
    """Hand on output and requests until the answer is there; None when the child ended without one."""
    poller = select.poll()
    poller.register(0, 0)  # only POLLHUP and POLLERR: a caller that died reads no answer and unmounts nothing
    for handle in (answers, output):
        poller.register(handle, select.POLLIN)
    held, copied = b"", 0
    while True:
        for handle, _ in poller.poll():
            if handle == 0:
                os._exit(1)
            if handle == output:
                data = os.read(output, _CHUNK)
                if not data:
                    poller.unregister(output)
                copied = _copy(data, log, copied)
                continue
            data = os.read(answers, _CHUNK)
            if not data or len(held) > _MAX_ANSWER:
                return None
            held += data
            if held.endswith(b"\n"):
                message, held = json.loads(held), b""
                if "need" not in message:
                    return message
                fetch(message["need"])
                os.write(replies, b"\n")


def _copy(data: bytes, log: int, copied: int) -> int:
    """Copy output into the log as far as it may grow; returns how much there was."""
    if copied < jail.MAX_OUTPUT:
        os.write(log, data)
        if copied + len(data) >= jail.MAX_OUTPUT:
            os.write(log, b"\n[the rest of the output is left out]\n")
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
