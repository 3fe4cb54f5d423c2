"""The lab's command line: prepare, up, down, status, test.

This module must never hold anything but arguments and order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from topcoat.errors import TopcoatError
from zuul_lab import lab as whole
from zuul_lab import sandbox, services
from zuul_lab.layout import Places, places_from
from zuul_lab.prepare import prepare as get_ready
from zuul_lab.projects import World, demo_world
from zuul_lab.scenes import Scenes
from zuul_lab.second_site import SecondSite, second_world
from zuul_lab.sets_story import SetsStory
from zuul_lab.sets_world import sets_world
from zuul_lab.story import Story
from zuul_lab.verdict import Verdict

# Each in a lab of its own: the projects differ.
SCENARIOS: dict[str, tuple[Callable[[], World], type[Scenes]]] = {
    "story": (demo_world, Story),
    "site": (second_world, SecondSite),
    "sets": (sets_world, SetsStory),
}
_scenario = click.option("--scenario", type=click.Choice(list(SCENARIOS)), default="story", show_default=True, help="What the lab is for.")


def say(line: str) -> None:
    """One line for people, with the time."""
    click.echo(f"{time.strftime('%H:%M:%S')} {line}")


def _inside() -> bool:
    return os.environ.get(sandbox.INSIDE) == "1"


def _again_inside(places: Places, words: list[str]) -> int:
    """Run this command line once more inside the lab; its exit code."""
    pid = sandbox.holder_pid(places)
    assert pid
    environment = {**os.environ, sandbox.INSIDE: "1", "PYTHONPATH": str(places.repository / "tools"), "PYTHONUNBUFFERED": "1"}
    common = [f"--cache={places.cache}", f"--state={places.state}", f"--logs={places.logs}"]
    argv = sandbox.argv_inside(pid, [sys.executable, "-m", "zuul_lab", *common, *words])
    return subprocess.run(argv, stdin=subprocess.DEVNULL, env=environment, check=False, cwd=places.repository).returncode


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cache", help="Folder for what outlives a lab.")
@click.option("--state", help="Folder of the running lab; removed by down.")
@click.option("--logs", help="The one folder for all logs.")
@click.pass_context
def main(context: click.Context, cache: str | None, state: str | None, logs: str | None) -> None:
    """A real Gerrit and a real Zuul on loopback that run this repository's jobs."""
    context.obj = places_from(os.environ, cache=cache, state=state, logs=logs)


@main.command()
@_scenario
@click.pass_obj
def prepare(places: Places, scenario: str) -> None:
    """Install and cache everything that is slow to get."""
    get_ready(places, os.environ, say, SCENARIOS[scenario][0]().wheels)


@main.command()
@_scenario
@click.pass_obj
def up(places: Places, scenario: str) -> None:
    """Start the lab and leave it running."""
    world = SCENARIOS[scenario][0]()
    if _inside():
        whole.up(places, world, os.environ, say)
        return
    get_ready(places, os.environ, say, world.wheels)
    sandbox.start(places)
    code = _again_inside(places, ["up", f"--scenario={scenario}"])
    if code:
        say(f"the lab did not come up; its logs are in {places.logs}")
        sandbox.stop(places)
        sys.exit(code)
    say(f"the lab runs; `python -m zuul_lab status` tells more, logs are in {places.logs}")


@main.command()
@click.option("--keep", is_flag=True, help="Leave the lab running afterwards, for a look around.")
@click.option("--on-running", is_flag=True, help="Tell it in the lab that runs already.")
@_scenario
@click.pass_obj
def test(places: Places, keep: bool, on_running: bool, scenario: str) -> None:
    """Start a lab, let it run the jobs on changes, check everything from outside, and take it down."""
    world, teller = SCENARIOS[scenario]
    if _inside():
        verdict = Verdict(say)
        lab = whole.join(places, world()) if on_running else whole.up(places, world(), os.environ, say)
        teller(lab, verdict, say).tell()
        sys.exit(verdict.summary(places.logs / "summary.json"))
    # An abort by a job's time limit must clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = 1
    try:
        if not on_running:
            get_ready(places, os.environ, say, world().wheels)
            sandbox.start(places)
        code = _again_inside(places, ["test", f"--scenario={scenario}", *(["--on-running"] if on_running else [])])
    finally:
        if not keep and not on_running:
            sandbox.stop(places)
        say(f"all logs are in {places.logs}")
    sys.exit(code)


@main.command()
@click.pass_obj
def down(places: Places) -> None:
    """End the lab; nothing of it is left but its logs."""
    say("the lab has ended" if sandbox.stop(places) else "no lab was running")


@main.command()
@click.pass_obj
def status(places: Places) -> None:
    """Say which services run."""
    if not _inside():
        if not sandbox.holder_pid(places):
            say(f"no lab runs in {places.state}")
            sys.exit(1)
        sys.exit(_again_inside(places, ["status"]))
    for name, service in services.known(places).items():
        click.echo(f"{name:20} {'runs' if service.alive() else 'ended':6} {service.log}")


@main.command(name="run", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run_inside(places: Places, words: tuple[str, ...]) -> None:
    """Run a program inside the lab, for a look around."""
    pid = sandbox.holder_pid(places)
    if not pid:
        say(f"no lab runs in {places.state}")
        sys.exit(1)
    sys.exit(subprocess.run(sandbox.argv_inside(pid, words), check=False).returncode)


def run() -> None:
    """The program: errors of ours become one line."""
    try:
        main(standalone_mode=True)
    except TopcoatError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    run()
