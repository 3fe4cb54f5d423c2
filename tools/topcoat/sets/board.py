"""The promotion board as plain data: streams with their sets, and for each set, each step between two and each package that moved a document.

This module must never write into the registry, and never let one set that cannot be read keep the others from being shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from topcoat.errors import ContentError, TopcoatError, UsageError
from topcoat.model import Profile, labels
from topcoat.process.each import each
from topcoat.process.files import write_whole
from topcoat.promotion.promotion import Promotable
from topcoat.promotion.standing import PHASES, WAITING, SetStanding, Stream, neighbours
from topcoat.registry import Registries
from topcoat.registry.attached import SIGNATURES, Attached
from topcoat.report import board as report
from topcoat.report import pages
from topcoat.runs.references import StoredImage
from topcoat.sets import comparison, streams
from topcoat.sets.architectures import WantedPart, look
from topcoat.sets.holdings import Held, RecordedSet, Step, timeline
from topcoat.sets.named import NamedSet, find
from topcoat.sets.reading import SetReader
from topcoat.sets.skew import Skew, skews
from topcoat.trunk import Criteria, DlrnApi, load_criteria

__all__ = ["SCHEMA", "BoardOptions", "Documents", "Promotable", "collect", "made"]

SCHEMA = "https://topcoat.dev/schemas/board/1"
_PARALLEL = 12
_BUNDLES = "application/vnd.dev.sigstore.bundle"


@dataclass(frozen=True)
class BoardOptions:
    """What the board is made of."""

    rules: Mapping[str, Criteria] = field(default_factory=dict)
    api: DlrnApi | None = None
    """Asked for candidates and votes; None: the history alone is shown."""
    zuul: str = ""
    """Address of the tenant's pages in Zuul's web interface."""
    newest: int = 100
    """So many entries of the history of each name are read."""
    images: Sequence[str] = ()
    """Of the recipes: a set that waits is looked for under its tag."""
    wanted: Sequence[WantedPart] = ()
    """What each architecture has of a set; empty: the site has one architecture."""


@dataclass
class Documents:
    """What the pages are made of. Keys are (stream, source), (stream, source before, source) and (stream, source package)."""

    board: dict[str, Any]
    sets: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    changes: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    packages: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


def collect(
    options: BoardOptions, reader: SetReader, registries: Registries, profile: Profile, *, say: Callable[[str], None] = lambda line: None
) -> Documents:
    """Read the registry, and DLRN where it is asked.

    :raises TopcoatError: the registry or the records in it cannot be read.
    """
    found = Documents({"schema": SCHEMA, "time": round(time.time(), 3), "place": profile.place, "profile": profile.name, "phases": PHASES})
    found.board |= {"dlrn": options.api.url if options.api else "", "zuul": options.zuul}
    found.board["architectures"] = [one.architecture.name for one in options.wanted]
    all_streams = streams.read(registries, profile, newest=options.newest, rules=options.rules, api=options.api, say=say)
    found.board["streams"] = [_StreamMaker(stream, options, reader, registries, profile, found, say).made() for stream in all_streams]
    return found


def made(
    promotable: Promotable,
    *,
    work: Path,
    criteria: Path | None,
    dlrn: str | None,
    zuul: str,
    newest: int,
    wanted: Sequence[WantedPart],
    output: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write the board into a folder, the first page last, so that it never leads to a page that is not there yet; its document.

    :param criteria: file of promotion criteria; None: that of the profile, where there is one.
    :param wanted: what each architecture has of a set; empty: the site has one architecture.
    :raises TopcoatError: as of ``collect``, or a file cannot be read.
    """
    if zuul and not pages.safe_url(zuul):
        raise UsageError(f"--zuul wants an address, not {zuul!r}", next_step="write https://zuul.example.org/t/TENANT")
    registries, profile = promotable.registries, promotable.profile
    path = criteria or promotable.criteria
    rules = load_criteria(path) if criteria or path.is_file() else {}
    if dlrn and not rules:
        raise UsageError("with --dlrn the names of candidates are needed", next_step="give --criteria too, or write criteria/PROFILE.yaml")
    reader = SetReader(registries, work, profile.platform)
    options = BoardOptions(rules, DlrnApi(dlrn, ca_file=registries.ca_file) if dlrn else None, zuul, newest, promotable.images, wanted)
    found = collect(options, reader, registries, profile, say=say)
    contents = report.files(found.board, found.sets, found.changes, found.packages, profile.links)
    first = contents.pop("index.html")
    for name, text in (*contents.items(), ("index.html", first)):
        write_whole(output / name, text)
    return found.board


class _StreamMaker:
    """One stream's part of the documents."""

    def __init__(
        self,
        stream: Stream,
        options: BoardOptions,
        reader: SetReader,
        registries: Registries,
        profile: Profile,
        found: Documents,
        say: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._options = options
        self._reader = reader
        self._registries = registries
        self._profile = profile
        self._found = found
        self._say = say
        self._shown = streams.recorded(stream, registries, profile)
        self._recorded: dict[str, RecordedSet] = {one.entry.source: one for one in self._shown}
        self._waiting: dict[str, NamedSet] = {}
        self._sides: dict[str, tuple[dict[str, Any], list[Skew]]] = {}
        """Source -> of each architecture what the board says of it, and what they hold in different versions."""

    def made(self) -> dict[str, Any]:
        stream = self._stream
        held = streams.holdings(self._shown, self._reader, say=self._say)
        self._packages(held)
        self._compare()
        if self._options.wanted:
            for one in stream.sets:
                self._sides[one.source] = self._architectures(one)
        by_source = {one.recorded.entry.source: one for one in held}
        for one in stream.sets:
            self._found.sets[stream.name, one.source] = self._set(one, by_source.get(one.source))
        advice, command = stream.advice
        current = stream.current
        return {
            "name": stream.name,
            "now": {"source": current.source, "time": current.time, "by": current.by, "images": len(current.images.digests)} if current else None,
            "alarm": stream.alarm,
            "next": {"sentence": advice, "command": command, "phase": "held" if stream.hold else stream.ahead.phase if stream.ahead else ""},
            "hold": asdict(stream.hold) if stream.hold else None,
            "promoting": stream.begun.source if stream.begun else "",
            "criteria": _rule(stream.criteria),
            "queue": [one.source for one in stream.queue],
            "missing": [
                {
                    "job": one.job,
                    "state": one.state,
                    "url": one.url,
                    "before": [{"source": source, "state": state, "url": url} for source, state, url in one.before],
                }
                for one in stream.missing
            ],
            "sets": [self._line(one) for one in stream.sets],
            "packages": sorted(source for name, source in self._found.packages if name == stream.name),
        }

    def _line(self, one: SetStanding) -> dict[str, Any]:
        bad = one.named("failed", "missing", "again")
        return {
            "source": one.source,
            "phase": one.phase,
            "current": self._stream.current is not None and self._stream.current.source == one.source,
            "time": one.time,
            "last": one.last,
            "attempts": one.attempts,
            "override": one.override,
            "by": one.by,
            "sentence": one.sentence,
            "misses": [asdict(job) for job in bad] if one.phase not in ("promoted", "rolled back") or one.override else [],
            "jobs": [asdict(job) for job in one.jobs],
            "against": self._before(one.source),
            "architectures": self._sides[one.source][0] if one.source in self._sides else {},
        }

    def _before(self, source: str) -> str:
        """The set that a set is compared with; empty where there is no comparison."""
        return next((before for name, before, after in self._found.changes if (name, after) == (self._stream.name, source)), "")

    # ---- comparisons --------------------------------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Every promoted set with the one before it, and the one that waits with what the name shows."""
        for source, before in neighbours(self._stream.sets).items():
            if source in self._recorded and before in self._recorded:
                self._against(before, self._recorded[before].named, source, self._recorded[source].named)
        ahead = next(iter(self._stream.queue), None)
        current = self._stream.current
        if not ahead or not current or current.source not in self._recorded or ahead.source in self._recorded:
            return
        try:
            waiting = find(ahead.source, registries=self._registries, profile=self._profile, images=self._options.images)
        except UsageError:
            return  # nothing was published under its tag yet
        except TopcoatError as error:
            self._say(f"{ahead.source} is not compared: {error.what}")
            return
        self._waiting[ahead.source] = waiting
        now = self._recorded[current.source].named
        self._against(current.source, now, ahead.source, waiting)

    def _against(self, before: str, old: NamedSet, source: str, new: NamedSet) -> None:
        try:
            shape = comparison.document(self._reader, old, new, self._profile, changelog=True)
        except TopcoatError as error:
            self._say(f"{before} and {source} are not compared: {error.what}")
            return
        self._found.changes[self._stream.name, before, source] = shape

    # ---- one set ------------------------------------------------------------------------------------------------------------------------------

    def _set(self, one: SetStanding, held: Held | None) -> dict[str, Any]:
        recorded = self._recorded.get(one.source)
        return {
            "schema": SCHEMA,
            "stream": self._stream.name,
            **self._line(one),
            "tells": [entry.as_dict() | {"record": None} for entry in one.entries],
            "previous": recorded.entry.previous_source if recorded else "",
            "skew": [
                {
                    "source": skew.source,
                    "versions": {skew.first: list(skew.versions[0]), skew.arch: list(skew.versions[1])},
                    "images": list(skew.images),
                }
                for skew in (self._sides[one.source][1] if one.source in self._sides else ())
            ],
            "images": self._images(recorded.named, held) if recorded else [],
        }

    def _images(self, named: NamedSet, held: Held | None) -> list[dict[str, Any]]:
        try:
            stored = self._reader.stored(named)
        except TopcoatError as error:
            self._say(f"the images of {named.name} cannot be looked at: {error.what}")
            stored = {}
        signed = dict(each(stored.items(), lambda item: (item[0], self._signatures(item[1])), workers=_PARALLEL))
        rows = []
        for name, reference in sorted(named.images.items()):
            there = stored.get(name)
            facts = held.facts.get(name) if held else None
            own = there.labels if there else {}
            rows.append(
                {
                    "name": name,
                    "reference": str(reference),
                    "there": there is not None,
                    "size": sum(layer.size for layer in there.image.layers) if there else None,
                    "layers": [{"digest": layer.digest, "size": layer.size} for layer in there.image.layers] if there else [],
                    "packages": len(facts.packages) if facts and facts.packages is not None else None,
                    "recipe": facts.fingerprint if facts else "",
                    "revision": facts.revision if facts else "",
                    "base": own.get(labels.BASE_NAME, ""),
                    "base_digest": own.get(labels.BASE_DIGEST, ""),
                    "signatures": signed.get(name, []),
                }
            )
        return rows

    def _signatures(self, stored: StoredImage | None) -> list[str]:
        """Which kinds of signatures lie beside an image: ``tag`` (podman and cosign 2 look there), ``bundle`` (cosign 3)."""
        if stored is None:
            return []
        client = self._registries.client(stored.host)
        found = ["tag"] if client.head(stored.repository, Attached(client, stored.repository, stored.digest, SIGNATURES).tag) else []
        if any((entry.artifact_type or "").startswith(_BUNDLES) for entry in client.referrers(stored.repository, stored.digest)):
            found.append("bundle")
        return found

    # ---- architectures ------------------------------------------------------------------------------------------------------------------------

    def _architectures(self, one: SetStanding) -> tuple[dict[str, Any], list[Skew]]:
        """What each architecture has of a set: of one that is joined its images, of one that still comes what its run says."""
        recorded = self._recorded.get(one.source)
        named = recorded.named if recorded else self._waiting.get(one.source)
        try:
            if named:
                return self._joined(named)
            if one.phase in WAITING:
                parts = [look(wanted, one.source, self._registries) for wanted in self._options.wanted]
                return {part.name: _side(part.wanted, part.images, part.problem or "built, not joined yet") for part in parts}, []
        except TopcoatError as error:
            self._say(f"{one.source} by architecture is not known: {error.what}")
        return {}, []

    def _joined(self, named: NamedSet) -> tuple[dict[str, Any], list[Skew]]:
        facts = {one.architecture.name: self._reader.of_platform(one.profile.platform).facts(named) for one in self._options.wanted}
        skew = skews(facts)
        sides = {one.architecture.name: _side(one, facts[one.architecture.name]) for one in self._options.wanted}
        for name, side in sides.items():
            side["differs"] = len({found.source for found in skew if found.arch == name})
        return sides, skew

    # ---- packages -----------------------------------------------------------------------------------------------------------------------------

    def _packages(self, sets: Sequence[Held]) -> None:
        """Each source package that moved between the sets: where a change is."""
        moved = {name: steps for name, steps in timeline(sets).items() if len(steps) > 1}
        try:
            kept = dict(self._reader.changelogs((held.recorded.named, held.facts) for held in sets)) if moved else {}
        except ContentError as error:
            self._say(f"changelogs of {self._stream.name} are left out: {error.what}")
            kept = {}
        for name, steps in moved.items():
            rows, seen = [], set()
            for step in steps:
                entries = [entry for part in step.parts for entry in kept.get(part.source_rpm, ())]
                fresh = [entry for entry in dict.fromkeys(entries) if entry not in seen]
                seen.update(fresh)
                rows.append(_step(step, [] if step is steps[0] else fresh))
            self._found.packages[self._stream.name, name] = {
                "schema": SCHEMA,
                "stream": self._stream.name,
                "package": name,
                "steps": list(reversed(rows)),
            }


def _side(wanted: WantedPart, there: Container[str], sentence: str = "") -> dict[str, Any]:
    absent = [name for name in wanted.images if name not in there]
    return {"images": len(wanted.images) - len(absent), "wanted": len(wanted.images), "absent": absent, "differs": 0, "sentence": sentence}


def _step(step: Step, entries: Sequence[Any]) -> dict[str, Any]:
    entry = step.held.recorded.entry
    return {
        "source": entry.source,
        "time": entry.time,
        "versions": [part.version for part in step.parts],
        "images": list(step.images),
        "changelog": [{"time": one.time, "author": one.author, "text": one.text} for one in entries],
    }


def _rule(criteria: Criteria | None) -> dict[str, Any] | None:
    if criteria is None:
        return None
    return {
        "candidate": criteria.candidate,
        "required": list(criteria.required),
        "alternatives": {job: list(others) for job, others in criteria.alternatives},
        "informing": list(criteria.informing),
        "attempts": criteria.attempts,
        "max_age_hours": criteria.max_age_hours,
    }
