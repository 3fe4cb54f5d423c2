"""Faults of the machine under a step: a full disk, few descriptors, a clock that jumps, and two runs of one command at once.

It must never fill or limit more than the work folder and the process of its case.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.functional.faults import driver
from tests.functional.faults.matrix import STEPS, Case, Matrix, Step, Trouble, Verdict
from tests.functional.registry.faults import Fault

DISKS_KB = (64, 512, 2048, 6144)
DESCRIPTORS = (12, 24, 48, 96)
JUMPS = {"a year back": (-31_536_000.0, 0.0), "ten years ahead": (315_360_000.0, 0.0), "an hour at every tenth look": (0.0, 3600.0)}


@dataclass(frozen=True)
class MachineCase:
    """A step under a condition of the machine."""

    step: Step
    name: str
    amount: int = 0

    def __str__(self) -> str:
        return f"{self.step.name}: {self.name} {self.amount or ''}".strip()


def _trouble(name: str, codes: tuple[int, ...], words: tuple[str, ...]) -> Trouble:
    return Trouble(name, Fault(), "once", codes, words)


def cases() -> Iterator[MachineCase]:
    """Every condition for every step; two at once for those that write."""
    for step in STEPS:
        if step.others:
            continue
        yield from (MachineCase(step, "disk full", size) for size in DISKS_KB)
        yield from (MachineCase(step, "few descriptors", count) for count in DESCRIPTORS)
        if not step.name.startswith("gc"):  # its own clock is set already
            yield from (MachineCase(step, f"clock {name}") for name in JUMPS)
        if not step.reads:
            yield MachineCase(step, "two at once")


def run(matrix: Matrix, case: MachineCase) -> Verdict:
    """Carry one case out and judge it."""
    if case.name == "disk full":
        return _on_a_small_disk(matrix, case)
    if case.name == "two at once":
        return _twice(matrix, case)
    clock = JUMPS.get(case.name.removeprefix("clock "), (0.0, 0.0))
    ahead = clock[0] + case.step.conditions.ahead
    conditions = driver.Conditions(descriptors=case.amount, ahead=ahead, jump=clock[1])
    codes, words = ((0,), ()) if case.name.startswith("clock") else ((0, 3), ("too many files", "open files", "Too many open files"))
    return _one(matrix, case, conditions, codes, words)


def _one(matrix: Matrix, case: MachineCase, conditions: driver.Conditions, codes: tuple[int, ...], words: tuple[str, ...]) -> Verdict:
    site, step = matrix.site, case.step
    matrix.restore(step)
    before, floating = site.show(), site.floating()
    work = matrix.work()
    code, said, errors = site.run(*step.words(site, str(site.directory / work)), work=work, conditions=conditions)
    shown = Case(step, _trouble(case.name, codes, words), "machine", f"{case.amount or ''}", 1)
    problems = matrix.judge(shown, code, said, errors, before, floating, fired=True)
    problems += matrix.again(step, work)
    return Verdict(shown, "wrong" if problems else "fine" if code == 0 else "told", code, problems)


def _on_a_small_disk(matrix: Matrix, case: MachineCase) -> Verdict:
    """The work folder on a file system of its own, so large; the rerun has room."""
    site = matrix.site
    work = f"work-{case.step.name.replace(' ', '-').replace(':', '')}-{case.amount}"
    place = site.directory / work
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={case.amount}k", "tmpfs", str(place)], check=True)
    try:
        matrix.restore(case.step)
        before, floating = site.show(), site.floating()
        code, said, errors = site.run(*case.step.words(site, str(place)), work=work)
        shown = Case(case.step, _trouble(case.name, (0, 3), ("disk is full", "No space left")), "machine", f"{case.amount} kB", 1)
        problems = matrix.judge(shown, code, said, errors, before, floating, fired=True)
        subprocess.run(["mount", "-o", "remount,size=256m", str(place)], check=True)
        problems += matrix.again(case.step, work)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    return Verdict(shown, "wrong" if problems else "fine" if code == 0 else "told", code, problems)


def _twice(matrix: Matrix, case: MachineCase) -> Verdict:
    """Two of them, from two folders: both end well, or one says that the other is at it; what the registry shows is that of one run."""
    site, step = matrix.site, case.step
    matrix.restore(step)
    before, floating = site.show(), site.floating()
    works = [matrix.work(), matrix.work()]
    running = [
        driver.start(site.words(*step.words(site, str(site.directory / work)), work=work), site.directory / f"{work}-said", step.conditions)
        for work in works
    ]
    codes = [one.wait(120) for one in running]
    shown = Case(step, _trouble(case.name, (0, 1, 3), ("",)), "machine", "", 1)
    problems = [] if 0 in codes else [f"neither ended well: {codes}"]
    for one, code in zip(running, codes, strict=True):
        said, errors = one.out.read_text(), one.errors.read_text()
        if code is None:
            one.kill()
            problems.append("no end within two minutes")
        elif code == 1 and not (step.name == "roll back" and "no set before" in errors):
            problems.append(f"a content error for two at once: {errors}")
        else:
            problems += matrix.judge(shown, code, said, errors, before, floating, fired=True)
    problems += matrix.again(step, works[0])
    return Verdict(shown, "wrong" if problems else "told" if any(codes) else "fine", max(code or 0 for code in codes), problems)
