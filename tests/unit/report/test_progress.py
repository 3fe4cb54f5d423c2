"""The live view says what the events say, in each mode, and a line cannot be forged by a name."""

from __future__ import annotations

import io
import json
import unittest

from rich.console import Console

from topcoat.engine import Engine, Event, RetryPolicy, Stage, Task
from topcoat.errors import ContentError, InfrastructureError
from topcoat.report import progress
from topcoat.report.terminal import Terminal


def events(*, heartbeat=3600.0):
    """Events of a real small run: base reused, nova-base fails, nova-api skipped, keystone updated at its second try."""

    def nova(context):
        raise ContentError("no such package", next_step="check the name", log="logs/nova-base.log")

    def keystone(context):
        context.emit(line="rpm\n\x1b[2Jtransaction")
        if context.attempt == 1:
            raise InfrastructureError("the registry said 503")

    found = []
    tasks = [
        Task("base", frozenset(), (Stage("tag", "work", lambda context: None),), 1, {"action": "reuse"}),
        Task("cron", frozenset({"base"}), (Stage("tag", "work", lambda context: None),), 1, {"action": "reuse"}),
        Task("nova-base", frozenset({"base"}), (Stage("build", "work", nova),), 5, {"action": "build"}),
        Task("nova-api", frozenset({"nova-base"}), (Stage("build", "work", lambda context: None),), 5, {"action": "build"}),
        Task("keystone", frozenset({"base"}), (Stage("update", "work", keystone),), 3, {"action": "update"}),
    ]
    Engine({"work": 1}, listeners=[found.append], retry=RetryPolicy(initial=0.001), heartbeat=heartbeat).run(tasks)
    return found


def shown(mode, stream=None, environ=None):
    stream = stream or io.StringIO()
    with progress.listener(mode, stream, environ or {}) as listen:
        for event in events():
            listen(event)
    return stream.getvalue()


class Plain(unittest.TestCase):
    def test_lines(self):
        lines = shown("plain").splitlines()
        self.assertEqual("5 images; longest path: base > nova-base > nova-api", lines[0])
        text = "\n".join(lines)
        self.assertRegex(text, r"(?m)^\[1/5\] base reused$")
        self.assertRegex(text, r"nova-base FAILED: no such package -> check the name \(a recheck will not help\) log: logs/nova-base\.log after ")
        self.assertRegex(text, r"(?m)^\[3/5\] nova-api skipped \(parent nova-base failed\), 0 running, 2 waiting$")
        self.assertRegex(text, r"keystone update: again in 0 s: the registry said 503")
        self.assertRegex(text, r"keystone updated [0-9.]+ s")

    def test_reused_neighbours_share_a_line(self):
        plain = io.StringIO()
        tasks = [Task(f"t{number}", frozenset(), (Stage("tag", "work", lambda context: None),), 1, {"action": "reuse"}) for number in range(20)]
        with progress.listener("plain", plain) as listen:
            Engine({"work": 1}, listeners=[listen]).run(tasks)
        self.assertIn("[20/20] 20 images reused: t0, t1, t10", plain.getvalue())
        self.assertEqual(2, len(plain.getvalue().splitlines()))

    def test_heartbeat_names_what_runs(self):
        stream = io.StringIO()
        with progress.listener("plain", stream) as listen:
            for event in events()[:2]:
                listen(event)
            listen(Event(listen._state.began + 1, "stage-started", "keystone", "update", {"attempt": 1}))
            listen(Event(listen._state.began + 61, "heartbeat", data={}))
        self.assertIn("still at it after 1 min 01 s: keystone update 1 min 00 s, 1 running", stream.getvalue())

    def test_names_cannot_forge_lines(self):
        stream = io.StringIO()
        with progress.listener("plain", stream) as listen:
            tasks = [Task("nova\n[5/5] all\x1b[2J done", frozenset(), (Stage("build", "work", lambda context: None),))]
            Engine({"work": 1}, listeners=[listen]).run(tasks)
        self.assertEqual(2, len(stream.getvalue().splitlines()))
        self.assertNotIn("\x1b", stream.getvalue())


class Modes(unittest.TestCase):
    def test_rawjson_is_the_events(self):
        lines = shown("rawjson").splitlines()
        self.assertEqual("run-started", json.loads(lines[0])["kind"])
        self.assertEqual("run-finished", json.loads(lines[-1])["kind"])

    def test_quiet_says_failures_only(self):
        lines = shown("quiet").splitlines()
        self.assertEqual(1, len(lines))
        self.assertTrue(lines[0].startswith("nova-base FAILED: no such package"))

    def test_auto(self):
        class Screen(io.StringIO):
            def isatty(self):
                return True

        self.assertEqual("plain", progress.choose("auto", io.StringIO(), {"TERM": "xterm"}))
        self.assertEqual("tty", progress.choose("auto", Screen(), {"TERM": "xterm"}))
        self.assertEqual("plain", progress.choose("auto", Screen(), {"TERM": "dumb"}))
        self.assertEqual("plain", progress.choose("auto", Screen(), {"TERM": "xterm", "CI": "1"}))
        self.assertEqual("tty", progress.choose("tty", io.StringIO(), {}))
        with self.assertRaises(ValueError):
            progress.listener("loud", io.StringIO()).__enter__()


class Tty(unittest.TestCase):
    def picture(self, count, height=20):
        stream = io.StringIO()
        console = Console(file=stream, width=100, height=height, force_terminal=False, highlight=False)
        terminal = Terminal(stream, console)
        for event in events()[:count] if count else events():
            terminal.state(event)
        stream.truncate(0)
        console.print(terminal.render())
        return stream.getvalue()

    def test_before_and_after(self):
        self.assertIn("0/5", self.picture(1))
        self.assertIn("longest path base > nova-base > nova-api", self.picture(1))
        self.assertIn("5/5", self.picture(0))
        self.assertIn("nova-base  failed", self.picture(0))

    def test_running_tasks_stand_under_their_parents(self):
        found = events()
        position = next(index for index, event in enumerate(found) if event.kind == "stage-started" and event.task == "keystone")
        terminal = Terminal(io.StringIO(), Console(file=io.StringIO(), width=100, height=20))
        for event in found[: position + 1]:
            terminal.state(event)
        out = io.StringIO()
        Console(file=out, width=100).print(terminal.render())
        lines = out.getvalue().splitlines()
        base = next(index for index, line in enumerate(lines) if line.startswith("base "))
        self.assertTrue(any("── keystone  update" in line for line in lines[base + 1 :]))

    def test_it_never_grows_beyond_the_terminal(self):
        terminal = Terminal(io.StringIO(), Console(file=io.StringIO(), width=80, height=12))
        shape = [
            {"id": f"t{n}", "dependencies": [f"t{n - 1}"] if n % 5 else [], "stages": ["s"], "weight": 1, "remaining": 60 - n} for n in range(60)
        ]
        terminal.state(Event(1.0, "run-started", data={"tasks": shape, "pools": {}}))
        for number in range(60):
            terminal.state(Event(2.0, "stage-started", f"t{number}", "s", {"attempt": 1}))
        out = io.StringIO()
        Console(file=out, width=80).print(terminal.render())
        self.assertLessEqual(len(out.getvalue().splitlines()), 12)
        self.assertLessEqual(max(len(line) for line in out.getvalue().splitlines()), 80)
