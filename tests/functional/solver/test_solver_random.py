"""Over generated repositories and images the solver's answer equals dnf's own, also where the answer is "impossible"."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.functional.solver.support import Bench, SolverTestCase, _lists
from topcoat.errors import ContentError
from topcoat.model import Repository
from topcoat.rpm import evr, inventory
from topcoat_demo.rpms import RpmSpec

# The same examples each time, so that a change is not blamed for what it did not do; set the variable to look for new ones.
FIXED = "TOPCOAT_EXPLORE" not in os.environ
NAMES = ("alpha", "beta", "gamma", "delta", "eps")
VERSIONS = ("1.0", "1.9", "1.10", "2.0~rc1", "2.0")


def dependencies(name: str) -> st.SearchStrategy[tuple[str, ...]]:
    others = st.sampled_from([other for other in NAMES if other != name])
    versioned = st.builds("{} {} {}".format, others, st.sampled_from((">=", "<=", "=", "<")), st.sampled_from(VERSIONS))
    return st.lists(st.one_of(others, versioned), max_size=2, unique=True).map(tuple)


@st.composite
def packages(draw, *, plain: bool = False) -> RpmSpec:
    name = draw(st.sampled_from(NAMES))
    few = st.booleans() if not plain else st.just(False)
    return RpmSpec(
        name,
        draw(st.sampled_from(VERSIONS)),
        "1.el9",
        epoch=draw(st.sampled_from((0, 0, 0, 1))),
        arch=draw(st.sampled_from(("noarch", "noarch", "x86_64"))),
        requires=draw(dependencies(name)) if draw(few) else (),
        obsoletes=draw(dependencies(name))[:1] if draw(few) and draw(few) else (),
        conflicts=draw(dependencies(name))[:1] if draw(few) and draw(few) else (),
        provides=("virtual",) if draw(few) else (),
    )


def meets(spec: RpmSpec, dependency: str) -> bool:
    name, _, condition = dependency.partition(" ")
    if name != spec.name or not condition:
        return name == spec.name
    operator, version = condition.split()
    order = evr.compare(f"{spec.epoch}:{spec.version}", version)
    return {"<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0}[operator]


def consistent(specs: list[RpmSpec]) -> list[RpmSpec]:
    """The same packages as rpm would have let them be installed together: no requirement open, no conflict, nothing obsoleted."""
    return [
        spec.bump(
            requires=tuple(text for text in spec.requires if any(meets(other, text) for other in specs)),
            conflicts=tuple(text for text in spec.conflicts if not any(meets(other, text) for other in specs)),
            obsoletes=tuple(text for text in spec.obsoletes if not any(meets(other, text) for other in specs)),
        )
        for spec in specs
    ]


REPOSITORY = st.fixed_dictionaries(
    {
        "specs": st.lists(packages(), min_size=1, max_size=6, unique_by=lambda spec: spec.nevra),
        "priority": st.sampled_from((99, 99, 50, 10)),
        "updates": st.booleans(),
        "excludepkgs": st.sampled_from(((), (), (), ("alpha",), ("*a",), ("beta-1.*",))),
        "includepkgs": st.sampled_from(((), (), (), ("*[!s]",), ("alpha", "beta*", "gamma.noarch"))),
    }
)
INSTALLED = st.lists(packages(), min_size=1, max_size=5, unique_by=lambda spec: spec.name).map(consistent)
GATED = st.lists(packages(), max_size=3, unique_by=lambda spec: spec.nevra)


def repositories(bench: Bench, repos: list[dict], gated: list[RpmSpec]) -> list[Repository]:
    """Those of a profile, the one of gated packages ahead of them where there are any."""
    made = [bench.repository(f"repo{number}", **options) for number, options in enumerate(repos)]
    return [bench.repository("gating", gated, priority=1, gated=True), *made] if gated else made


class RandomRepositories(SolverTestCase):
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize=FIXED)
    @given(installed=INSTALLED, repos=st.lists(REPOSITORY, min_size=1, max_size=3), gated=GATED)
    def test_solver_equals_dnf(self, installed: list[RpmSpec], repos: list[dict], gated: list[RpmSpec]) -> None:
        with tempfile.TemporaryDirectory(prefix="topcoat-random-") as folder:
            bench = Bench(Path(folder))
            made = repositories(bench, repos, gated)
            root = bench.root(installed)
            found = inventory.from_root(root)
            solver = self.solver(*made, bench=bench)
            request = solver.request(found)
            note(f"installed: {[spec.nevra for spec in installed]}")
            note(f"request: {request}")
            if not request:
                self.assertEqual(solver.changes(found), ())
                return
            theirs = self.ask_dnf(
                root,
                made,
                bench,
                upgrade=list(request.upgrade),
                install=list(map(str, request.install)),
                reinstall=list(map(str, request.reinstall)),
            )
            try:
                ours = _lists(solver.changes(found))
            except ContentError as error:
                note(str(error))
                self.assertIn("error", theirs)
                return
            self.assertEqual(ours, theirs)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize=FIXED)
    @given(installed=INSTALLED, repos=st.lists(REPOSITORY, min_size=1, max_size=3), gated=GATED)
    def test_indexing_only_what_matters_changes_nothing(self, installed: list[RpmSpec], repos: list[dict], gated: list[RpmSpec]) -> None:
        with tempfile.TemporaryDirectory(prefix="topcoat-random-") as folder:
            bench = Bench(Path(folder))
            made = repositories(bench, repos, gated)
            found = inventory.from_root(bench.root(installed))
            answers = []
            for many in (0, 1000):
                try:
                    answers.append(self.solver(*made, bench=bench, many=many).changes(found))
                except ContentError as error:
                    answers.append(type(error))
            self.assertEqual(*answers)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize=FIXED)
    @given(
        installed=st.one_of(st.just([]), INSTALLED),
        repos=st.lists(REPOSITORY, min_size=1, max_size=2),
        names=st.sets(st.sampled_from(NAMES), min_size=1),
    )
    def test_install_equals_dnf(self, installed: list[RpmSpec], repos: list[dict], names: set[str]) -> None:
        """The packages of a new image: names, on nothing or on a parent's packages."""
        with tempfile.TemporaryDirectory(prefix="topcoat-random-") as folder:
            bench = Bench(Path(folder))
            made = [bench.repository(f"repo{number}", **options) for number, options in enumerate(repos)]
            root = bench.root(installed)
            found = inventory.from_root(root) if installed else None
            theirs = self.ask_dnf(root, made, bench, names=sorted(names))
            note(f"installed: {[spec.nevra for spec in installed]} names: {sorted(names)}")
            try:
                ours = _lists(self.solver(*made, bench=bench).resolve_install(names, found))
            except ContentError as error:
                note(str(error))
                self.assertIn("error", theirs)
                return
            self.assertEqual(ours, theirs)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize=FIXED)
    @given(installed=INSTALLED, repos=st.lists(REPOSITORY, min_size=1, max_size=2))
    def test_request_misses_nothing(self, installed: list[RpmSpec], repos: list[dict]) -> None:
        """Where every repository is a reason for updates, the request for names gives what ``dnf upgrade`` of everything gives."""
        with tempfile.TemporaryDirectory(prefix="topcoat-random-") as folder:
            bench = Bench(Path(folder))
            made = [bench.repository(f"repo{number}", **{**options, "updates": True}) for number, options in enumerate(repos)]
            root = bench.root(installed)
            found = inventory.from_root(root)
            solver = self.solver(*made, bench=bench)
            note(f"installed: {[spec.nevra for spec in installed]} request: {solver.request(found)}")
            theirs = self.ask_dnf(root, made, bench, everything=True)
            try:
                ours = _lists(solver.changes(found))
            except ContentError as error:
                note(str(error))
                self.assertIn("error", theirs)
                return
            self.assertEqual(ours, theirs)
