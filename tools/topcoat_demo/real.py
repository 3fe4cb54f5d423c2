"""Images of real software: built by the product, started with plain podman, asked, promoted, updated with one yum update, asked again, compared with
what plain dnf makes of them, promoted and found by their tag.

This module must never use another storage than its own, and ends every container it started.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.process import run
from topcoat.process.files import write_whole
from topcoat.report.figures import bytes_text
from topcoat_demo import beside
from topcoat_demo import world as worlds
from topcoat_demo.command import topcoat
from topcoat_demo.distribution import default_cache
from topcoat_demo.environment import Environment, prepare_world
from topcoat_demo.services import PROGRAMS, SERVICES, Service
from topcoat_demo.world import World

# Not a goal, only the end of patience: on a busy machine keystone alone loads for half a minute.
_ANSWER_SECONDS = 240.0
_CONFIGURATION = re.compile(r"[.?SM5DLUGTP]{9}  c /")
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


class Containers:
    """All calls of podman, in a storage of our own; containers have a loopback interface and nothing else."""

    def __init__(self, environment: Environment, storage: Path) -> None:
        self._command = [
            "podman",
            "--root",
            str(storage / "root"),
            "--runroot",
            str(storage / "run"),
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
        ]
        self._access = [f"--authfile={environment.authfile}", f"--cert-dir={environment.registry.certificates}"]

    def __call__(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        """Run podman; its standard output."""
        return run([*self._command, *words], timeout=timeout, check=check).output

    def pull(self, reference: str) -> None:
        """Pull an image by digest."""
        self("pull", "--quiet", *self._access, reference, timeout=300)

    def once(self, reference: str, options: Sequence[str], commands: Sequence[Sequence[str]]) -> str:
        """Output of commands, one after the other until one fails, in a fresh container of the image, as its user root."""
        line = " && ".join(map(shlex.join, commands))
        return self("run", "--rm", "--network=none", "--user=0", *_LIMITS, *options, "--entrypoint=/bin/sh", reference, "-c", line, timeout=600)

    @contextmanager
    def running(self, name: str, reference: str, options: Sequence[str], arguments: Sequence[str] = ()) -> Iterator[None]:
        """The image as it is meant to be started: nothing but mounts, and arguments where a deployment gives some."""
        self("rm", "--force", "--ignore", name)
        self("run", "--detach", f"--name={name}", "--network=none", *_LIMITS, *options, reference, *arguments)
        try:
            yield
        finally:
            self("rm", "--force", "--time", "5", name)

    def ask(self, name: str, words: Sequence[str], expected: str) -> str:
        """Ask until the answer holds the expected words.

        :raises ContentError: it did not in time; the container's last lines are in the error.
        """
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            done = run([*self._command, "exec", name, *words], timeout=120, check=False)
            if done.code == 0 and expected in done.output:
                return done.output
            state = self("inspect", "--format", "{{.State.Status}}", name).strip()
            if state != "running" or time.monotonic() > deadline:
                logs = run([*self._command, "logs", "--tail", "30", name], timeout=60, check=False)
                raise ContentError(
                    f"{name} ({state}) does not answer {expected!r}: {done.errors[-1500:]}\nits log: {logs.errors[-3000:]}", image=name
                )
            time.sleep(0.5)


@dataclass
class Asked:
    """What one image said, before and after its update."""

    versions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    how: str = ""
    """``service``: it ran as it is meant to; ``program``: its entrypoint said its version or help."""


STEPS = ("build", "ask", "promote", "update", "ask-again", "compare", "promote-again")
_PROMOTED = worlds.STATES[0]
_WEIGHED = ("registry", "podman", "work")


class Real:
    """One run of the real demo."""

    def __init__(self, directory: Path, recipes: Path, images: Sequence[str] = (), console: Console | None = None, start: str = STEPS[0]) -> None:
        """
        :param start: of ``STEPS``: those before it were done in this folder, by a run that ended there.
        """
        self.directory = directory
        self.recipes = recipes
        self.images = images
        self.console = console or Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
        self.start = start
        self.asked: dict[str, Asked] = {}
        self.times: dict[str, float] = {}
        self.notes: dict[str, str] = {}
        """What a step moved or proved, beside its time."""

    def run(self) -> int:
        """Everything; the registry and the containers are ended whatever happens."""
        with ExitStack() as held:
            with self._timed("world"):
                world = held.enter_context(worlds.used(default_cache(), say=self._say))
            environment = prepare_world(self.directory, world, namespace="demo-real", say=self._say)
            held.callback(environment.stop)
            self._walk(environment, world)
            self._summary(world)
        return 0

    def _walk(self, environment: Environment, world: World) -> None:
        if self.start == STEPS[0]:
            for name in ("podman", "beside"):
                shutil.rmtree(self.directory / name, ignore_errors=True)
            self._record.unlink(missing_ok=True)
        else:
            self._remember()
        containers = Containers(environment, self.directory / "podman")
        steps: dict[str, Callable[[], None]] = {
            "build": lambda: self._build(environment, "first", worlds.STATES[0], "--full"),
            "ask": lambda: self._check(containers, self._made("first"), fresh=True),
            "promote": lambda: self._promote(environment, "first"),
            "update": lambda: self._build(environment, "second", worlds.STATES[1]),
            "ask-again": lambda: self._check(containers, self._made("second"), fresh=False),
            "compare": lambda: self._compare(environment, containers, world),
            "promote-again": lambda: self._promote(environment, "second"),
        }
        for name in STEPS[STEPS.index(self.start) :]:
            with self._timed(name):
                steps[name]()
            self._keep()

    def _say(self, line: str) -> None:
        self.console.print(f"  {line}", markup=False)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.times[name] = time.monotonic() - started

    # ---- what a later run goes on from -------------------------------------------------------------------------------------------------

    @property
    def _record(self) -> Path:
        return self.directory / "steps.json"

    def _keep(self) -> None:
        asked = {name: vars(one) for name, one in self.asked.items()}
        write_whole(self._record, json.dumps({"asked": asked, "times": self.times, "notes": self.notes}))

    def _remember(self) -> None:
        try:
            document = json.loads(self._record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"{self.directory} holds no run that could go on with {self.start!r}", next_step="leave --from out") from None
        self.asked = {name: Asked(**one) for name, one in document["asked"].items()}
        self.times = {**document["times"], **self.times}
        self.notes = document["notes"]

    def _receipt(self, name: str) -> dict[str, Any]:
        return json.loads((self.directory / f"receipt-{name}.json").read_text(encoding="utf-8"))

    def _made(self, name: str) -> Mapping[str, dict]:
        """The lines of a receipt, by the image's name."""
        return {image["name"]: image for image in self._receipt(name)["images"]}

    # ---- steps ---------------------------------------------------------------------------------------------------------------------------

    def _topcoat(self, environment: Environment, state: str, *words: str) -> None:
        """Type one command, and show what it is told beside where everything lies."""
        command = ["--profile", "demo-real", "--recipes", str(self.recipes), "--work-dir", str(self.directory / "work")]
        command += ["--set-file", str(environment.values_file), "--set", f"state={state}", "--authfile", str(environment.authfile)]
        command += ["--ca-file", str(environment.ca_file)]
        shown = " ".join(word.replace(f"{self.directory}/", "") for word in words)
        self.console.print(f"[cyan]$ topcoat … {shown}[/] (packages of {state})")
        done = topcoat([*command, *words])
        if done.returncode:
            raise ContentError(f"topcoat {words[0]} ended with code {done.returncode}", next_step="its own words are above")

    def _patterns(self) -> list[str]:
        return [f"^{image}$" for image in self.images]

    def _build(self, environment: Environment, name: str, state: str, *options: str) -> None:
        """Build or update the images."""
        receipt = ("--receipt", str(self.directory / f"receipt-{name}.json"))
        self._topcoat(environment, state, "build", *self._patterns(), *options, "--tag", f"real-{name}", *receipt)
        images = self._made(name)
        pushed = sum(image["bytes_pushed"] for image in images.values())
        self.notes["build" if name == "first" else "update"] = f"{len(images)} images, {bytes_text(pushed)} pushed"
        wrong = [image["name"] for image in images.values() if image["action"] != ("build" if name == "first" else "update")]
        if wrong:
            raise ContentError(f"not {'built' if name == 'first' else 'updated by yum'}: {', '.join(wrong)}", next_step="read the receipt")

    def _promote(self, environment: Environment, name: str) -> None:
        """Move the floating name to the set, and find every image of it by that name."""
        receipt = self.directory / f"receipt-{name}.json"
        state = worlds.STATES[0 if name == "first" else 1]
        words = ["--from", f"real-{name}", "--to", _PROMOTED, "--receipt", str(receipt), "--signatures", "required"]
        if name == "first":
            # The registry of the folder remembers the second set of an earlier run: this one begins with the older set on purpose.
            words.append("--older")
        self._topcoat(environment, state, "promote", *self._patterns(), *words)
        found = self.directory / f"discovered-{name}.yaml"
        include = [word for pattern in self._patterns() for word in ("--include", pattern)]
        self._topcoat(environment, state, "discover", "--tag", _PROMOTED, *include, "--present-only", "--output", str(found))
        text = found.read_text(encoding="utf-8")
        images = self._made(name)
        held = [image["name"] for image in images.values() if image["digest"] in text]
        self.notes["promote" if name == "first" else "promote-again"] = f"{len(images)} images, {len(held)} of them on the deployer's list"
        if not held:
            raise ContentError(f"none of the promoted images is found as {_PROMOTED}", next_step=f"read {found}")

    def _compare(self, environment: Environment, containers: Containers, world: World) -> None:
        """Some of the updated images beside the same ones after ``dnf -y update``."""
        before, after = self._made("first"), self._made("second")
        access = (f"--authfile={environment.authfile}", f"--cert-dir={environment.registry.certificates}")
        comparison = beside.Beside(self.directory / "beside", access, world.repositories / worlds.STATES[1], containers)
        chosen = [name for name in beside.IMAGES if name in after] or list(after)[-1:]
        paths = changed = 0
        try:
            for name in chosen:
                started = time.monotonic()
                one = comparison.compare(name, _reference(before[name]), _reference(after[name]))
                paths, changed = paths + one.paths, changed + one.changed
                self._say(
                    f"{name}: equals dnf -y update: {one.paths} paths, {one.packages} packages, {one.changed} of them changed; "
                    f"{time.monotonic() - started:.0f} s"
                )
        finally:
            comparison.clean()
        self.notes["compare"] = f"{len(chosen)} images equal dnf -y update: {paths} paths, {changed} changed packages"

    def _check(self, containers: Containers, images: Mapping[str, dict], *, fresh: bool) -> None:
        """Every image: unpacked by podman, verified, asked. All are tried before the first that failed is told."""
        services = {service.image: service for service in SERVICES}
        failures: list[TopcoatError] = []
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            jobs = [pool.submit(self._one, containers, image, services.get(name), fresh=fresh) for name, image in images.items()]
            try:
                for job in jobs:
                    try:
                        self._say(job.result())
                    except TopcoatError as error:
                        failures.append(error)
                        self._say(f"FAILED {error}")
            except BaseException:
                # Told to end: what has not begun never does, else a run of a hundred images goes on for a quarter of an hour.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if failures:
            raise failures[0]

    def _one(self, containers: Containers, image: Mapping[str, Any], service: Service | None, *, fresh: bool) -> str:
        name, reference = image["name"], _reference(image)
        containers.pull(reference)
        self._verify(containers, name, reference)
        asked = self.asked.setdefault(name, Asked())
        started = time.monotonic()
        answer = self._serve(containers, service, reference, fresh=fresh) if service else self._program(containers, name, reference)
        asked.seconds.append(time.monotonic() - started)
        asked.how = "service" if service else "program"
        asked.answers.append(answer)
        return f"{name}: {answer[:90]!r} after {asked.seconds[-1]:.1f} s"

    def _serve(self, containers: Containers, service: Service, reference: str, *, fresh: bool) -> str:
        options = self._mounts(service, fresh=fresh)
        if fresh and service.before:
            containers.once(reference, options, service.before)
        if fresh and service.state:
            _own(self.directory / "state" / service.image, service.owner)
        with containers.running(service.image, reference, options, service.arguments):
            answer = containers.ask(service.image, service.question, service.answer)
            version = containers("exec", "--user=0", service.image, "rpm", "-q", service.package).strip()
        self.asked[service.image].versions.append(version.removeprefix(f"{service.package}-").rpartition(".")[0])
        return next(line for line in answer.splitlines() if service.answer in line).strip()

    def _program(self, containers: Containers, name: str, reference: str) -> str:
        """The entrypoint says its version: its libraries and modules load."""
        entrypoint = json.loads(containers("image", "inspect", "--format", "{{json .Config.Entrypoint}}", reference) or "null") or ["/bin/sh"]
        words = PROGRAMS.get(entrypoint[0]) or (entrypoint[0], "--version")
        answer = containers.once(reference, (), (("sh", "-c", f"{shlex.join(words)} 2>&1"),)).strip()
        if not answer:
            raise ContentError(f"{shlex.join(words)} says nothing", image=name)
        return answer.splitlines()[0 if words[-1] == "--help" else -1].strip()

    def _verify(self, containers: Containers, name: str, reference: str) -> None:
        """Every file of the image as podman unpacked it is what its package says; accounts and configuration may differ."""
        # 1 is what rpm says when it found differences; anything else, or a database that is damaged or does not know rpm itself, is no answer.
        report = containers.once(reference, (), (("sh", "-c", "rpm -Va; [ $? -le 1 ] && rpm --verifydb && rpm -q --quiet rpm"),))
        wrong = differences(report)
        if wrong:
            raise ContentError(f"rpm -Va: {len(wrong)} files differ from their packages: {'; '.join(wrong[:5])}", image=name)

    def _mounts(self, service: Service, *, fresh: bool) -> list[str]:
        options = list(service.options)
        for path, text in service.files.items():
            source = self.directory / "config" / service.image / path.lstrip("/")
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(text.lstrip("\n"))
            options.append(f"--volume={source.absolute()}:{path}:ro")
        if service.state:
            state = self.directory / "state" / service.image
            if fresh:
                shutil.rmtree(state, ignore_errors=True)
                state.mkdir(parents=True)
                os.chown(state, service.owner, service.owner)
            options.append(f"--volume={state.absolute()}:{service.state}")
        return options

    def _summary(self, world: World) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("service", "first", "updated to", "answer"):
            table.add_column(title, no_wrap=True)
        services = {service.image: service for service in SERVICES}
        for name, asked in sorted(self.asked.items()):
            if asked.how == "service":
                if asked.versions[0] == asked.versions[1] and services[name].changes:
                    raise ContentError(f"{name} still has {asked.versions[0]}", next_step="this is a defect: please report it")
                table.add_row(name, *asked.versions[:2], asked.answers[-1][:50])
        self.console.print(table)
        counts = Counter(asked.how for asked in self.asked.values())
        self.console.print(
            f"{len(self.asked)} images: {counts['service']} ran as services and answered before and after their update, "
            f"{counts['program']} said what they are"
        )
        took = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        self.notes["world"] = _world_note(world)
        for name in ("world", *STEPS):
            if name in self.times:
                took.add_row(name, f"{self.times[name]:.0f} s", self.notes.get(name, ""))
        weights = ", ".join(f"{name} {bytes_text(_weight(self.directory / name))}" for name in _WEIGHED)
        took.add_row("all", f"{sum(self.times.values()):.0f} s", f"disk: {weights}")
        self.console.print(took)


def _reference(image: Mapping[str, Any]) -> str:
    return f"{image['repository']}@{image['digest']}"


def _weight(folder: Path) -> int:
    """Bytes on disk below a folder; names of one file count once."""
    return int(run(["du", "--summarize", "--block-size=1", str(folder)], timeout=600, check=False).output.split()[0])


def _world_note(world: World) -> str:
    facts: Any = world.facts
    state = facts[worlds.STATES[1]]
    made = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in facts["seconds"].items())
    return f"{state['packages']} packages, {bytes_text(state['bytes packed'])}; when it was made: {made}"


def differences(report: str) -> list[str]:
    """The lines of ``rpm -Va`` that are not about changed configuration (attribute ``c``, rpm(8)); a missing file of any kind counts."""
    return [line for line in report.splitlines() if line.strip() and not _CONFIGURATION.match(line)]


def _own(folder: Path, owner: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)


def real(directory: Path, recipes: Path, images: Sequence[str] = (), start: str = STEPS[0]) -> int:
    """Run it; exit code 0, or that of the error.

    :param images: names of images; none means all.
    :param start: of ``STEPS``, to go on where an earlier run ended.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        if shutil.which("podman") is None:
            raise InfrastructureError("podman is not installed", retriable=False, next_step="run tools/setup-node")
        return Real(directory.absolute(), recipes.absolute(), images, start=start).run()
    except TopcoatError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print(f"interrupted: nothing is left running; receipts and logs are in {directory}", markup=False, soft_wrap=True)
        return 130
