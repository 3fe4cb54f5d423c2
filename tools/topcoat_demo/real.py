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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.process import run
from topcoat_demo import software
from topcoat_demo.command import topcoat
from topcoat_demo.distribution import default_cache
from topcoat_demo.environment import Environment, prepare
from topcoat_demo.services import SERVICES, Service

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
    def running(self, name: str, reference: str, options: Sequence[str]) -> Iterator[None]:
        """The image as it is meant to be started: nothing but mounts."""
        self("rm", "--force", "--ignore", name)
        self("run", "--detach", f"--name={name}", "--network=none", *_LIMITS, *options, reference)
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


class Real:
    """One run of the real demo."""

    def __init__(self, directory: Path, recipes: Path, services: Sequence[Service] = SERVICES, console: Console | None = None) -> None:
        self.directory = directory
        self.recipes = recipes
        self.services = services
        self.console = console or Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
        self.rows: dict[str, list[str]] = {service.image: [] for service in services}

    def run(self) -> int:
        """Everything; the registry and the containers are ended whatever happens."""
        environment = prepare(self.directory, namespace="demo-real", say=self._say)
        try:
            started = time.monotonic()
            repositories = self.directory / "software"
            shutil.rmtree(repositories, ignore_errors=True)
            software.make(default_cache(), repositories)
            self._say(f"real software: repositories made in {time.monotonic() - started:.0f} s")
            environment.variables["software"] = repositories.absolute().as_uri()
            environment.values_file.write_text(json.dumps(environment.variables, indent=1) + "\n")
            containers = Containers(environment, self.directory / "podman")
            self._check(containers, self._build(environment, "first", "real", "--full"), fresh=True)
            updated = self._build(environment, "second", "real-next")
            self._check(containers, updated, fresh=False)
            wrong = [image["name"] for image in updated.values() if image["action"] != "update"]
            if wrong:
                raise ContentError(f"not updated by a yum layer: {', '.join(wrong)}", next_step="read receipt-second.json")
            self._summary()
            return 0
        finally:
            environment.stop()

    def _say(self, line: str) -> None:
        self.console.print(f"  {line}", markup=False)

    def _build(self, environment: Environment, name: str, state: str, *options: str) -> Mapping[str, dict]:
        """Build or update the images; their lines of the receipt, by name."""
        receipt = self.directory / f"receipt-{name}.json"
        patterns = [f"^{service.image}$" for service in self.services]
        command = [
            "--profile",
            "demo-real",
            "--recipes",
            str(self.recipes),
            "--work-dir",
            str(self.directory / "work"),
        ]
        command += ["--set-file", str(environment.values_file), "--set", f"state={state}", "--authfile", str(environment.authfile)]
        command += [
            "--ca-file",
            str(environment.ca_file),
            "build",
            *patterns,
            *options,
            "--tag",
            f"real-{name}",
            "--floating-tag",
            "current-passed-ci",
        ]
        self.console.print(f"[cyan]$ topcoat build … --tag real-{name}[/] (packages of {state})")
        done = topcoat([*command, "--receipt", str(receipt)])
        if done.returncode:
            raise ContentError(f"topcoat build ended with code {done.returncode}", next_step="its own words are above")
        images = {image["name"]: image for image in json.loads(receipt.read_text(encoding="utf-8"))["images"]}
        return {service.image: images[service.image] for service in self.services}

    def _check(self, containers: Containers, images: Mapping[str, dict], *, fresh: bool) -> None:
        for service in self.services:
            reference = f"{images[service.image]['repository']}@{images[service.image]['digest']}"
            options = self._mounts(service, fresh=fresh)
            containers.pull(reference)
            self._verify(containers, service.image, reference)
            if fresh and service.before:
                containers.once(reference, options, service.before)
            if fresh and service.state:
                _own(self.directory / "state" / service.image, service.owner)
            started = time.monotonic()
            with containers.running(service.image, reference, options):
                answer = containers.ask(service.image, service.question, service.answer)
                version = containers("exec", service.image, "rpm", "-q", service.package).strip()
            line = next(line for line in answer.splitlines() if service.answer in line).strip()
            self.rows[service.image] += [version.removeprefix(f"{service.package}-").rpartition(".")[0], line[:40]]
            self._say(f"{service.image}: {version} answers {line[:70]!r} after {time.monotonic() - started:.1f} s")

    def _verify(self, containers: Containers, name: str, reference: str) -> None:
        """Every file of the image as podman unpacked it is what its package says; accounts and configuration may differ."""
        # 1 is what rpm says when it found differences; anything else, or a database that does not know rpm itself, is no answer.
        report = containers.once(reference, (), (("sh", "-c", "rpm -Va; [ $? -le 1 ] && rpm -q --quiet rpm"),))
        wrong = differences(report)
        if wrong:
            raise ContentError(f"rpm -Va: {len(wrong)} files differ from their packages: {'; '.join(wrong[:5])}", image=name)

    def _mounts(self, service: Service, *, fresh: bool) -> list[str]:
        options = []
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

    def _summary(self) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("image", "first", "updated to", "answer"):
            table.add_column(title, no_wrap=True)
        for service in self.services:
            before, _, after, answer = self.rows[service.image]
            if before == after:
                raise ContentError(f"{service.image} still has {service.package} {before}", next_step="this is a defect: please report it")
            table.add_row(service.image, before, after, answer)
        self.console.print(table)


def differences(report: str) -> list[str]:
    """The lines of ``rpm -Va`` that are not about changed configuration (attribute ``c``, rpm(8)); a missing file of any kind counts."""
    return [line for line in report.splitlines() if line.strip() and not _CONFIGURATION.match(line)]


def _own(folder: Path, owner: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner, owner, follow_symlinks=False)


def real(directory: Path, recipes: Path, patterns: Sequence[str] = ()) -> int:
    """Run it; exit code 0, or that of the error.

    :param patterns: names of images; none means all.
    """
    console = Console(stderr=True, highlight=False)
    services = [service for service in SERVICES if not patterns or service.image in patterns]
    try:
        if shutil.which("podman") is None:
            raise InfrastructureError("podman is not installed", retriable=False, next_step="run tools/setup-node")
        return Real(directory.absolute(), recipes.absolute(), services).run()
    except TopcoatError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print(f"interrupted: nothing is left running; receipts and logs are in {directory}", markup=False, soft_wrap=True)
        return 130
