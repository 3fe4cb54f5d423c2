"""Images of real software: built by the product, started with plain podman, asked, updated with one yum layer, asked again.

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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.process import run
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


class Real:
    """One run of the real demo."""

    def __init__(self, directory: Path, recipes: Path, images: Sequence[str] = (), console: Console | None = None) -> None:
        self.directory = directory
        self.recipes = recipes
        self.images = images
        self.console = console or Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
        self.asked: dict[str, Asked] = {}
        self.times: dict[str, float] = {}
        self._receipts: list[dict] = []

    def run(self) -> int:
        """Everything; the registry and the containers are ended whatever happens."""
        with ExitStack() as held:
            with self._timed("world"):
                world = held.enter_context(worlds.used(default_cache(), say=self._say))
            return self._walk(world)

    def _walk(self, world: World) -> int:
        environment = prepare_world(self.directory, world, namespace="demo-real", say=self._say)
        try:
            shutil.rmtree(self.directory / "podman", ignore_errors=True)
            containers = Containers(environment, self.directory / "podman")
            with self._timed("build"):
                first = self._build(environment, "first", worlds.STATES[0], "--full")
            with self._timed("ask"):
                self._check(containers, first, fresh=True)
            with self._timed("update"):
                second = self._build(environment, "second", worlds.STATES[1])
            wrong = [image["name"] for image in second.values() if image["action"] != "update"]
            if wrong:
                raise ContentError(f"not updated by a yum layer: {', '.join(wrong)}", next_step="read receipt-second.json")
            with self._timed("ask again"):
                self._check(containers, second, fresh=False)
            self._summary(world)
            return 0
        finally:
            environment.stop()

    def _say(self, line: str) -> None:
        self.console.print(f"  {line}", markup=False)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.times[name] = time.monotonic() - started

    def _build(self, environment: Environment, name: str, state: str, *options: str) -> Mapping[str, dict]:
        """Build or update the images; their lines of the receipt, by name."""
        receipt = self.directory / f"receipt-{name}.json"
        command = ["--profile", "demo-real", "--recipes", str(self.recipes), "--work-dir", str(self.directory / "work")]
        command += ["--set-file", str(environment.values_file), "--set", f"state={state}", "--authfile", str(environment.authfile)]
        command += ["--ca-file", str(environment.ca_file), "build", *(f"^{image}$" for image in self.images), *options]
        command += ["--tag", f"real-{name}", "--floating-tag", "current-passed-ci"]
        self.console.print(f"[cyan]$ topcoat build … --tag real-{name}[/] (packages of {state})")
        done = topcoat([*command, "--receipt", str(receipt)])
        if done.returncode:
            raise ContentError(f"topcoat build ended with code {done.returncode}", next_step="its own words are above")
        document = json.loads(receipt.read_text(encoding="utf-8"))
        self._receipts.append(document)
        return {image["name"]: image for image in document["images"]}

    def _check(self, containers: Containers, images: Mapping[str, dict], *, fresh: bool) -> None:
        """Every image: unpacked by podman, verified, asked. All are tried before the first that failed is told."""
        services = {service.image: service for service in SERVICES}
        failures: list[TopcoatError] = []
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            jobs = [pool.submit(self._one, containers, image, services.get(name), fresh=fresh) for name, image in images.items()]
            for job in jobs:
                try:
                    self._say(job.result())
                except TopcoatError as error:
                    failures.append(error)
                    self._say(f"FAILED {error}")
        if failures:
            raise failures[0]

    def _one(self, containers: Containers, image: Mapping[str, Any], service: Service | None, *, fresh: bool) -> str:
        name, reference = image["name"], f"{image['repository']}@{image['digest']}"
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
        # 1 is what rpm says when it found differences; anything else, or a database that does not know rpm itself, is no answer.
        report = containers.once(reference, (), (("sh", "-c", "rpm -Va; [ $? -le 1 ] && rpm -q --quiet rpm"),))
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
        self.console.print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.times.items()))


def differences(report: str) -> list[str]:
    """The lines of ``rpm -Va`` that are not about changed configuration (attribute ``c``, rpm(8)); a missing file of any kind counts."""
    return [line for line in report.splitlines() if line.strip() and not _CONFIGURATION.match(line)]


def _own(folder: Path, owner: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)


def real(directory: Path, recipes: Path, images: Sequence[str] = ()) -> int:
    """Run it; exit code 0, or that of the error.

    :param images: names of images; none means all.
    """
    console = Console(stderr=True, highlight=False)
    try:
        if shutil.which("podman") is None:
            raise InfrastructureError("podman is not installed", retriable=False, next_step="run tools/setup-node")
        return Real(directory.absolute(), recipes.absolute(), images).run()
    except TopcoatError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print(f"interrupted: nothing is left running; receipts and logs are in {directory}", markup=False, soft_wrap=True)
        return 130
