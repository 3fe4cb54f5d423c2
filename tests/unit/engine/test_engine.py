"""The engine runs every task exactly once, in the right order, within its pools, and always comes back."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import unittest
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import schemas
from topcoat.engine import Engine, InternalError, RetryPolicy, Stage, Task
from topcoat.engine.events import KINDS, Event, schema
from topcoat.errors import ContentError, InfrastructureError

QUICK = RetryPolicy(attempts=3, initial=0.001, maximum=0.002)


def task(name, *dependencies, function=None, pool="work", weight=1.0, timeout=None):
    return Task(name, frozenset(dependencies), (Stage("build", pool, function or (lambda context: context.task), timeout),), weight)


def fail(error):
    def function(context):
        raise error

    return function


class Recorder:
    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)

    def kinds(self, name):
        return [event.kind for event in self.events if event.task == name]

    def started(self):
        return [(event.task, event.stage) for event in self.events if event.kind == "stage-started"]


class Order(unittest.TestCase):
    def test_value_of_parents_and_earlier_stages(self):
        def push(context):
            return f"{context.stage_result('build')}+{context.result_of('base')}+{context.result_of('root')}"

        tasks = [
            task("root"),
            task("base", "root"),
            Task("nova", frozenset({"base"}), (Stage("build", "work", lambda context: "built"), Stage("push", "net", push))),
        ]
        results = Engine({"work": 2, "net": 1}).run(tasks)
        self.assertEqual("built+base+root", results["nova"].value)
        self.assertEqual({"build": "built", "push": "built+base+root"}, dict(results["nova"].values))
        self.assertEqual(["build", "push"], [name for name, _, _ in results["nova"].stages])

    def test_a_task_sees_only_what_it_depends_on(self):
        seen = []

        def peek(context):
            with self.assertRaises(KeyError):
                context.result_of("other")
            seen.append(True)

        Engine({"work": 1}).run([task("other", weight=9), task("nova", function=peek)])
        self.assertEqual([True], seen)

    def test_longest_remaining_path_goes_first(self):
        recorder = Recorder()
        tasks = [task("a-leaf"), task("z-root"), task("z-child", "z-root", weight=5), task("b-leaf", weight=2)]
        Engine({"work": 1}, listeners=[recorder]).run(tasks)
        self.assertEqual(["z-root", "z-child", "b-leaf", "a-leaf"], [name for name, _ in recorder.started()])

    def test_ties_are_broken_by_name_whatever_the_order_given(self):
        for names in (["c", "a", "b"], ["b", "c", "a"]):
            recorder = Recorder()
            Engine({"work": 1}, listeners=[recorder]).run([task(name) for name in names])
            self.assertEqual(["a", "b", "c"], [name for name, _ in recorder.started()])

    def test_a_child_of_a_stage_overlaps_the_rest_of_its_parent(self):
        child_ran = threading.Event()
        overlapped = []

        def push(context):
            overlapped.append(child_ran.wait(10))

        def build_child(context):
            child_ran.set()
            return context.result_of("base", "build")

        tasks = [
            Task("base", frozenset(), (Stage("build", "work", lambda context: 1), Stage("push", "net", push))),
            Task(
                "nova",
                frozenset({"base/build"}),
                (Stage("build", "work", build_child), Stage("push", "net", lambda context: 3, after=frozenset({"base"}))),
            ),
        ]
        recorder = Recorder()
        results = Engine({"work": 1, "net": 2}, listeners=[recorder]).run(tasks)
        self.assertEqual([True], overlapped)
        self.assertEqual({"build": 1, "push": 3}, dict(results["nova"].values))
        self.assertEqual(("nova", "push"), recorder.started()[-1])

    def test_push_of_a_parent_that_fails_skips_children_that_were_built(self):
        built = threading.Event()

        def push(context):
            built.wait(10)
            raise ContentError("no space in the project")

        tasks = [
            Task("base", frozenset(), (Stage("build", "work", lambda context: 1), Stage("push", "net", push))),
            Task(
                "nova",
                frozenset({"base/build"}),
                (Stage("build", "work", lambda context: built.set()), Stage("push", "net", lambda context: 3, after=frozenset({"base"}))),
            ),
        ]
        results = Engine({"work": 1, "net": 2}).run(tasks)
        self.assertEqual(("failed", "skipped"), (results["base"].status, results["nova"].status))
        self.assertEqual("parent base failed", results["nova"].skipped_because)
        self.assertEqual(["build"], list(results["nova"].values))


class Failure(unittest.TestCase):
    def test_descendants_are_skipped_and_others_done(self):
        tasks = [
            task("base"),
            task("nova-base", "base", function=fail(ContentError("no such package", image="nova-base"))),
            task("nova-api", "nova-base"),
            task("nova-api-cfn", "nova-api"),
            task("keystone", "base"),
        ]
        results = Engine({"work": 2}).run(tasks)
        self.assertEqual(
            {"base": "done", "nova-base": "failed", "nova-api": "skipped", "nova-api-cfn": "skipped", "keystone": "done"},
            {name: result.status for name, result in results.items()},
        )
        self.assertEqual("parent nova-base failed", results["nova-api"].skipped_because)
        self.assertEqual("parent nova-base failed", results["nova-api-cfn"].skipped_because)
        self.assertEqual(("nova-base", "nova-base", None), tuple(results[name].blocked_by for name in ("nova-api", "nova-api-cfn", "keystone")))
        self.assertEqual((1, 0), (results["nova-base"].attempts, results["nova-api"].attempts))

    def test_content_errors_are_never_retried(self):
        result = Engine({"work": 1}, retry=QUICK).run([task("nova", function=fail(ContentError("broken")))])["nova"]
        self.assertEqual(("failed", 1), (result.status, result.attempts))

    def test_infrastructure_errors_are_retried_and_bounded(self):
        recorder = Recorder()
        result = Engine({"work": 1}, retry=QUICK, listeners=[recorder]).run([task("nova", function=fail(InfrastructureError("reset")))])["nova"]
        self.assertEqual(("failed", 3), (result.status, result.attempts))
        self.assertEqual(2, recorder.kinds("nova").count("retry"))
        self.assertTrue(result.error.recheck_helps)

    def test_a_retry_that_works_is_done(self):
        def function(context):
            if context.attempt < 3:
                raise InfrastructureError("503", retry_after=0)
            return context.attempt

        result = Engine({"work": 1}, retry=QUICK).run([task("nova", function=function)])["nova"]
        self.assertEqual(("done", 3, 3), (result.status, result.value, result.attempts))

    def test_the_bound_is_per_stage(self):
        def function(context):
            if context.attempt < 3:
                raise InfrastructureError("503")

        stages = (Stage("build", "work", function), Stage("push", "work", function))
        result = Engine({"work": 1}, retry=QUICK).run([Task("nova", frozenset(), stages)])["nova"]
        self.assertEqual(("done", 5), (result.status, result.attempts))

    def test_disk_full_is_not_retried(self):
        result = Engine({"work": 1}, retry=QUICK).run([task("nova", function=fail(InfrastructureError("disk full", retriable=False)))])["nova"]
        self.assertEqual(1, result.attempts)

    def test_a_slot_is_free_while_a_retry_waits(self):
        other_ran = threading.Event()

        def function(context):
            if context.attempt == 1:
                raise InfrastructureError("503", retry_after=0.05)
            return other_ran.is_set()

        results = Engine({"work": 1}, retry=QUICK).run([task("nova", function=function, weight=9), task("zaqar", function=lambda c: other_ran.set())])
        self.assertTrue(results["nova"].value)

    def test_an_unexpected_exception_fails_the_task_and_keeps_its_traceback(self):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "logs" / "nova.log"
            with self.assertLogs("topcoat.engine", "ERROR"):
                result = Engine({"work": 1}, retry=QUICK, log_of=lambda name: log).run([task("nova", function=lambda c: {}["gone"])])["nova"]
            self.assertIsInstance(result.error, InternalError)
            self.assertEqual(1, result.attempts)
            self.assertIn("KeyError: 'gone'", log.read_text())
            self.assertEqual(str(log), result.error.log)

    def test_a_worker_that_leaves_with_system_exit_is_no_hang(self):
        with self.assertLogs("topcoat.engine", "ERROR"):
            result = Engine({"work": 1}).run([task("nova", function=fail(SystemExit(0)))])["nova"]
        self.assertEqual("failed", result.status)

    def test_a_stage_that_does_not_end_is_given_up_and_its_slot_freed(self):
        release = threading.Event()
        self.addCleanup(release.set)
        results = Engine({"work": 1}, retry=QUICK).run(
            [task("hung", function=lambda c: release.wait(60), timeout=0.05, weight=9), task("next"), task("child", "hung")]
        )
        self.assertEqual(("failed", "done", "skipped"), tuple(results[name].status for name in ("hung", "next", "child")))
        self.assertIsInstance(results["hung"].error, InfrastructureError)
        self.assertEqual(1, results["hung"].attempts)
        self.assertIn("longer than 0.05 s", results["hung"].error.what)

    def test_late_news_of_a_given_up_stage_change_nothing(self):
        release = threading.Event()
        contexts = []

        def hang(context):
            contexts.append(context)
            release.wait(60)
            context.emit(line="too late")
            return "too late"

        def after(context):
            self.assertTrue(contexts[0].cancelled)
            release.set()

        recorder = Recorder()
        results = Engine({"work": 1}, listeners=[recorder]).run([task("hung", function=hang, timeout=0.05, weight=9), task("next", function=after)])
        self.assertEqual("failed", results["hung"].status)
        self.assertNotIn("stage-progress", recorder.kinds("hung"))

    def test_fail_fast_starts_nothing_new(self):
        tasks = [task("a", function=fail(ContentError("no")), weight=9), task("b"), task("child", "a")]
        results = Engine({"work": 1}, keep_going=False).run(tasks)
        self.assertEqual({"a": "failed", "b": "cancelled", "child": "skipped"}, {name: result.status for name, result in results.items()})
        self.assertIn("when a failed", results["b"].skipped_because)

    def test_a_broken_listener_is_dropped(self):
        def broken(event):
            raise BrokenPipeError

        recorder = Recorder()
        with self.assertLogs("topcoat.engine", "ERROR"):
            results = Engine({"work": 1}, listeners=[broken, recorder]).run([task("nova")])
        self.assertEqual("done", results["nova"].status)
        self.assertEqual("run-finished", recorder.events[-1].kind)


class Cancel(unittest.TestCase):
    def test_cancel_ends_the_run_and_names_every_task(self):
        engine = Engine({"work": 1})

        def function(context):
            engine.cancel()
            context.wait(30)
            raise InfrastructureError("ended")

        results = engine.run([task("running", function=function, weight=9), task("waiting"), task("child", "running")])
        self.assertEqual(dict.fromkeys(("running", "waiting", "child"), "cancelled"), {name: result.status for name, result in results.items()})
        self.assertEqual(1, results["running"].attempts)

    def test_work_that_was_finished_stays_done(self):
        engine = Engine({"work": 1})

        def function(context):
            engine.cancel()
            return "pushed"

        results = engine.run([task("a"), task("b", "a", function=function), task("c", "b")])
        self.assertEqual(["done", "done", "cancelled"], [results[name].status for name in "abc"])

    def test_signals_cancel_and_handlers_return(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)

            def function(context, number=number):
                os.kill(os.getpid(), number)
                context.wait(30)
                return context.cancelled

            engine = Engine({"work": 1})
            results = engine.run([task("a", function=function), task("b", "a")])
            self.assertTrue(engine.cancelled)
            self.assertEqual(("done", "cancelled"), (results["a"].status, results["b"].status))
            self.assertEqual(before, signal.getsignal(number))

    def test_a_stage_that_ignores_the_cancel_is_left_behind(self):
        release = threading.Event()
        self.addCleanup(release.set)
        engine = Engine({"work": 1}, grace=0.05)

        def function(context):
            engine.cancel()
            release.wait(60)

        self.assertEqual("cancelled", engine.run([task("a", function=function)])["a"].status)

    def test_asking_twice_does_not_wait(self):
        release = threading.Event()
        self.addCleanup(release.set)
        engine = Engine({"work": 1}, grace=3600)

        def function(context):
            engine.cancel()
            engine.cancel()
            release.wait(60)

        self.assertEqual("cancelled", engine.run([task("a", function=function)])["a"].status)

    def test_external_programs_are_ended(self):
        from topcoat.process import Processes, run

        processes = Processes()
        engine = Engine({"work": 2}, processes=processes)

        def sleep(context):
            started.set()
            run(["sleep", "600"], timeout=900, processes=processes)

        def stop(context):
            started.wait(10)
            engine.cancel()

        started = threading.Event()
        results = engine.run([task("sleep", function=sleep), task("stop", function=stop)])
        self.assertEqual("cancelled", results["sleep"].status)


class BadGraphs(unittest.TestCase):
    def test_each_is_refused_before_anything_starts(self):
        cases = {
            "two tasks are called": [task("a"), task("a")],
            "unknown task": [task("a", "b")],
            "unknown stage": [task("b"), task("a", "b/push")],
            "unknown pool": [task("a", pool="moon")],
            "circle: a, b": [task("a", "b"), task("b", "a"), task("c")],
        }
        for message, tasks in cases.items():
            recorder = Recorder()
            with self.assertRaisesRegex(ValueError, message):
                Engine({"work": 1}, listeners=[recorder]).run(tasks)
            self.assertEqual([], recorder.events)
        with self.assertRaisesRegex(ValueError, "at least one slot"):
            Engine({"work": 0}).run([])

    def test_a_circle_of_tasks_that_is_none_of_stages_is_fine(self):
        ok = lambda context: None  # noqa: E731
        tasks = [
            Task("a", frozenset(), (Stage("build", "work", ok), Stage("push", "work", ok, after=frozenset({"b/build"})))),
            Task("b", frozenset({"a/build"}), (Stage("build", "work", ok),)),
        ]
        self.assertEqual({"done"}, {result.status for result in Engine({"work": 1}).run(tasks).values()})


class Events(unittest.TestCase):
    def test_every_event_follows_the_schema(self):
        def flaky(context):
            context.emit(line="hello", percent=50)
            if context.attempt == 1:
                raise InfrastructureError("503")

        recorder = Recorder()
        tasks = [task("a", function=flaky), task("b", "a", function=fail(ContentError("no"))), task("c", "b")]
        engine = Engine({"work": 1}, retry=QUICK, listeners=[recorder], describe=lambda result: {"bytes_pushed": 7}, heartbeat=3600)
        engine.run(tasks)
        engine = Engine({"work": 1}, listeners=[recorder], heartbeat=0.01)
        engine.run([task("slow", function=lambda context: (context.wait(0.1), engine.cancel()))])
        for event in recorder.events:
            schemas.check("event", event.to_dict())
            self.assertEqual(event.to_dict(), Event.from_dict(event.to_dict()).to_dict())
        self.assertEqual(set(KINDS), {event.kind for event in recorder.events})
        finished = next(event for event in recorder.events if event.kind == "task-finished" and event.task == "c")
        self.assertEqual("parent b failed", finished.data["skipped_because"])
        self.assertEqual(7, finished.data["bytes_pushed"])

    def test_the_schema_knows_exactly_our_kinds(self):
        self.assertEqual(list(KINDS), schema()["properties"]["kind"]["enum"])


@st.composite
def graphs(draw):
    """A random acyclic graph: (dependencies, fate, weight, stages) per task."""
    size = draw(st.integers(1, 14))
    shape = {}
    for index in range(size):
        parents = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        fate = draw(st.sampled_from(["ok", "ok", "ok", "ok", "content", "infra", "flaky", "bug"]))
        shape[f"t{index}"] = ({f"t{parent}" for parent in parents}, fate, draw(st.integers(0, 9)), draw(st.integers(0, 3)))
    return shape


class Properties(unittest.TestCase):
    @given(graphs(), st.integers(1, 3), st.integers(1, 2))
    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_any_graph(self, shape, workers, pushers):
        limits = {"work": workers, "net": pushers}
        busy = dict.fromkeys(limits, 0)
        most = dict.fromkeys(limits, 0)
        lock = threading.Lock()

        def function_for(name, fate, pool, last):
            def function(context):
                with lock:
                    busy[pool] += 1
                    most[pool] = max(most[pool], busy[pool])
                try:
                    for parent in shape[name][0]:
                        self.assertEqual(shape[parent][3] and parent, context.result_of(parent) if shape[parent][3] else 0)
                    if last and fate == "content":
                        raise ContentError(name)
                    if last and fate == "bug":
                        raise ZeroDivisionError
                    if last and (fate == "infra" or (fate == "flaky" and context.attempt == 1)):
                        raise InfrastructureError(name)
                    return name
                finally:
                    with lock:
                        busy[pool] -= 1

            return function

        tasks = []
        for name, (parents, fate, weight, stages) in shape.items():
            built = tuple(
                Stage(f"s{index}", "net" if index % 2 else "work", function_for(name, fate, "net" if index % 2 else "work", index == stages - 1))
                for index in range(stages)
            )
            tasks.append(Task(name, frozenset(parents), built, weight))
        recorder = Recorder()
        engine = Engine(limits, retry=RetryPolicy(attempts=2, initial=0, spread=0), listeners=[recorder])
        import logging

        logging.disable(logging.CRITICAL)
        try:
            results = engine.run(tasks)
        finally:
            logging.disable(logging.NOTSET)

        self.assertEqual(list(shape), list(results))
        for name, (parents, fate, _, stages) in shape.items():
            bad_parents = [parent for parent in parents if results[parent].status != "done"]
            result = results[name]
            if bad_parents:
                self.assertEqual("skipped", result.status)
                blamed = result.blocked_by
                self.assertEqual(f"parent {blamed} failed", result.skipped_because)
                self.assertEqual("failed", results[blamed].status)
                self.assertEqual((), result.stages)
            elif stages and fate in ("content", "bug", "infra"):
                self.assertEqual("failed", result.status)
            else:
                self.assertEqual("done", result.status)
        for pool, limit in limits.items():
            self.assertLessEqual(most[pool], limit)
        positions = {}
        for position, event in enumerate(recorder.events):
            positions.setdefault((event.kind, event.task), []).append(position)
        for name, (parents, *_) in shape.items():
            self.assertEqual(1, len(positions["task-finished", name]))
            for start in positions.get(("stage-started", name), [])[:1]:
                for parent in parents:
                    self.assertLess(positions["task-finished", parent][0], start)
