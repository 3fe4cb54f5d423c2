"""What became of every attempt to promote: one small manifest each, kept in the control repository for ever, and holds that keep a name where it is.

This module must never decide anything, and never be needed for a promotion to be right: it tells people what happened, and why.

Layout, beside the records of ``control``:

``<name>.history-<id>``  one attempt, a rollback, a hold or its end; ids sort by time
``<name>.hold``          the hold that is on now
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, labels
from topcoat.model.moments import minute
from topcoat.process.each import each
from topcoat.promotion.control import HISTORY, HOLD, Control
from topcoat.promotion.sets import SetRecord
from topcoat.registry import AccessError, Descriptor, Manifest, RefusedError
from topcoat.registry.tagged import annotation
from topcoat.trunk.criteria import JOB_KINDS, JOB_STATES, JobState

ENTRY_TYPE = "application/vnd.topcoat.promotion-history.v1+json"
HOLD_TYPE = "application/vnd.topcoat.promotion-hold.v1+json"
CONTENTS_TYPE = "application/vnd.topcoat.set-contents.v1+json+gzip"
KINDS = ("promotion", "rollback", "hold", "release")
STATES = ("begun", "promoted", "rolled-back", "pending", "rejected", "superseded", "older", "held", "failed", "on", "off")
_LONGEST_REASON = 500
_PARALLEL = 8
_SCHEMA = 1
_DOOR = Door(ContentError, "use the version of topcoat that wrote it")


@dataclass(frozen=True)
class Hold:
    """A name that nobody may promote to. ``time`` is seconds since the epoch."""

    reason: str
    by: str
    time: float

    @property
    def since(self) -> str:
        """The time, for people."""
        return minute(self.time)


@dataclass(frozen=True)
class JobNote:
    """What one job had said when an attempt was judged: as of ``criteria.JobState``, with the number of its votes and the address of the last."""

    job: str
    kind: str
    state: str
    instead: str = ""
    attempts: int = 0
    url: str = ""


@dataclass(frozen=True)
class Entry:
    """One thing that happened to a floating name."""

    id: str
    name: str
    kind: str
    state: str
    source: str = ""
    """Tag that was to be promoted, or that is shown again."""
    time: float = 0.0
    """When it was first tried, seconds since the epoch; ``last``: when it was last tried with the same outcome, ``times`` times in all."""
    last: float = 0.0
    times: int = 1
    by: str = ""
    sentence: str = ""
    override: str = ""
    """The reason that a person gave for going past the criteria."""
    previous_source: str = ""
    images: int = 0
    moved: int = 0
    places: tuple[str, ...] = ()
    jobs: tuple[JobNote, ...] = ()
    record: SetRecord | None = None
    """The set that was promoted, without what it replaced."""
    contents: Descriptor | None = field(default=None, compare=False)
    """The blob beside it that says what the set holds."""

    def to_json(self) -> str:
        """Compact, keys sorted."""
        data = {name: value for name, value in asdict(replace(self, record=None, contents=None)).items() if name not in ("record", "contents")}
        data |= {"schema": _SCHEMA, "record": replace(self.record, previous=self.record.images.nothing()).as_dict() if self.record else None}
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """From its JSON form.

        :raises ContentError: it is none of ours, or of a later version.
        """
        what = "an entry of the promotion history"
        document, shape = _DOOR.json_object(text, what), _DOOR.shape(what)
        if document.get("schema") != _SCHEMA:
            shape.refuse("schema", str(_SCHEMA))
        jobs = tuple(
            JobNote(
                shape.need(row, "job", str),
                shape.one_of(shape.need(row, "kind", str), "kind", JOB_KINDS),
                shape.one_of(shape.need(row, "state", str), "state", JOB_STATES),
                shape.need(row, "instead", str),
                shape.number(row.get("attempts"), "attempts"),
                shape.need(row, "url", str),
            )
            for row in shape.items(document.get("jobs"), "jobs", dict, "objects")
        )
        record = shape.table(document.get("record"), "record")
        if document.get("kind") == "promotion" and document.get("state") in ("on", "off", "rolled-back"):
            shape.refuse("state", "that of a promotion")
        return cls(
            shape.need(document, "id", str),
            shape.need(document, "name", str),
            shape.one_of(shape.need(document, "kind", str), "kind", KINDS),
            shape.one_of(shape.need(document, "state", str), "state", STATES),
            source=shape.need(document, "source", str),
            time=shape.moment(document.get("time"), "time"),
            last=shape.moment(document.get("last"), "last"),
            times=shape.number(document.get("times"), "times"),
            by=shape.need(document, "by", str),
            sentence=shape.need(document, "sentence", str),
            override=shape.need(document, "override", str),
            previous_source=shape.need(document, "previous_source", str),
            images=shape.number(document.get("images"), "images"),
            moved=shape.number(document.get("moved"), "moved"),
            places=tuple(shape.items(document.get("places"), "places", str)),
            jobs=jobs,
            record=SetRecord.from_dict(record) if record else None,
        )

    def same_outcome(self, other: Entry) -> bool:
        """Whether both say the same of the same set: then one entry that counts is enough."""
        mine, theirs = ((one.name, one.kind, one.state, one.source, one.sentence, one.override, one.jobs) for one in (self, other))
        return mine == theirs and self.state in ("pending", "rejected", "superseded", "older", "held", "failed")

    def as_dict(self) -> dict[str, Any]:
        """For output."""
        return {**json.loads(self.to_json()), "contents": self.contents.digest if self.contents else None}


def new_id(source: str, moment: float) -> str:
    """An id that sorts by time and tells by itself which source it may be about."""
    return f"{round(moment * 1000):013d}-{hash_of(source)}{secrets.token_hex(3)}"


def hash_of(source: str) -> str:
    """The part of an id that is the same for every entry about one source."""
    return hashlib.sha256(source.encode()).hexdigest()[:8]


def check_reason(reason: str, option: str) -> str:
    """A reason that people will read for ever.

    :raises UsageError: it has no word, or is no line of text.
    """
    words = reason.strip()
    if not any(map(str.isalnum, words)) or not words.isprintable() or len(words) > _LONGEST_REASON:
        raise UsageError(
            f"{option} wants a reason in one line of at most {_LONGEST_REASON} letters", next_step="say why, for those who read it later"
        )
    return words


class History:
    """The history and the holds in one control repository."""

    def __init__(self, control: Control) -> None:
        self._control = control

    # ---- entries ----------------------------------------------------------------------------------------------------------------------------

    def ids(self) -> dict[str, list[str]]:
        """Floating name -> ids of its entries, newest first."""
        found: dict[str, list[str]] = {}
        for tag in self._control.client.tags(self._control.repository):
            name, mark, one = tag.partition(HISTORY)
            if mark:
                found.setdefault(name, []).append(one)
        return {name: sorted(ids, reverse=True) for name, ids in sorted(found.items())}

    def read(self, name: str, one: str) -> Entry | None:
        """An entry; None where there is none.

        :raises ContentError: it cannot be read.
        """
        return self._entry(self._control.documents.manifest(f"{name}{HISTORY}{one}"), name, one)

    @staticmethod
    def _entry(manifest: Manifest | None, name: str, one: str) -> Entry | None:
        text = annotation(manifest, labels.HISTORY)
        if manifest is None or text is None:
            return None
        contents = next((blob for blob in manifest.blobs if blob.media_type == CONTENTS_TYPE), None)
        entry = Entry.from_json(text)
        if (entry.name, entry.id) != (name, one):
            raise ContentError(
                f"the entry {one} of the history of {name} is that of {entry.name[:80]!r} with the id {entry.id[:80]!r}, copied there by somebody",
                next_step="delete its tag in the control repository",
            )
        return replace(entry, contents=contents)

    def newest(self, name: str, most: int, *, ids: Sequence[str] | None = None) -> list[Entry]:
        """The newest entries of a name, newest first.

        :param ids: of its entries, newest first, where the caller has asked for ``ids`` before.
        """
        known = self.ids().get(name, []) if ids is None else ids
        found = each(known[:most], lambda one: self.read(name, one), workers=_PARALLEL)
        return [entry for entry in found if entry]

    def promoted_before(self, name: str, source: str, moment: float) -> Entry | None:
        """The entry of a promotion of a source that ended before a moment; only entries that may be about it are read.

        :raises InfrastructureError: such an entry is listed and not sent.
        """
        mark = hash_of(source)
        for one in self.ids().get(name, []):
            if one.partition("-")[2].startswith(mark):
                entry = self._entry(self._control.documents.proven(f"{name}{HISTORY}{one}"), name, one)
                if entry and entry.source == source and entry.state == "promoted" and entry.time < moment:
                    return entry
        return None

    def write(self, entry: Entry, contents: bytes | None = None) -> Entry:
        """Store an entry, over what stood under its id.

        :param contents: what the set holds, as of ``topcoat.sets``; None: as the entry says.
        :returns: the entry as it is stored.
        """
        kept = entry.contents
        if contents is not None:
            kept = self._control.documents.keep(contents, CONTENTS_TYPE)
        notes = {labels.HISTORY: entry.to_json()}
        self._control.documents.write(f"{entry.name}{HISTORY}{entry.id}", ENTRY_TYPE, notes, (kept,) if kept else ())
        return replace(entry, contents=kept)

    def add(self, entry: Entry) -> Entry:
        """Store what happened; where the newest entry says the same, that one counts it."""
        before = self.newest(entry.name, 1)
        if before and before[0].same_outcome(entry):
            entry = replace(before[0], last=entry.last, times=before[0].times + 1)
        return self.write(entry)

    def contents(self, digest: Digest) -> bytes:
        """The blob that an entry names."""
        return self._control.client.blob(self._control.repository, digest)

    def about(self, entry: Entry | None) -> bytes:
        """What was written about the set of an entry; empty where nothing was or it cannot be had: its images can be asked then."""
        try:
            return self.contents(entry.contents.digest) if entry and entry.contents else b""
        except (ContentError, AccessError, RefusedError):
            return b""

    # ---- holds ------------------------------------------------------------------------------------------------------------------------------

    def hold(self, name: str) -> Hold | None:
        """The hold on a name.

        :raises ContentError: there is one that cannot be read: whoever wrote it holds the name.
        """
        text = self._control.documents.read(f"{name}{HOLD}", labels.HOLD)
        if text is None:
            return None
        document, shape = _DOOR.json_object(text, "a hold"), _DOOR.shape("a hold")
        return Hold(shape.need(document, "reason", str), shape.need(document, "by", str), shape.moment(document.get("time"), "time"))

    def set_hold(self, name: str, reason: str, by: str) -> Hold:
        """Hold a name; a hold that is on gets the new reason."""
        found = Hold(check_reason(reason, "hold"), by, round(time.time(), 3))
        self._control.documents.write(f"{name}{HOLD}", HOLD_TYPE, {labels.HOLD: json.dumps(asdict(found), sort_keys=True)})
        self._happened(name, "hold", "on", found.reason, by)
        return found

    def release(self, name: str, by: str) -> Hold | None:
        """End a hold; the hold that was on, None where there was none."""
        found = self.hold(name)
        if found:
            self._control.documents.clear(f"{name}{HOLD}", HOLD_TYPE)
            self._happened(name, "release", "off", f"held since {found.since}: {found.reason}", by)
        return found

    def _happened(self, name: str, kind: str, state: str, sentence: str, by: str) -> None:
        moment = round(time.time(), 3)
        self.write(Entry(new_id(kind, moment), name, kind, state, time=moment, last=moment, by=by, sentence=sentence))


def notes(states: Iterable[JobState]) -> tuple[JobNote, ...]:
    """Job states of a verdict as an entry keeps them."""
    return tuple(
        JobNote(one.job, one.kind, one.state, one.instead, len(one.attempts), one.attempts[-1].url if one.attempts else "") for one in states
    )
