"""The package transactions, run under the system's own Python, which has dnf's and rpm's bindings: JSON lines in, JSON lines out.

This program must never import anything but the standard library, dnf and rpm, and never write outside the folder that a request names.

It is started in mount, process and network namespaces of its own. So its mounts and whatever a scriptlet starts end with it, however it ends, and
a scriptlet that wants the network fails on every machine alike. Each request is carried out by a child in a ``jail`` of its own, which sees nothing
but that request's folders; this process mounts, hands messages on, and runs nothing that came from outside.

Request ``{"op": "transact", "lower": [...], "work": dir, "cache": dir, "repositories": [...], "upgrade": [name...],
"install": [{"nevra", "repository"}...], "reinstall": [the same], "names": [package name...],
"expect": {"install": [nevra...], "remove": [nevra...]} | null, "epoch": seconds, "options": {...}, "log": file,
"before": {file actions}, "after": {file actions}}`` (see ``files``). In between the worker may ask ``{"need": [[repository, href]...]}`` and goes on
when it reads a line ``{"ok": true}``. The answer is ``{"ok": true, "before": [[nevra, build time]...], "after": [...], "built": seconds,
"dates": [seconds...], "times": {...}}`` or ``{"ok": false, "kind": "content" | "promise" | "scriptlet" | "limit" | "infrastructure", "what": text}``.

Request ``{"op": "record", "root": dir, ...}`` is the same as ``transact`` without ``lower``, ``before`` and ``after``: the root holds the package
database and no packages' files, and rpm changes the database alone, without a scriptlet. Its answer has ``order`` and ``gone`` as well: the packages
that came, and those that went, as rpm takes them.

Request ``{"op": "facts", "root": dir, "work": dir, "names": [file name...]}`` is answered with ``built``, ``dates`` and ``owned`` (paths).
"""

# Plain strings throughout: the bindings want them. This program also has to run on the Python 3.9 of CentOS Stream 9.
# ruff: noqa: PTH102, PTH103, PTH118, PTH120, BLE001

from __future__ import annotations

import contextlib
import errno
import gc
import importlib.util
import json
import logging
import os
import sys
import tempfile
import traceback
from urllib.parse import unquote, urlsplit

sys.path.insert(1, sys.argv[1])  # jail and limits
import database
import dnf
import dnf.exceptions
import files
import jail
import limits
import moved
import packages
import relay
import rpm
from protocol import Clock, Refused, environment

_FULL = 1 << 20  # bytes left


class Service:
    """Serves requests until the input ends."""

    def __init__(self, mounts, group: str, bounds: dict) -> None:  # type: ignore[no-untyped-def]
        self._mounts = mounts
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # whatever prints to standard output must not disturb the protocol
        self._system_calls = jail.compile_filter()
        self._group = limits.Group(group)
        self._bounds = bounds
        self._group.enter(bounds)
        packages.warm_up()
        self._namespaces = relay.Namespaces()
        self._filled: set = set()

    def serve(self) -> None:
        gc.freeze()  # dnf collects garbage with every image; what was imported is none, and stays shared with the children
        self._send({"ok": True, "rpm": rpm.__version__, "dnf": dnf.VERSION})
        for line in iter(sys.stdin.readline, ""):
            self._send(self._answer(json.loads(line)))

    def _send(self, message: dict) -> None:
        self._answers.write(json.dumps(message) + "\n")

    def _answer(self, request: dict) -> dict:
        with _log(request.get("log")) as log:
            return _result(lambda request, _: self._served(request, log), request, self._fetch)

    def _served(self, request: dict, log: int) -> dict:
        if request["op"] == "transact":
            return self._transact(request, log)
        if request["op"] == "record":
            return self._record(request, log)
        if request["op"] == "facts":
            return self._jailed(_facts, request, log, [(request["root"], "rw")])
        raise Refused("infrastructure", f"unknown request {request['op']!r}")

    def _transact(self, request: dict, log: int) -> dict:
        clock = Clock()
        mounted: list = []
        answer: dict = {"ok": True, "before": [], "after": [], "built": 0, "dates": []}
        changes = any(request[key] for key in ("upgrade", "install", "reinstall", "names"))
        try:
            if changes:
                with clock.step("metadata"):
                    self._fill_cache(request, log)
            with clock.step("mount"):
                upper, root = self._overlay(request["lower"], request["work"], mounted, movable=True)
            files.apply(root, request.get("before") or {})
            if changes:
                # The cache is this transaction's alone: what an image's scriptlets do to it, no other image sees.
                own = _folder(request["work"], "cache")
                _, cache = self._overlay([request["cache"]], own, mounted)
                folders = [*_readable(request), (cache, "rw"), (root, "rw")]
                with jail.Devices(root) as devices:
                    answer = self._jailed(_packages(root), {**request, "cache": cache}, log, folders, system=devices)
            files.apply(root, request.get("after") or {})
            moved.settle(upper, root)
        finally:
            with clock.step("unmount"):
                self._mounts.unmount_all(mounted)
        return {**answer, "times": {**answer.get("times", {}), **clock.times}}

    def _record(self, request: dict, log: int) -> dict:
        """The package database of a root alone: nothing of an image runs, and nothing is mounted."""
        clock = Clock()
        with clock.step("metadata"):
            self._fill_cache(request, log)
        root = request["root"]
        folders = [*_readable(request), (request["cache"], "rw"), (root, "rw")]
        answer = self._jailed(_packages(root), {**request, "database_only": True}, log, folders)
        return {**answer, "times": {**clock.times, **answer.get("times", {})}}

    def _overlay(self, lower: list, directory: str, mounted: list, *, movable: bool = False) -> tuple:  # type: ignore[type-arg]
        """(upper directory, merged tree) of a fresh overlay."""
        upper, root = self._mounts.prepare_overlay(lower, directory, movable=movable)
        mounted.insert(0, root)
        return upper, root

    def _fill_cache(self, request: dict, log: int) -> None:
        """dnf's own form of the frozen metadata, made once: no transaction can write to it."""
        if request["cache"] not in self._filled:
            os.makedirs(request["cache"], mode=0o700, exist_ok=True)
            self._jailed(packages.fill_cache, request, log, [*_readable(request), (request["cache"], "rw")])
            self._filled.add(request["cache"])

    def _jailed(self, work, request: dict, log: int, folders: list, *, system: jail.Devices | None = None) -> dict:  # type: ignore[no-untyped-def]
        """Carry out ``work(request, fetch)`` in a jail; its answer.

        The work folder that it sees is a fresh one.

        :param system: where an image's root among the folders gets its devices and process table.
        :raises Refused: the answer is a refusal, or there is none.
        """
        with tempfile.TemporaryDirectory(prefix="jail-", dir=request["work"]) as place:
            scratch = _folder(place, "scratch")
            new_root = _folder(place, "root")
            work_folder = request["work"]
            request = {**request, "work": scratch}

            def enter() -> None:
                jail.enter(new_root, self._system_calls, folders=[*folders, (scratch, "rw")], bounds=self._bounds, system=system)

            watch = limits.Watch(self._group, [work_folder], self._bounds)
            answer = relay.run(enter, lambda fetch: _result(work, request, fetch), self._namespaces, self._fetch, log, watch)
        if not answer.get("ok"):
            raise Refused(str(answer.get("kind")), str(answer.get("what")), answer.get("errno"))
        return answer

    def _fetch(self, needed: list) -> bool:
        """Have the caller put packages where their repository says they are; whoever cannot does not answer, but ends us."""
        self._send({"need": needed})
        return bool(json.loads(sys.stdin.readline())["ok"])


def main() -> int:
    """Serve requests until the input ends.

    Arguments: the folder of ``jail``, the file of ``mounts``, the name of a control group, and the bounds of a request as JSON.
    """
    os.umask(0o022)
    Service(_load(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])).serve()
    return 0


def _load(path: str):  # type: ignore[no-untyped-def]
    specification = importlib.util.spec_from_file_location("mounts", path)
    module = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def _folder(parent: str, name: str) -> str:
    path = os.path.join(parent, name)
    os.mkdir(path, 0o700)
    return path


def _readable(request: dict) -> list:
    """The folders and files of the machine that a request names: the frozen repositories, and their keys."""
    found = []
    for entry in request["repositories"]:
        for text in (entry["url"], *entry.get("gpgkey", ())):
            url = urlsplit(text)
            if url.scheme in ("", "file"):
                found.append((unquote(url.path), "ro"))
    return found


def _packages(root: str):  # type: ignore[no-untyped-def]
    """The work inside: the packages of an image's root."""

    def work(request: dict, fetch) -> dict:  # type: ignore[no-untyped-def]
        clock = Clock()
        place = database.database(root)
        with database.macros(root, place, request["work"]), environment(SOURCE_DATE_EPOCH=str(request["epoch"])):
            try:
                return packages.run(request, root, place, clock, fetch)
            except Refused as error:
                if error.kind in ("content", "scriptlet") and _is_full(root):
                    raise Refused("infrastructure", f"the disk is full: {error.what}", errno.ENOSPC) from error
                raise

    return work


def _is_full(root: str) -> bool:
    """rpm and scriptlets fail in many words when the disk is full; whether it is, the file system knows."""
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize < _FULL or (found.f_files > 0 and found.f_favail == 0)


def _facts(request: dict, _fetch) -> dict:  # type: ignore[no-untyped-def]
    return database.facts(request)


def _result(work, request: dict, fetch) -> dict:  # type: ignore[no-untyped-def]
    """What a piece of work answers, whatever happens."""
    try:
        return work(request, fetch)
    except Refused as error:
        return {"ok": False, "kind": error.kind, "what": error.what, "errno": error.errno}
    except dnf.exceptions.Error as error:
        return {"ok": False, "kind": "content", "what": str(error).strip()}
    except OSError as error:
        return {"ok": False, "kind": "infrastructure", "what": str(error), "errno": error.errno}
    except Exception as error:  # the caller turns it into one line; the log has the rest
        traceback.print_exc()
        return {"ok": False, "kind": "infrastructure", "what": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def _log(path):  # type: ignore[no-untyped-def]
    """Where a request's output goes: the image's log, or what the caller sees of us."""
    if not path:
        yield 2
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab", buffering=0) as sink:
        yield sink.fileno()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(main())
