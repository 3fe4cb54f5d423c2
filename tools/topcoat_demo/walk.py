"""The main job from end to end, as a person would type it: periodic build, promotion, a review with a Depends-On, and the review again.

This module must never do what a user could not: it types ``topcoat`` commands and shows them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from topcoat.errors import ContentError, TopcoatError
from topcoat.process import run
from topcoat_demo import distribution as distributions
from topcoat_demo import environment as environments
from topcoat_demo import sources
from topcoat_demo.command import topcoat
from topcoat_demo.environment import Environment

PROMOTED = "current-passed-ci"


@dataclass
class Walk:
    """One demo run."""

    directory: Path
    recipes: Path
    patterns: Sequence[str] = ()
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120))
    times: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """A line of explanation."""
        self.console.print(Text(text, style="bold"))

    @contextmanager
    def step(self, name: str, title: str):  # type: ignore[no-untyped-def]
        """A titled, timed part of the demo."""
        self.console.print()
        self.console.rule(Text(title), align="left")
        started = time.monotonic()
        yield
        self.times[name] = time.monotonic() - started

    def run(self) -> int:
        """Everything; the registry is ended whatever happens."""

        def say(line: str) -> None:
            self.console.print(f"  {line}")

        with ExitStack() as held:
            with self.step("set-up", "A distribution, three repositories, a registry with TLS and a password"):
                made = held.enter_context(distributions.used(say=say))
                environment = environments.prepare(self.directory, distribution=made, say=say)
                held.callback(environment.stop)
            self._periodic(environment)
            self._review(environment)
            self._summary()
        return 0

    # ---- the two halves -------------------------------------------------------------------------------------------------------------------

    def _periodic(self, environment: Environment) -> None:
        state = environment.distribution.states[0]
        with self.step("periodic", "Periodic job: every image, from the packages that passed last"):
            words = ["build", *self.patterns, "--full", "--tag", state.full, "--floating-tag", "current", *self._receipt("periodic")]
            self.topcoat(environment, *words, values={"current": PROMOTED})
        with self.step("promotion", "Promotion: the name current-passed-ci moves to exactly this set"):
            words = ["promote", *self.patterns, "--from", state.full, "--to", PROMOTED, "--receipt", str(self._receipt_file("periodic"))]
            self.topcoat(environment, *words)

    def _review(self, environment: Environment) -> None:
        with self.step("gating", "A review: nova uses what a change to oslo.config brings (Depends-On)"):
            changes = sources.review(environment.distribution.sources, self.directory / "changes")
            for change in changes:
                self.console.print(f"  {change.url}  {change.note}")
            items = self.directory / "zuul-items.json"
            items.write_text(json.dumps({"items": sources.zuul_items(changes)}))
            held = self.directory / "changes.json"
            held.write_text(
                json.dumps({str(change.directory.resolve()): {"project": change.canonical_name, "change": change.url} for change in changes})
            )
            gating = self.directory / "gating"
            trees = [str(change.directory) for change in changes]
            self.topcoat(environment, "gating", "--output", str(gating), "--changes", str(held), *trees)
        with self.step("review", "The review job: plan, one yum update where it is needed, push, proof"):
            self.topcoat(environment, "plan", *self.patterns, "--gating-repo", str(gating), "--output", str(self.directory / "plan.json"), show=18)
            words = ["build", *self.patterns, "--gating-repo", str(gating), "--plan", str(self.directory / "plan.json"), "--tag", "review-102"]
            self.topcoat(environment, *words, "--zuul-items", str(items), *self._receipt("review"))
        with self.step("proof", "One of the updated images, pulled by digest and asked"):
            self._ask(environment, changes[-1].note)
        with self.step("again", "The same review again: nothing is left to do"):
            words = ["build", *self.patterns, "--gating-repo", str(gating), "--tag", "review-102-again", *self._receipt("again")]
            self.topcoat(environment, *words, show=0)
            receipt = self._read("again")
            pushed = sum(image["bytes_pushed"] for image in receipt["images"])
            made = [image["name"] for image in receipt["images"] if image["method"] not in ("tag", "found")]
            if pushed or made:
                raise ContentError(f"the second run pushed {pushed} bytes and made {made}", next_step="this is a defect: please report it")
            self.console.print(f"  {len(receipt['images'])} images, 0 bytes pushed, 0 layers made, {receipt['finished'] - receipt['started']:.1f} s")

    def _ask(self, environment: Environment, note: str) -> None:
        """Pull the updated service image and run two commands in it, with podman."""
        image = next(image for image in self._read("review")["images"] if image["action"] == "update" and image["name"] == "nova-compute")
        reference = f"{image['repository']}@{image['digest']}"
        engine = Podman(environment, self.directory / "podman")
        self.console.print(f"  $ podman pull {reference}")
        engine.pull(reference)
        for words in (["rpm", "-q", "openstack-nova-compute", "python3-nova", "python3-oslo-config"], ["nova-compute", "--version"]):
            self.console.print(f"  $ podman run --rm {image['name']} {' '.join(words)}")
            output = engine.execute(reference, words)
            self.console.print("".join(f"    {line}\n" for line in output.splitlines()), end="")
        if note not in output:
            raise ContentError(f"the service of {reference} does not know the change", next_step="this is a defect: please report it")

    def _summary(self) -> None:
        review, periodic = self._read("review"), self._read("periodic")
        self.console.print()
        self.console.rule(Text("What it took"), align="left")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        counts: dict[str, int] = {}
        for image in review["images"]:
            counts[image["action"]] = counts.get(image["action"], 0) + 1
        pushed = sum(image["bytes_pushed"] for image in review["images"])
        words = {"build": "built", "update": "updated", "reuse": "re-tagged"}
        table.add_row("full build", f"{self.times['periodic']:.0f} s", f"{len(periodic['images'])} images")
        table.add_row("promotion", f"{self.times['promotion']:.1f} s", "the whole set, no layer moved")
        table.add_row(
            "review",
            f"{self.times['review']:.1f} s",
            ", ".join(f"{counts[action]} {words[action]}" for action in words if action in counts) + f", {pushed / 1e6:.1f} MB pushed",
        )
        table.add_row("same review again", f"{self.times['again']:.1f} s", "0 bytes pushed, no layer made")
        self.console.print(table)
        self.console.print(f"\nReceipts, plans and logs: {self.directory}")

    # ---- parts ----------------------------------------------------------------------------------------------------------------------------

    def topcoat(self, environment: Environment, *words: str, values: Mapping[str, str] | None = None, show: int = 200) -> None:
        """Type one ``topcoat`` command: show it, run it, show its output.

        :param show: lines of output to show; the rest is counted.
        :raises ContentError: the command failed (its own words are on the screen).
        """
        settings = [word for name, value in (values or {}).items() for word in ("--set", f"{name}={value}")]
        short = " ".join(word.replace(str(self.directory), "DEMO") for word in (*settings, *words))
        self.console.print(Text(f"$ topcoat {short}", style="cyan"))
        options = ["--profile", "demo", "--recipes", str(self.recipes), "--work-dir", str(self.directory / "work")]
        options += ["--set-file", str(environment.values_file), "--authfile", str(environment.authfile), "--ca-file", str(environment.ca_file)]
        done = topcoat([*options, *settings, *words], capture=True)
        lines = done.stdout.splitlines()
        for line in lines[:show]:
            self.console.print(Text(f"  {line}"))
        if len(lines) > show > 0:
            self.console.print(Text(f"  … and {len(lines) - show} lines more", style="dim"))
            self.console.print(Text(f"  {lines[-1]}"))
        if done.returncode:
            raise ContentError(f"topcoat {words[0]} ended with code {done.returncode}", next_step="its own words are above")

    def _receipt_file(self, name: str) -> Path:
        return self.directory / f"receipt-{name}.json"

    def _receipt(self, name: str) -> list[str]:
        return ["--receipt", str(self._receipt_file(name)), "--logs-dir", str(self.directory / f"logs-{name}")]

    def _read(self, name: str) -> dict:
        return json.loads(self._receipt_file(name).read_text(encoding="utf-8"))


class Podman:
    """The few podman calls of the demo, in a storage of their own."""

    def __init__(self, environment: Environment, storage: Path) -> None:
        self._command = ["podman", "--root", str(storage / "root"), "--runroot", str(storage / "run"), "--runtime", "runc"]
        self._access = ["--authfile", str(environment.authfile), "--cert-dir", str(environment.ca_file.parent)]

    def pull(self, reference: str) -> None:
        """Pull an image by digest."""
        run([*self._command, "pull", "--quiet", *self._access, reference], timeout=300)

    def execute(self, reference: str, words: Sequence[str]) -> str:
        """Output of a command in a fresh container; limits that a small machine may set are given by hand."""
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        program, *arguments = words
        command = [*self._command, "run", "--rm", "--network=host", *limits, "--entrypoint", program, reference, *arguments]
        return run(command, timeout=120).output


def demo(directory: Path, recipes: Path, patterns: Sequence[str] = ()) -> int:
    """Run the demo; exit code 0, or that of the error."""
    try:
        return Walk(directory.absolute(), recipes.absolute(), patterns).run()
    except TopcoatError as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        words = f"interrupted: nothing is left running; receipts and logs are in {directory}, and the same command goes on from there"
        Console(stderr=True, highlight=False, soft_wrap=True).print(words, markup=False)
        return 130
