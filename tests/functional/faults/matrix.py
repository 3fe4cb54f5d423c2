"""The matrix of faults: each step of an image's life, with each fault, at each kind of request; and what has to come out.

It must never take an outcome for right because it is the usual one: what counts stands in ``judge``.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.functional.faults import driver
from tests.functional.faults.place import FLOATING, FaultSite, one_line_errors
from tests.functional.registry.faults import Fault
from tests.functional.registry.spoiling import Asked, Spoiler

SEED = 20260101


@dataclass(frozen=True)
class Step:
    """One command of the life: the registry's state before it, and its words. ``reads`` only: nothing in the registry may change."""

    name: str
    state: str
    words: Callable[[FaultSite, str], list[str]]
    reads: bool = False
    conditions: driver.Conditions = driver.AS_HERE
    others: bool = False
    """Another program talks to the registry, with waits of its own: few cases, long limits."""


def _image(site: FaultSite, name: str = "nova-api") -> str:
    return f"{site.server.host}/site/{name}:two"


STEPS = (
    Step("plan", "one", lambda site, _: ["plan", "--gating-repo", site.gating], reads=True),
    Step("build", "empty", lambda site, _: ["build", "--full", "--tag", "one", "--floating-tag", "current-passed-ci"]),
    Step("update", "one", lambda site, _: ["build", "--gating-repo", site.gating, "--tag", "two", "--floating-tag", "latest"]),
    Step("publish", "two", lambda site, _: ["build", "--tag", "three", "--floating-tag", "latest"]),
    Step("discover", "two", lambda site, work: ["discover", "--tag", "two", "--output", f"{work}.yaml"], reads=True),
    Step("promote", "two", lambda site, _: ["promote", "--from", "two", "--to", "current-passed-ci"]),
    Step("roll back", "promoted", lambda site, _: ["promote", "--rollback", "--to", "current-passed-ci"]),
    Step("gc: tags", "promoted", lambda site, _: [*GC], conditions=driver.Conditions(ahead=86400)),
    Step("gc: manifests", "collected", lambda site, _: [*GC], conditions=driver.Conditions(ahead=2 * 86400)),
    Step("copy", "two", lambda site, _: ["copy", "--to", f"{site.server.host}/copy", _image(site, "base"), _image(site)]),
    Step("bills", "two", lambda site, _: ["sbom", _image(site)], reads=True),
    Step("inventory", "two", lambda site, _: ["inventory", _image(site)], reads=True),
    Step("verify", "two", lambda site, _: ["verify", _image(site)], reads=True),
    Step("coverage", "two", lambda site, _: ["coverage", "--receipt", str(site.directory / "two.json"), "--gating-repo", site.gating], reads=True),
    Step(
        "consume",
        "two",
        lambda site, work: [
            *("consume", "--receipt", str(site.directory / "two.json")),
            *("--storage-root", f"{work}-storage", "--storage-runroot", f"{work}-run"),
        ],
        reads=True,
        others=True,
    ),
)
GC = ("gc", "--delete", "--older-than", "0", "--keep-newest", "0", "--keep-tag", "latest")
"""Everything goes but what is promoted, its predecessor, and one floating tag."""


@dataclass(frozen=True)
class Trouble:
    """One row of the faults: what is done to a request, and which ends are right.

    :param how: what is done; for a number of requests: once, to all of its kind from then on, or to every request from then on.
    :param codes: exit codes that may come (0: the command did it all the same).
    :param words: one of these stands in the error where it does not.
    :param only: kinds of requests that it can be done to, by a part of their names.
    """

    name: str
    how: Fault
    span: str
    codes: tuple[int, ...]
    words: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    servers: tuple[str, ...] = ("registry", "repository")
    event: str = ""
    """What else happens at that moment: ``forget`` (the registry starts again), ``expire`` (tokens are void), ``kill``, ``end``."""


_READS = ("GET", "HEAD")
TROUBLES = (
    Trouble("500 once", Fault(status=500, body=b"<html>oops</html>"), "once", (0,)),
    Trouble("502 once", Fault(status=502, body=b"<html>bad gateway</html>"), "once", (0,)),
    Trouble("503 once, Retry-After: 2", Fault(status=503, headers={"Retry-After": "2"}), "once", (0,)),
    Trouble("429 once, Retry-After: 1", Fault(status=429, headers={"Retry-After": "1"}), "once", (0,)),
    Trouble("429 once, Retry-After a date gone by", Fault(status=429, headers={"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), "once", (0,)),
    Trouble("429 once, Retry-After no number", Fault(status=429, headers={"Retry-After": "soon"}), "once", (0,)),
    Trouble(
        "429, Retry-After ten years",
        Fault(status=429, headers={"Retry-After": "315360000"}),
        "ever",
        (0, 3),
        ("429", "silent", "cannot pull", "token"),
    ),
    Trouble("500 for this kind", Fault(status=500), "kind", (0, 3), ("500", "cannot pull")),
    Trouble("503 for ever", Fault(status=503, body=b"down for maintenance"), "ever", (0, 3), ("503", "cannot pull")),
    Trouble("507, the registry's disk is full", Fault(status=507), "kind", (0, 3), ("disk is full", "507", "cannot pull"), ("P",), ("registry",)),
    Trouble(
        "500, ENOSPC in the text",
        Fault(status=500, body=b'{"errors":[{"code":"UNKNOWN","detail":{"Err":28}}]}'),
        "kind",
        (0, 3),
        ("disk is full",),
        ("P",),
        ("registry",),
    ),
    Trouble("reset before the request is read", Fault(reset_before=True), "once", (0,)),
    Trouble("reset after it was done", Fault(reset_after=True), "once", (0,)),
    Trouble("reset for ever", Fault(reset_before=True), "ever", (0, 3), ("connection", "reset", "closed", "Read", "cannot pull", "disconnected")),
    Trouble("body cut once", Fault(reset_at=40), "once", (0,), only=("GET",)),
    Trouble("body cut for ever", Fault(reset_at=40), "kind", (0, 3), ("early", "closed", "incomplete", "peer", "cannot pull"), ("GET",)),
    Trouble("other bytes once", Fault(damage=True), "once", (0, 1, 3), ("",), ("GET",)),
    Trouble("other bytes for ever", Fault(damage=True), "kind", (0, 1, 2, 3), ("",), ("GET",)),
    Trouble(
        "another digest in the header", Fault(headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"}), "kind", (0, 3), (), servers=("registry",)
    ),
    Trouble("silent once", Fault(silent=driver.SILENCE_SECONDS * 1.5), "once", (0,)),
    Trouble("silent for ever", Fault(silent=driver.SILENCE_SECONDS * 1.5), "ever", (0, 3), ("silent", "time", "Time", "no answer", "cannot pull")),
    Trouble("a byte now and then", Fault(drip=0.05), "ever", (0, 3), ("longer than", "time", "slower", "silent", "cannot pull", "early")),
    Trouble("redirects in a circle", Fault(status=307, headers={"Location": "{self}"}), "kind", (0, 1, 3), ("redirect", "307", "cannot pull")),
    Trouble("a page instead of data", Fault(status=200, body=b"<html>log in to the hotel's network</html>"), "kind", (0, 1, 2, 3), ("",), _READS),
    Trouble("an empty 200", Fault(status=200), "kind", (0, 1, 2, 3), ("",), _READS),
    Trouble("no HTTP", Fault(raw=b"220 mail.example ESMTP\r\n"), "kind", (0, 3), ("",)),
    Trouble("endless headers", Fault(raw=b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 3000), "kind", (0, 3), ("",)),
    Trouble("tokens expire", Fault(), "once", (0,), servers=("registry",), event="expire"),
    Trouble(
        "401 once",
        Fault(status=401, headers={"WWW-Authenticate": 'Bearer realm="http://{host}/token",service="here"'}),
        "once",
        (0,),
        servers=("registry",),
    ),
    Trouble("403 for ever", Fault(status=403), "ever", (0, 1, 2, 3), ("refused", "403", "cannot pull")),
    Trouble("404 for ever", Fault(status=404), "ever", (0, 1, 2, 3), ("",)),
    Trouble("the server starts again", Fault(reset_before=True), "once", (0,), event="forget"),
    Trouble("killed", Fault(), "once", (0, -signal.SIGKILL), event="kill"),
    Trouble("told to end", Fault(), "once", (0, 130, 1, 3), ("interrupted", "cancelled"), event="end"),
)


SAID_BY_OTHERS = frozenset(
    {
        *("500 once", "502 once", "503 for ever", "reset before the request is read", "body cut once", "other bytes once", "other bytes for ever"),
        *("tokens expire", "401 once", "403 for ever", "404 for ever", "no HTTP", "the server starts again", "killed", "told to end"),
    }
)
"""Troubles for steps in which another program asks: it waits as long as it likes, so not those that make it wait."""


@dataclass(frozen=True)
class Case:
    """A step with a trouble at one of its requests: the ``nth`` of a kind, at one of the servers."""

    step: Step
    trouble: Trouble
    server: str
    kind: str
    nth: int

    def __str__(self) -> str:
        return f"{self.step.name}: {self.trouble.name} at {self.server} {self.kind} number {self.nth}"


@dataclass
class Verdict:
    """What came of a case: ``fine``, ``told``, ``ended`` or ``wrong`` with what is wrong."""

    case: Case
    outcome: str
    code: int
    problems: list[str] = field(default_factory=list)


class Matrix:
    """The steps on a site, with the states before and after each one."""

    def __init__(self, site: FaultSite) -> None:
        self.site = site
        self._number = itertools.count(1)
        self.states: dict[str, Mapping[str, object]] = {}
        self.after: dict[str, dict[str, dict[str, str]]] = {}
        self.kinds: dict[str, dict[str, Counter[str]]] = {}
        self.requests: dict[str, int] = {}

    # ---- the life without faults ---------------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Go through the life once: keep the registry's state before each step, what each shows in the end, and which requests it sends."""
        site = self.site
        self._keep("empty")
        self._must("build", "--full", "--tag", "one", "--floating-tag", "current-passed-ci")
        self._must("promote", "--from", "one", "--to", "current-passed-ci")
        self._keep("one")
        work = self._must("build", "--gating-repo", site.gating, "--tag", "two", "--floating-tag", "latest")
        shutil.copyfile(site.directory / work / "receipt.json", site.directory / "two.json")
        self._keep("two")
        self._must("promote", "--from", "two", "--to", "current-passed-ci")
        self._keep("promoted")
        self._must(*GC, conditions=driver.Conditions(ahead=86400))
        self._keep("collected")
        for step in STEPS:
            self.restore(step)
            code, out, errors = self._run(step, self.work())
            if code:
                raise AssertionError(f"{step.name} does not work without a fault: {out}{errors}")
            self.after[step.name] = site.show()
            self.kinds[step.name] = {name: Counter(asked.kind for asked in spoiler.seen) for name, spoiler in self._spoilers().items()}
            self.requests[step.name] = sum(table.total() for table in self.kinds[step.name].values())

    def _keep(self, name: str) -> None:
        self.states[name] = self.site.registry.contents()

    def _must(self, *words: str, conditions: driver.Conditions = driver.AS_HERE) -> str:
        work = self.work()
        code, out, errors = self.site.run(*words, work=work, conditions=conditions)
        if code:
            raise AssertionError(f"{' '.join(words)}: {out}{errors}")
        return work

    def work(self) -> str:
        return f"work-{next(self._number)}"

    def _spoilers(self) -> dict[str, Spoiler]:
        return {"registry": self.site.registry.spoiler, "repository": self.site.web.spoiler}

    def restore(self, step: Step) -> None:
        self.site.quiet()
        self.site.registry.put_back(self.states[step.state])  # type: ignore[arg-type]

    def _run(self, step: Step, work: str) -> tuple[int, str, str]:
        words = step.words(self.site, str(self.site.directory / work))
        return self.site.run(*words, work=work, conditions=step.conditions, seconds=240 if step.others else 120)

    # ---- cases ---------------------------------------------------------------------------------------------------------------------------------

    def cases(self) -> Iterator[Case]:
        """Every trouble at the first and the last request of each kind that a step sends."""
        for step in STEPS:
            for trouble in TROUBLES:
                if step.others and trouble.name not in SAID_BY_OTHERS:
                    continue
                for server, kinds in self.kinds[step.name].items():
                    for kind, count in kinds.items() if server in trouble.servers else ():
                        if trouble.only and not kind.startswith(trouble.only):
                            continue
                        for nth in sorted({1, count}) if trouble.span == "once" else (1,):
                            yield Case(step, trouble, server, kind, nth)

    def kills(self) -> Iterator[Case]:
        """A kill at each request of each step that writes."""
        (kill,) = (trouble for trouble in TROUBLES if trouble.name == "killed")
        for step in STEPS:
            if not step.reads:
                for nth in range(1, self.requests[step.name] + 1):
                    yield Case(step, kill, "any", "", nth)

    def run(self, case: Case) -> Verdict:
        """Carry one case out, judge it, and run the step again without the fault."""
        self.restore(case.step)
        before, floating = self.site.show(), self.site.floating()
        work = self.work()
        words = case.step.words(self.site, str(self.site.directory / work))
        fired = threading.Event()
        running: list[driver.Running] = []
        self._arm(case, fired, running)
        running.append(driver.start(self.site.words(*words, work=work), self.site.directory / f"{work}-said", case.step.conditions))
        code = running[0].wait(240 if case.step.others else 60)
        problems: list[str] = []
        if code is None:
            running[0].kill()
            code = running[0].wait(10)
            problems.append("no end within a minute")
        self.site.quiet()
        said, errors = (path.read_text(errors="replace") for path in (running[0].out, running[0].errors))
        problems += self.judge(case, code or 0, said, errors, before, floating, fired=fired.is_set())
        problems += self.again(case.step, work)
        for left in self.site.directory.glob(f"{work}*"):
            _remove(left)
        outcome = "wrong" if problems else "fine" if code == 0 else "ended" if case.trouble.event in ("kill", "end") else "told"
        return Verdict(case, outcome, code or 0, problems)

    def _arm(self, case: Case, fired: threading.Event, running: list[driver.Running]) -> None:
        counts: Counter[str] = Counter()
        lock = threading.Lock()

        def rule(server: str) -> Callable[[Asked], Fault | None]:
            def spoil(asked: Asked) -> Fault | None:
                with lock:
                    counts[asked.kind] += case.server == server
                    counts[""] += 1
                    reached = counts[case.kind] >= case.nth
                    now = reached and not fired.is_set() and case.kind in ("", asked.kind) and case.server in ("any", server)
                    if now:
                        fired.set()
                if now:
                    self._happen(case.trouble.event, running)
                    return case.trouble.how
                later = fired.is_set() and case.server == server
                ever = case.trouble.span == "ever" or (case.trouble.span == "kind" and asked.kind == case.kind)
                return case.trouble.how if later and ever else None

            return spoil

        for server, spoiler in self._spoilers().items():
            spoiler.rule = rule(server)

    def _happen(self, event: str, running: list[driver.Running]) -> None:
        if event in ("forget", "expire"):
            with self.site.registry.lock:
                self.site.registry.tokens.clear()
                if event == "forget":
                    self.site.registry.uploads.clear()
        while event in ("kill", "end") and not running:
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError):
            if event == "kill":
                running[0].kill()
            elif event == "end":
                running[0].process.terminate()

    # ---- what is right -------------------------------------------------------------------------------------------------------------------------

    def judge(
        self,
        case: Case,
        code: int,
        said: str,
        errors: str,
        before: dict[str, dict[str, str]],
        floating: dict[str, dict[str, str | None]],
        *,
        fired: bool,
    ) -> list[str]:
        """What is wrong with an end, in words; nothing when all is right."""
        trouble, problems = case.trouble, []
        killed = code == -signal.SIGKILL
        after = self.after[case.step.name]
        if "Traceback" in said + errors:
            problems.append("a traceback: " + (said + errors).strip().splitlines()[-1])
        if code not in trouble.codes or (not fired and code):
            problems.append(f"exit code {code}: {errors.strip()[-600:] or said.strip()[-600:]}")
        if code and not killed and code != 130:
            lines = one_line_errors(errors)
            if len(lines) != 1:
                problems.append(f"{len(lines)} lines of error: {errors.strip()[-600:]}")
            elif " -> " not in lines[0]:
                problems.append(f"no next step: {lines[0]}")
            elif trouble.words and not any(word in lines[0] for word in trouble.words):
                problems.append(f"other words: {lines[0]}")
        shown = self.site.show()
        problems += self.site.damage()
        if code == 0 and shown != after:
            problems.append(f"it said done, and the registry shows {_difference(shown, after)}")
        if case.step.reads and shown != before:
            problems.append(f"a step that reads changed {_difference(shown, before)}")
        half = "may show two sets" in errors or "rolling" in errors or "half" in errors
        if not killed and not half:
            allowed = [floating, _floating(after)]
            now = self.site.floating()
            problems += [f"{tag} is half moved: {now[tag]}" for tag in FLOATING if now[tag] not in [one[tag] for one in allowed]]
        return problems

    def again(self, step: Step, work: str) -> list[str]:
        """The same command in the same folder, without the fault: it has to end as if nothing had happened."""
        code, said, errors = self._run(step, work)
        if step.name == "roll back" and self.site.show() == self.after[step.name]:
            return []  # a second rollback has nothing before it any more
        if code:
            return [f"the rerun ends with {code}: {errors.strip()[-600:] or said.strip()[-600:]}"]
        shown = self.site.show()
        return [] if shown == self.after[step.name] else [f"after the rerun {_difference(shown, self.after[step.name])}"]


def _floating(shown: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str | None]]:
    from tests.functional.faults.place import NAMES

    return {tag: {name: shown.get(f"site/{name}", {}).get(tag) for name in NAMES} for tag in FLOATING}


def _difference(shown: Mapping[str, Mapping[str, str]], expected: Mapping[str, Mapping[str, str]]) -> str:
    rows = []
    for name in sorted({*shown, *expected}):
        one, other = shown.get(name, {}), expected.get(name, {})
        rows += [
            f"{name}:{tag} {one.get(tag, 'absent')[:19]} instead of {other.get(tag, 'absent')[:19]}"
            for tag in sorted({*one, *other})
            if one.get(tag) != other.get(tag)
        ]
    return "; ".join(rows)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def chosen(cases: list, many: int, seed: int) -> list:
    """So many of the cases, the same for the same seed: of every step and trouble some, before any of them twice."""
    chance = random.Random(seed)
    by_pair: dict[tuple[str, str], list] = defaultdict(list)
    for case in cases:
        by_pair[case.step.name, getattr(case, "trouble", case).name].append(case)
    for table in by_pair.values():
        chance.shuffle(table)
    pairs = list(by_pair)
    chance.shuffle(pairs)
    found: list = []
    while len(found) < min(many, len(cases)):
        for pair in pairs:
            if by_pair[pair] and len(found) < many:
                found.append(by_pair[pair].pop())
    return found


@contextlib.contextmanager
def matrix() -> Iterator[Matrix]:
    """A matrix whose life without faults was lived."""
    with tempfile.TemporaryDirectory(prefix="topcoat-faults-") as folder:
        site = FaultSite(Path(folder))
        try:
            made = Matrix(site)
            made.live()
            yield made
        finally:
            site.close()
