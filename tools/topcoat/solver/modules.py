"""Module streams: which packages dnf hides because they belong to a stream that is not active, or compete with one that is.

This module must never guess a stream: what is active follows from the image's own state, the defaults of the repositories, and what modules require.

The rules are those of libdnf (``ModulePackageContainer``): enabled streams and, of modules without state, default ones are wanted; a solver takes
what can be had of them, and of what it takes every version of that stream and context is active.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solv
import yaml

from topcoat.errors import ContentError, UsageError, machine_error
from topcoat.model import Nevra
from topcoat.process.files import write_whole
from topcoat.rpm import compression
from topcoat.rpm.settings import Settings
from topcoat.yum.repositories import FrozenRepository, Snapshot

# Every scalar is text, as for libmodulemd: a stream 5.30 or 9.10 that nobody quoted is no number.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_CACHE_VERSION = 3
_TRUE = ("true", "yes", "on", "1")
FAIL_SAFE_ID = "@modulefailsafe"
_MAX_PLAIN = 128 << 20
"""Bytes of a plain modules.yaml; Fedora's has 20 million. What its aliases stand for counts as if it were written out."""


@dataclass(frozen=True)
class Build:
    """One build of a module stream (modulemd version 2).

    ``artifacts`` are its packages, ``demodularized`` names that it gave up, ``requires`` per block of dependencies the streams of other modules (any
    of each; ``-1.0`` is one that it must not meet). ``is_static``: its context is a name, and does not follow from what it requires.
    """

    name: str
    stream: str
    version: int
    context: str
    arch: str
    artifacts: frozenset[str]
    demodularized: frozenset[str]
    requires: tuple[tuple[str, tuple[str, ...]], ...]
    is_static: bool
    repository: str


@dataclass(frozen=True)
class Default:
    """A default that a repository names; ``stream`` is empty where it names none. ``modified`` orders two of one module, the later one counts."""

    module: str
    stream: str
    modified: int


@dataclass(frozen=True)
class Streams:
    """All builds of all modules that the repositories of a view describe, and their defaults."""

    builds: tuple[Build, ...]
    defaults: tuple[Default, ...]


@dataclass(frozen=True)
class Activity:
    """What is active in an image: ``included`` and ``excluded`` packages as name-epoch:version-release.arch, ``names`` that belong to active streams.

    ``fail_safe`` names enabled streams whose metadata only the image itself still has, ``names_kept_safe`` the names of their packages, ``lost`` the
    enabled streams that nobody describes any more.
    """

    included: frozenset[str]
    excluded: frozenset[str]
    names: frozenset[str]
    fail_safe: tuple[str, ...] = ()
    names_kept_safe: frozenset[str] = frozenset()
    lost: tuple[str, ...] = ()

    def hides(self, package: Nevra, provided: Iterable[str]) -> bool:
        """Whether an available package that is not in a hotfix repository is hidden.

        :param provided: the names that it provides.
        """
        full = f"{package.name}-{package.full_evr}.{package.arch}"
        if full in self.included:
            return False
        return full in self.excluded or package.name in self.names or not self.names.isdisjoint(provided)


def read(snapshot: Snapshot) -> Streams:
    """The modules that the repositories of a view describe.

    :raises ContentError: module metadata is corrupt.
    """
    builds: list[Build] = []
    defaults: list[Default] = []
    for frozen in snapshot.repositories:
        found = _of_repository(frozen)
        builds += _builds(found, frozen.id)
        defaults += _defaults(found)
    return Streams(tuple(builds), tuple(defaults))


def _builds(found: Mapping[str, Any], repository: str) -> list[Build]:
    return [
        Build(
            entry["name"],
            entry["stream"],
            entry["version"],
            entry["context"],
            entry["arch"],
            frozenset(entry["artifacts"]),
            frozenset(entry["demodularized"]),
            tuple((name, tuple(streams)) for name, streams in entry["requires"]),
            entry["static"],
            repository,
        )
        for entry in found["builds"]
    ]


def _defaults(found: Mapping[str, Any]) -> list[Default]:
    return [Default(*entry) for entry in found["defaults"]]


def _of_repository(frozen: FrozenRepository) -> dict[str, Any]:
    """The same as data; parsing YAML takes long, so the result is kept beside the frozen repository."""
    path = frozen.metadata("modules")
    if path is None:
        return {"builds": [], "defaults": []}
    cache = frozen.directory.with_name(f"{frozen.directory.name}.v{_CACHE_VERSION}.modules.json")
    if cache.exists():
        try:
            kept: dict[str, Any] = json.loads(cache.read_bytes())
            return kept
        except ValueError:
            pass
    try:
        found = parse(_text(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError, yaml.YAMLError, *compression.ERRORS) as error:
        if machine_error(error):
            raise
        raise ContentError(
            f"repository {frozen.id}: module metadata {path.name} is corrupt: {error}", next_step="have the repository's metadata made again"
        ) from error
    write_whole(cache, json.dumps(found))
    return found


def parse(text: bytes | str) -> dict[str, Any]:
    """The modulemd (versions 1 and 2) and modulemd-defaults documents of a modules.yaml."""
    builds = []
    defaults = []
    written_out = 0
    for document in yaml.load_all(text, Loader=_Loader):
        written_out += _size(document, {})
        if written_out > _MAX_PLAIN:
            raise ValueError(f"its aliases stand for more than {_MAX_PLAIN} bytes")
        data = document.get("data", {}) if isinstance(document, Mapping) else {}
        kind = (document.get("document"), document.get("version")) if isinstance(document, Mapping) else None
        if kind in (("modulemd", "1"), ("modulemd", "2")):
            builds.append(
                {
                    "name": str(data["name"]),
                    "stream": str(data["stream"]),
                    "version": int(data.get("version") or 0),
                    "context": str(data.get("context") or ""),
                    "arch": str(data.get("arch") or "noarch"),
                    "artifacts": _packages((data.get("artifacts") or {}).get("rpms") or ()),
                    "demodularized": [str(name) for name in (data.get("demodularized") or {}).get("rpms") or ()],
                    "requires": _requires(data.get("dependencies") or ()),
                    "static": str(data.get("static_context", "")).lower() in _TRUE,
                }
            )
        elif kind == ("modulemd-defaults", "1"):
            defaults.append([str(data["module"]), str(data.get("stream") or ""), int(data.get("modified") or 0)])
    return {"builds": builds, "defaults": defaults}


def _size(value: object, known: dict[int, int]) -> int:
    """About how long a value is when every alias in it is written out; in proportion to what is there, not to that.

    :param known: sizes of what was met, by identity.
    """
    if not isinstance(value, list | dict):
        return len(value) + 1 if isinstance(value, str) else 8
    size = known.get(id(value))
    if size is None:
        known[id(value)] = _MAX_PLAIN + 1  # met again inside itself, it has no end
        parts = (part for pair in value.items() for part in pair) if isinstance(value, dict) else iter(value)
        size = known[id(value)] = 2 + sum(_size(part, known) for part in parts)
    return size


def _packages(artifacts: Iterable[object]) -> list[str]:
    """With epoch, as they are compared; what names no package counts for nothing, as in dnf."""
    found = []
    for text in artifacts:
        try:
            nevra = Nevra.parse(str(text))
        except UsageError:
            continue
        found.append(f"{nevra.name}-{nevra.full_evr}.{nevra.arch}")
    return found


def _requires(dependencies: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> list[list[Any]]:
    blocks = [dependencies] if isinstance(dependencies, Mapping) else dependencies
    return [
        [str(name), [str(stream) for stream in (streams if isinstance(streams, list) else [streams] if streams is not None else [])]]
        for entry in blocks
        for name, streams in (entry.get("requires") or {}).items()
    ]


def _text(path: Path) -> bytes:
    with path.open("rb") as stream:
        plain = compression.opened(stream).read(_MAX_PLAIN + 1)
    if len(plain) > _MAX_PLAIN:
        raise ValueError(f"it holds more than {_MAX_PLAIN} bytes")
    return plain


def activity(streams: Streams, settings: Settings, *, arch: str, platform: str | None) -> Activity:
    """Which packages an image's module state lets in and which it hides.

    :param arch: RPM architecture of the image.
    :param platform: ``platform:el9``; None: nobody knows, so no module that requires one can be had.
    """
    builds, fail_safe, lost = _with_fail_safe(streams, settings)
    running = set(_active(builds, _default_streams(streams, settings), settings, arch, platform))
    included = {artifact for number in running for artifact in builds[number].artifacts}
    excluded = {artifact for build in builds for artifact in build.artifacts} - included
    given_up = _given_up(builds, running)
    names, safe = set(), set()
    for number in running:
        build = builds[number]
        for artifact in build.artifacts:
            name = Nevra.parse(artifact).name
            if not artifact.endswith((".src", ".nosrc")) and name not in given_up.get((build.name, build.stream, build.arch), ()):
                names.add(name)
                if build.repository == FAIL_SAFE_ID:
                    safe.add(name)
    return Activity(frozenset(included), frozenset(excluded), frozenset(names), fail_safe, frozenset(safe), lost)


def _with_fail_safe(streams: Streams, settings: Settings) -> tuple[list[Build], tuple[str, ...], tuple[str, ...]]:
    """The builds of the repositories, and of enabled streams that they no longer describe those that dnf kept in the image."""
    builds = list(streams.builds)
    known = {(build.name, build.stream) for build in builds}
    kept: list[str] = []
    lost: list[str] = []
    for state in settings.modules:
        if state.state != "enabled" or not state.stream or (state.name, state.stream) in known:
            continue
        prefix = f"{state.name}:{state.stream}:"
        found: list[Build] = []
        for name, text in settings.fail_safe:
            if name.startswith(prefix):
                try:
                    found += _builds(parse(text.encode("utf-8", "surrogateescape")), FAIL_SAFE_ID)
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
                    continue  # as dnf: what cannot be read is not there
        (kept if found else lost).append(prefix[:-1])
        builds += found
    return builds, tuple(kept), tuple(lost)


def _default_streams(streams: Streams, settings: Settings) -> dict[str, str]:
    """Module → default stream: the last modified document counts, two that disagree make none, the image's own win."""
    found = _merged(streams.defaults)
    own: list[Default] = []
    for _, text in settings.defaults:
        try:
            own += _defaults(parse(text.encode("utf-8", "surrogateescape")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
            continue
    found.update(_merged(own))
    return {module: stream for module, stream in found.items() if stream}


def _merged(defaults: Iterable[Default]) -> dict[str, str]:
    by_module: dict[str, list[Default]] = defaultdict(list)
    for default in defaults:
        by_module[default.module].append(default)
    merged = {}
    for module, entries in by_module.items():
        newest = max(entry.modified for entry in entries)
        named = {entry.stream for entry in entries if entry.modified == newest and entry.stream}
        merged[module] = named.pop() if len(named) == 1 else ""
    return merged


def _given_up(builds: Sequence[Build], running: set[int]) -> dict[tuple[str, str, str], set[str]]:
    """Names that the newest active builds no longer count as theirs."""
    newest: dict[tuple[str, str, str, str], int] = {}
    for number in running:
        build = builds[number]
        key = (build.name, build.stream, build.context, build.arch)
        newest[key] = max(build.version, newest.get(key, build.version))
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for number in running:
        build = builds[number]
        if build.version == newest[build.name, build.stream, build.context, build.arch]:
            found[build.name, build.stream, build.arch] |= build.demodularized
    return found


def _active(builds: Sequence[Build], defaults: Mapping[str, str], settings: Settings, arch: str, platform: str | None) -> list[int]:
    """Which builds are active, by their place in the list."""
    states = {state.name: state for state in settings.modules}
    enabled, optional, disabled = [], [], set()
    for number, build in enumerate(builds):
        state = states.get(build.name)
        if state is not None and state.state == "disabled":
            disabled.add(number)
        elif state is not None and state.state == "enabled":
            if state.stream == build.stream:
                enabled.append(number)
        elif defaults.get(build.name) == build.stream:
            optional.append(number)
    if not enabled and not optional:
        return []
    pool = _ModulePool(builds, arch, platform)
    wanted_streams = [(f"module({builds[number].name}:{builds[number].stream})", number in optional) for number in sorted([*enabled, *optional])]
    chosen = pool.solve(dict.fromkeys(wanted_streams), disabled)
    return [number for number in range(len(builds)) if pool.names[number] in chosen]


class _ModulePool:
    """The builds as packages of a libsolv pool of their own, as in libdnf: named ``module:stream:context``, one stream of a module at most."""

    def __init__(self, builds: Sequence[Build], arch: str, platform: str | None) -> None:
        self._pool = solv.Pool()
        self._pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        self._pool.setarch(arch)
        self.names = _solvable_names(builds)
        self._ids: list[int] = []
        repos: dict[str, solv.Repo] = {}
        for build, name in zip(builds, self.names, strict=True):
            if build.repository not in repos:
                repos[build.repository] = self._pool.add_repo(build.repository)
            solvable = repos[build.repository].add_solvable()
            self._describe(solvable, name, str(build.version), build.arch, build.name, build.stream)
            for other, streams in build.requires:
                self._require(solvable, other, streams)
            self._ids.append(solvable.id)
        self._installed: list[int] = []
        if platform is not None:
            system = self._pool.add_repo("@System")
            solvable = system.add_solvable()
            name, _, stream = platform.partition(":")
            self._describe(solvable, f"{platform}:00000000", "0", "noarch", name, stream)
            self._pool.installed = system
            self._installed = [solvable.id]

    def _describe(self, solvable: solv.XSolvable, full: str, version: str, arch: str, name: str, stream: str) -> None:
        solvable.name, solvable.evr, solvable.arch = full, version, arch
        module = self._pool.str2id(f"module({name})")
        solvable.add_provides(module)
        solvable.add_provides(self._pool.str2id(f"module({name}:{stream})"))
        solvable.add_conflicts(module)

    def _require(self, solvable: solv.XSolvable, other: str, streams: Sequence[str]) -> None:
        needed = []
        for stream in streams:
            if "-" in stream:  # as libdnf takes it: anywhere in the name, and its first character is the sign
                solvable.add_conflicts(self._pool.str2id(f"module({other}:{stream[1:]})"))
            else:
                needed.append(f"module({other}:{stream})")
        if not needed:
            solvable.add_requires(self._pool.str2id(f"module({other})"))
        elif len(needed) == 1:
            solvable.add_requires(self._pool.str2id(needed[0]))
        else:
            solvable.add_requires(self._pool.parserpmrichdep(f"({' or '.join(needed)})"))

    def solve(self, wanted: Iterable[tuple[str, bool]], disabled: set[int]) -> set[str]:
        """Names of what can be had of the wanted capabilities; optional ones yield.

        Four attempts, each more lenient, as libdnf makes them: everything in its newest version; without defaults that do not fit; also older
        versions; without what is in conflict.
        """
        wanted = list(wanted)
        self._consider(disabled)
        for strict, best in ((True, True), (False, True), (False, False)):
            solver, problems = self._run([(name, optional and not strict) for name, optional in wanted], best=best)
            if not problems:
                return self._taken(solver)
        numbers = {number for number, identity in enumerate(self._ids) if identity in self._in_conflict(problems)}
        self._consider(disabled | numbers)
        solver, problems = self._run([(name, True) for name, _ in wanted], best=False)
        return set() if problems else self._taken(solver)

    def _consider(self, without: set[int]) -> None:
        self._pool.set_considered_list([*self._installed, *(identity for number, identity in enumerate(self._ids) if number not in without)])
        self._pool.createwhatprovides()

    def _run(self, wanted: Iterable[tuple[str, bool]], *, best: bool) -> tuple[solv.Solver, list[solv.Problem]]:
        how = solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_SOLVABLE_PROVIDES | (solv.Job.SOLVER_FORCEBEST if best else 0)
        solver = self._pool.Solver()
        for flag in (
            solv.Solver.SOLVER_FLAG_ALLOW_VENDORCHANGE,
            solv.Solver.SOLVER_FLAG_KEEP_ORPHANS,
            solv.Solver.SOLVER_FLAG_BEST_OBEY_POLICY,
            solv.Solver.SOLVER_FLAG_YUM_OBSOLETES,
            solv.Solver.SOLVER_FLAG_ALLOW_DOWNGRADE,
        ):
            solver.set_flag(flag, 1)
        jobs = [self._pool.Job(how | (solv.Job.SOLVER_WEAK if optional else 0), self._pool.str2id(name)) for name, optional in wanted]
        return solver, solver.solve(jobs)

    def _taken(self, solver: solv.Solver) -> set[str]:
        return {solvable.name for solvable in solver.transaction().newsolvables()}

    @staticmethod
    def _in_conflict(problems: Iterable[solv.Problem]) -> set[int]:
        kinds = (solv.Solver.SOLVER_RULE_PKG_CONFLICTS, solv.Solver.SOLVER_RULE_PKG_SELF_CONFLICT, solv.Solver.SOLVER_RULE_PKG_SAME_NAME)
        return {
            package.id
            for problem in problems
            for rule in problem.findallproblemrules()
            for info in rule.allinfos()
            if info.type in kinds
            for package in (info.solvable, info.othersolvable)
            if package is not None
        }


def _solvable_names(builds: Sequence[Build]) -> list[str]:
    """``module:stream:context``. A context that follows from what a build requires is named by that, so that versions of one stream are one package;
    where a static context of the stream requires the same, by that.
    """
    static: dict[tuple[str, str, str], str] = {}
    for build in builds:
        if build.is_static:
            static.setdefault((build.name, build.stream, _needs(build)), build.context)
    names = []
    for build in builds:
        context = build.context
        if not build.is_static:
            needs = _needs(build)
            context = static.get((build.name, build.stream, needs), needs or "NoRequires")
        names.append(f"{build.name}:{build.stream}:{context}")
    return names


def _needs(build: Build) -> str:
    return ";".join(sorted(f"{name}:[{','.join(sorted(streams))}]" if streams else name for name, streams in build.requires if name != "platform"))
