"""Where something is: a package, a commit, a CVE, a bug or a change, in the sets that were promoted.

This module must never answer with silence: what nobody knows of is said in one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from topcoat.errors import UsageError
from topcoat.model import Profile
from topcoat.model.moments import minute
from topcoat.registry import Registries
from topcoat.report.changelog import folded
from topcoat.report.console import clean
from topcoat.sets import streams
from topcoat.sets.holdings import FROM_SOURCE, Held, Part
from topcoat.sets.reading import SetReader

SCHEMA = "https://topcoat.dev/schemas/where/1"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_CHANGE = re.compile(r"https?://\S+?/\+/(\d+)(?:/.*)?|https?://\S+?/(?:c|r|#/c)/(\d+)(?:/.*)?")
_LONGEST = 200


def meant(word: str) -> str:
    """What is looked for: the number of a change where its address was given.

    :raises UsageError: nothing that could be found.
    """
    word = word.strip()
    address = _CHANGE.fullmatch(word)
    word = next((found for found in address.groups() if found), word) if address else word
    if not 2 <= len(word) <= _LONGEST or not word.isprintable():
        raise UsageError(f"{word[:40]!r} is nothing to look for", next_step="give a package, a commit, a CVE, a bug or a change")
    return word


def look(word: str, sets_of: Sequence[Sequence[Held]], reader: SetReader, shown: Sequence[str]) -> list[dict[str, Any]]:
    """Every place of what is looked for, one row a stream and source package.

    :param sets_of: the sets of each stream, in the order in which they came. :param shown: per stream the source of the set that it shows now.
    :raises ContentError: a bundle of changelogs is damaged.
    """
    told = _changelogs(word, sets_of, reader)
    rows = []
    for sets, current in zip(sets_of, shown, strict=True):
        names: dict[str, tuple[str, dict[Part, str]]] = {}
        for held in sets:
            for part, where in held.parts.items():
                why = _why(word, part, where.packages, told)
                if why:
                    names.setdefault(part.name, (why[0], {}))[1][part] = why[1]
        for name, (kind, found) in sorted(names.items()):
            rows.append(_row(name, kind, found, sets, current))
    return rows


def _why(word: str, part: Part, packages: Iterable[str], told: dict[str, str]) -> tuple[str, str] | None:
    """Kind of the find and the words that hold it."""
    if word in (part.name, part.name.removeprefix(FROM_SOURCE)) or word in packages:
        return "package", ""
    hexadecimal = word.lower()
    if _COMMIT.fullmatch(hexadecimal) and any(
        _COMMIT.fullmatch(token) and (hexadecimal.startswith(token) or token.startswith(hexadecimal))
        for token in re.split(r"[^0-9a-z]+", part.version)
    ):
        return "commit", ""
    return ("changelog", told[part.source_rpm]) if part.source_rpm in told else None


def _row(name: str, kind: str, found: dict[Part, str], sets: Sequence[Held], current: str) -> dict[str, Any]:
    holders = [held for held in sets if any(part in found for part in held.parts)]
    last = holders[-1]
    shown = next((held for held in reversed(sets) if held.recorded.entry.source == current), None)
    now = shown in holders
    there = shown if now and shown else last
    parts = [part for part in there.of(name) if part in found]
    # of a package the version that is there now is asked for; of a word the first that ever had it
    first = next(held for held in holders if kind != "package" or any(part in held.parts for part in parts))
    return {
        "stream": last.recorded.stream,
        "kind": kind,
        "source": name,
        "versions": [part.version for part in parts],
        "images": sorted({image for part in parts for image in there.parts[part].images}),
        "since": {"source": first.recorded.entry.source, "time": first.recorded.entry.time},
        "now": now,
        "last": {"source": last.recorded.entry.source, "time": last.recorded.entry.time},
        "text": next((text for text in found.values() if text), ""),
    }


def _changelogs(word: str, sets_of: Sequence[Sequence[Held]], reader: SetReader) -> dict[str, str]:
    """Source RPM -> the line of its changelog that has the word."""
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.IGNORECASE)
    found: dict[str, str] = {}
    for source_rpm, entries in reader.changelogs((held.recorded.named, held.facts) for sets in sets_of for held in sets):
        for line in (line for entry in entries for line in entry.text.splitlines()):
            if pattern.search(line):
                found.setdefault(source_rpm, line.strip()[:_LONGEST])
                break
    return found


def answer(
    word: str, reader: SetReader, registries: Registries, profile: Profile, *, newest: int, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Where something is in the sets that were promoted, as plain data.

    :param newest: so many entries of the history of each name are looked at.
    :raises TopcoatError: nothing to look for, or the registry cannot be read.
    """
    word = meant(word)
    found = streams.read(registries, profile, newest=newest, say=say)
    sets = [streams.holdings(streams.recorded(one, registries, profile), reader, say=say) for one in found]
    rows = look(word, sets, reader, [one.current.source if one.current else "" for one in found])
    return {"schema": SCHEMA, "asked": word, "place": profile.place, "sets": sum(map(len, sets)), "found": rows}


def text(shape: dict[str, Any]) -> str:
    """For a terminal: a line a find, or the one that says that nothing is known."""
    if not shape["found"]:
        return f"nothing is known of {clean(shape['asked'])}: {shape['sets']} promoted sets of {shape['place']} neither hold nor mention it"
    lines = []
    for row in shape["found"]:
        since = f"since {row['since']['source']} ({minute(row['since']['time'])})"
        where = f"in {folded(row['images'])}"
        words = f"{row['stream']}: {row['source']} {' and '.join(row['versions'])}, {since}, {where}"
        words += "" if row["now"] else f"; not any more: last in {row['last']['source']}"
        lines.append(clean(words + (f"; changelog: {row['text']}" if row["text"] else "")))
    return "\n".join(lines)
