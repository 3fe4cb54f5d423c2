"""The package transactions, run under the system's own Python, which has dnf's and rpm's bindings: JSON lines in, JSON lines out.

This program must never import anything but the standard library, dnf and rpm, and never write outside the folder that a request names.

It is started in mount, process and network namespaces of its own. So its mounts and whatever a scriptlet starts end with it, however it ends, and
a scriptlet that wants the network fails on every machine alike.

Request ``{"op": "transact", "lower": [...], "work": dir, "cache": dir, "repositories": [...], "upgrade": [name...],
"install": [{"nevra", "repository"}...], "reinstall": [the same], "names": [package name...],
"expect": {"install": [nevra...], "remove": [nevra...]} | null, "epoch": seconds, "options": {...}, "log": file,
"before": {file actions}, "after": {file actions}}`` (see ``files``). In between the worker may ask ``{"need": [[repository, href]...]}`` and goes on
when it reads a line ``{"ok": true}``. The answer is ``{"ok": true, "before": [[nevra, build time]...], "after": [...], "newest": seconds,
"times": {...}}`` or ``{"ok": false, "kind": "content" | "promise" | "scriptlet" | "infrastructure", "what": text}``.

Request ``{"op": "facts", "root": dir, "work": dir, "paths": [path...]}`` is answered with ``newest`` and ``unowned``.
"""

# Plain strings throughout: the bindings want them. This program also has to run on the Python 3.9 of CentOS Stream 9.
# ruff: noqa: PTH103, PTH120, BLE001

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import logging
import os
import select
import sys
import threading
import traceback

import database
import dnf
import dnf.exceptions
import files
import packages
import rpm
from protocol import Clock, Refused, environment


def main() -> int:
    """Serve requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints to standard output must not disturb the protocol
    os.umask(0o022)
    mounts = _load(sys.argv[1])
    # A caller that died can neither read the answer nor unmount: do not go on without him. (Process 1 of a namespace cannot be killed from inside.)
    threading.Thread(target=_leave_with_caller, daemon=True).start()

    def send(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")

    def fetch(needed: list) -> None:
        """Have the caller put packages where their repository says they are; whoever cannot does not answer, but ends us."""
        send({"need": needed})
        json.loads(sys.stdin.readline())

    gc.freeze()  # dnf collects garbage with every image; what was imported is none
    send({"ok": True, "rpm": rpm.__version__, "dnf": dnf.VERSION})
    for line in iter(sys.stdin.readline, ""):
        send(_answer(json.loads(line), mounts, fetch))
    return 0


def _load(path: str):  # type: ignore[no-untyped-def]
    specification = importlib.util.spec_from_file_location("mounts", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _leave_with_caller() -> None:
    poller = select.poll()
    poller.register(0, 0)  # only POLLHUP and POLLERR
    poller.poll()
    os._exit(1)


def _answer(request: dict, mounts, fetch) -> dict:  # type: ignore[no-untyped-def]
    try:
        with _log(request.get("log")):
            if request["op"] == "transact":
                return _transact(request, mounts, fetch)
            if request["op"] == "facts":
                return database.facts(request)
            raise Refused("infrastructure", f"unknown request {request['op']!r}")
    except Refused as error:
        return {"ok": False, "kind": error.kind, "what": error.what}
    except dnf.exceptions.Error as error:
        return {"ok": False, "kind": "content", "what": str(error).strip()}
    except OSError as error:
        return {"ok": False, "kind": "infrastructure", "what": str(error), "errno": error.errno}
    except Exception as error:  # the caller turns it into one line; the log has the rest
        traceback.print_exc()
        return {"ok": False, "kind": "infrastructure", "what": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def _log(path):  # type: ignore[no-untyped-def]
    """Everything that anybody prints goes to the image's log for the time of a request."""
    if not path:
        yield
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    with open(path, "ab", buffering=0) as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            for number, handle in enumerate(saved, 1):
                os.dup2(handle, number)
                os.close(handle)


def _transact(request: dict, mounts, fetch) -> dict:  # type: ignore[no-untyped-def]
    clock = Clock()
    mounted: list = []
    answer = {"ok": True, "before": [], "after": [], "newest": 0, "times": clock.times}
    try:
        with clock.step("mount"):
            _, root = mounts.prepare_overlay(request["lower"], request["work"])
            mounted.append(root)
            mounted[:0] = mounts.mount_devices(root)
        files.apply(root, request.get("before") or {})
        if any(request[key] for key in ("upgrade", "install", "reinstall", "names")):
            place = database.database(root)
            with database.macros(root, place, request["work"]), environment(SOURCE_DATE_EPOCH=str(request["epoch"])):
                answer.update(packages.run(request, root, place, clock, fetch))
        files.apply(root, request.get("after") or {})
        return answer
    finally:
        with clock.step("unmount"):
            mounts.unmount_all(mounted)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main())
