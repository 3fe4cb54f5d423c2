"""Module streams: which packages dnf hides because they belong to a stream that is not active, or compete with one that is.

This module must never guess a stream: active are the streams named by the caller and, of modules he does not name, the default streams.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solv
import yaml

from topcoat.errors import ContentError, UsageError
from topcoat.model import Nevra
from topcoat.process.files import write_whole
from topcoat.rpm import compression
from topcoat.rpm.catalogue import Catalogue
from topcoat.rpm.repositories import FrozenRepository, Snapshot

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Stream:
    """One build of a module stream (modulemd version 2): its packages, and the streams of other modules that it needs (any of each)."""

    name: str
    stream: str
    version: int
    artifacts: frozenset[str]
    requires: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Streams:
    """All builds of all modules, and the default stream of each module that has one."""

    builds: tuple[Stream, ...]
    defaults: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.builds)


def read(snapshot: Snapshot) -> Streams:
    """The modules that the repositories of a view describe.

    :raises ContentError: module metadata is corrupt.
    """
    builds: list[Stream] = []
    defaults: dict[str, str] = {}
    for frozen in snapshot.repositories:
        found = _of_repository(frozen)
        for entry in found["builds"]:
            requires = tuple((other, tuple(wanted)) for other, wanted in entry["requires"])
            builds.append(Stream(entry["name"], entry["stream"], entry["version"], frozenset(entry["artifacts"]), requires))
        defaults.update(found["defaults"])
    return Streams(tuple(builds), tuple(sorted(defaults.items())))


def _of_repository(frozen: FrozenRepository) -> dict[str, Any]:
    """The same as data; parsing YAML takes long, so the result is kept beside the frozen repository."""
    path = frozen.metadata("modules")
    if path is None:
        return {"builds": [], "defaults": {}}
    cache = frozen.directory.with_name(f"{frozen.directory.name}.v1.modules.json")
    if cache.exists():
        try:
            kept: dict[str, Any] = json.loads(cache.read_bytes())
            return kept
        except ValueError:
            pass
    try:
        found = parse(_text(path))
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, *compression.ERRORS) as error:
        raise ContentError(
            f"repository {frozen.id}: module metadata {path.name} is corrupt: {error!r}", next_step="have the repository's metadata made again"
        ) from error
    write_whole(cache, json.dumps(found))
    return found


def parse(text: bytes) -> dict[str, Any]:
    """The modulemd (version 2) and modulemd-defaults documents of a modules.yaml."""
    builds = []
    defaults: dict[str, str] = {}
    for document in yaml.load_all(text, Loader=_Loader):
        data = document.get("data", {}) if isinstance(document, Mapping) else {}
        if document and document.get("document") == "modulemd" and document.get("version") == 2:
            builds.append(
                {
                    "name": str(data["name"]),
                    "stream": str(data["stream"]),
                    "version": int(data.get("version", 0)),
                    "artifacts": [str(text) for text in (data.get("artifacts") or {}).get("rpms") or ()],
                    "requires": _requires(data.get("dependencies") or ()),
                }
            )
        elif document and document.get("document") == "modulemd-defaults" and "stream" in data:
            defaults[str(data["module"])] = str(data["stream"])
    return {"builds": builds, "defaults": defaults}


def _requires(dependencies: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    # The platform is the distribution itself, which the repositories were chosen for.
    return [
        [str(name), [str(stream) for stream in streams or ()]]
        for entry in dependencies
        for name, streams in (entry.get("requires") or {}).items()
        if name != "platform"
    ]


def _text(path: Path) -> bytes:
    with path.open("rb") as stream:
        return compression.opened(stream).read()


def active(streams: Streams, enabled: Sequence[str] = ()) -> tuple[Stream, ...]:
    """The builds that are active: of each module the enabled stream, else the default one, in its newest version, if its own needs are active.

    :param enabled: ``name:stream``.
    :raises UsageError: an enabled stream is malformed or does not exist.
    """
    chosen = dict(streams.defaults)
    existing = {(build.name, build.stream) for build in streams.builds}
    for text in enabled:
        name, colon, stream = text.partition(":")
        if not colon or (name, stream) not in existing:
            raise UsageError(f"no repository has the module stream {text!r}", next_step="write name:stream of a module that exists")
        chosen[name] = stream
    newest: dict[tuple[str, str], int] = {}
    for build in streams.builds:
        key = (build.name, build.stream)
        newest[key] = max(build.version, newest.get(key, build.version))
    found = [build for build in streams.builds if chosen.get(build.name) == build.stream and build.version == newest[build.name, build.stream]]
    while True:
        names = {(build.name, build.stream) for build in found}
        satisfied = [
            build
            for build in found
            if all(any(name == other and (not wanted or stream in wanted) for other, stream in names) for name, wanted in build.requires)
        ]
        if len(satisfied) == len(found):
            return tuple(found)
        found = satisfied


def filtered(usable: Sequence[solv.XSolvable], catalogue: Catalogue, streams: Streams, enabled: Sequence[str] = ()) -> list[solv.XSolvable]:
    """The packages that are left: not those of inactive streams, and none that has or provides the name of an active stream's package.

    Packages of repositories with ``module_hotfixes`` are never hidden.
    """
    running = active(streams, enabled)
    included = {artifact for build in running for artifact in build.artifacts}
    excluded = {artifact for build in streams.builds for artifact in build.artifacts} - included
    names = {Nevra.parse(artifact).name for artifact in included if not artifact.endswith((".src", ".nosrc"))}

    def stays(solvable: solv.XSolvable) -> bool:
        if catalogue.repository(solvable.id).module_hotfixes:
            return True
        nevra = catalogue.nevra(solvable.id)
        full = f"{nevra.name}-{nevra.full_evr}.{nevra.arch}"
        if full in included:
            return True
        if full in excluded or nevra.name in names:
            return False
        return not any(str(provided).partition(" ")[0] in names for provided in solvable.lookup_deparray(solv.SOLVABLE_PROVIDES))

    return [solvable for solvable in usable if stays(solvable)]
