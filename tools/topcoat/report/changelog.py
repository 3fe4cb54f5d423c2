"""How two sets differ, for people and machines: one document, and its text, Markdown and HTML.

This module must never put a word into a page unescaped: names, authors and changelog lines come from whoever made the packages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from topcoat.changes import Row, SetChanges, parts_of
from topcoat.model.moments import day
from topcoat.model.profile import Link
from topcoat.report import pages
from topcoat.report.console import clean
from topcoat.report.figures import plural
from topcoat.rpm.changelogs import ChangelogEntry
from topcoat.yum.advisories import Advisory

SCHEMA = "https://topcoat.dev/schemas/changes/1"
WORDS = {
    "updated": "updated",
    "downgraded": "went back",
    "new": "new in the set",
    "removed": "gone from the set",
    "rebuilt": "rebuilt without change",
    "added-to-images": "in more images",
    "left-images": "in fewer images",
}
_FOLD = 4
NO_ADVISORIES = "No repository of the profile publishes advisories, so the changelogs are the only source of reasons."
NOT_ASKED = "Advisories were not asked for."
NO_CHANGELOG = "no changelog of it is kept in the registry"


@dataclass(frozen=True)
class Against:
    """What a page about one set says of another: the comparison, or why there is none."""

    shape: Mapping[str, Any] | None
    problem: str = ""
    links: tuple[Link, ...] = ()


def document(
    changes: SetChanges,
    before: Mapping[str, object],
    after: Mapping[str, object],
    *,
    links: Sequence[Link] = (),
    entries: Mapping[str, tuple[ChangelogEntry, ...] | None] | None = None,
    advisories: Mapping[str, Sequence[Advisory]] | None = None,
    advisories_note: str = NOT_ASKED,
) -> dict[str, Any]:
    """The comparison as plain data.

    :param before: what to say of the first set: ``name``, ``source``, ``time``. :param after: of the second.
    :param entries: source package -> changelog entries, None where none is kept; None: they were not asked for.
    :param advisories: source package -> advisories; None: they were not asked for, or nobody publishes any (``advisories_note`` says which).
    """
    return {
        "schema": SCHEMA,
        "from": dict(before),
        "to": dict(after),
        "packages": [_row(row, links, entries, advisories or {}) for row in changes.rows],
        "images": {
            "added": list(changes.added),
            "removed": list(changes.removed),
            "unchanged": len(changes.unchanged),
            "unknown": list(changes.unknown),
        },
        "recipes": [{"image": image, "parts": list(parts)} for image, parts in changes.recipes],
        "revisions": [{"image": image, "from": old, "to": new, "source": source} for image, old, new, source in changes.revisions],
        "advisories": "" if advisories is not None else advisories_note,
        "headline": headline(changes),
    }


def _row(
    row: Row, links: Sequence[Link], entries: Mapping[str, tuple[ChangelogEntry, ...] | None] | None, advisories: Mapping[str, Sequence[Advisory]]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "source": row.source,
        "kind": row.kind,
        "moves": [{"from": list(move.old), "to": list(move.new), "images": list(move.images)} for move in row.moves],
        "images": list(row.images),
        "binary_packages": list(row.packages),
        "advisories": [
            {"id": one.id, "kind": one.kind, "severity": one.severity, "title": one.title, "references": list(one.references)}
            for one in advisories.get(row.source, ())
        ],
    }
    if entries is not None and row.source in entries:
        lines = entries[row.source]
        found["changelog"] = [{"time": entry.time, "author": entry.author, "text": entry.text} for entry in lines or ()]
        found["changelog_kept"] = lines is not None
        texts = [entry.text for entry in lines or ()] + [reference for one in found["advisories"] for reference in one["references"]]
        seen = {word: url for text in texts for word, url in parts_of(text, links) if url}
        found["links"] = [{"text": word, "url": url} for word, url in seen.items()]
    return found


def headline(changes: SetChanges) -> str:
    """The comparison in one sentence."""
    counts: dict[str, int] = {}
    for row in changes.rows:
        counts[row.kind] = counts.get(row.kind, 0) + 1
    parts = [f"{counts[kind]} {word}" for kind, word in WORDS.items() if kind in counts]
    images = [f"{plural(len(names), 'image')} {word}" for names, word in ((changes.added, "new"), (changes.removed, "gone")) if names]
    images += [f"{plural(len(changes.recipes), 'recipe')} changed"] * bool(changes.recipes)
    images += [f"packages of {plural(len(changes.unknown), 'image')} not known"] * bool(changes.unknown)
    if not parts and not images:
        return "No package differs."
    what = f"{plural(len(changes.rows), 'source package')}: {', '.join(parts)}" if parts else "No package differs"
    return "; ".join([what, *images]) + "."


def versions(move: Mapping[str, Any]) -> str:
    """``1.0-1 → 1.1-1``, for people."""
    old, new = " and ".join(move["from"]), " and ".join(move["to"])
    if old and new:
        return f"{old}, another build" if old == new else f"{old} → {new}"
    return f"{new}" if new else f"{old} → removed"


def folded(images: Sequence[str], total: int = 0) -> str:
    """A few names, else a count."""
    if total and len(images) == total:
        return f"all {total} images" if total > 1 else images[0]
    return ", ".join(images) if len(images) <= _FOLD else f"{len(images)} images"


def title(side: Mapping[str, Any]) -> str:
    """A set's name with the tag it stands for."""
    name, source = clean(side["name"]), clean(side["source"])
    return name if name == source or not source else f"{name} ({source})"


def text(shape: Mapping[str, Any]) -> str:
    """For a terminal."""
    lines = [f"{title(shape['from'])} -> {title(shape['to'])}", clean(shape["headline"])]
    for kind, word in WORDS.items():
        rows = [row for row in shape["packages"] if row["kind"] == kind]
        if rows:
            lines += ["", f"{word}:"]
        for row in rows:
            for move in row["moves"]:
                lines.append(f"  {clean(row['source'])} {clean(versions(move))}  [{clean(folded(move['images']))}]")
            lines += [f"      {clean(one['kind'])} {clean(one['id'])} {clean(one['severity'])}: {clean(one['title'])}" for one in row["advisories"]]
            lines += [f"    * {clean(line)}" for line in _entries(row)]
    lines += _rest(shape, lambda words: clean(words))
    return "\n".join(lines)


def _entries(row: Mapping[str, Any]) -> list[str]:
    if "changelog" not in row:
        return []
    if not row["changelog_kept"]:
        return [NO_CHANGELOG]
    found = []
    for entry in row["changelog"]:
        found.append(f"{day(entry['time'])} {entry['author']}")
        found += [f"  {line.strip()}" for line in entry["text"].splitlines() if line.strip()]
    return found


def _rest(shape: Mapping[str, Any], escape: Any) -> list[str]:
    lines: list[str] = []
    images = shape["images"]
    for names, word in ((images["added"], "images that are new"), (images["removed"], "images that are gone")):
        if names:
            lines += ["", f"{word}: {escape(', '.join(names))}"]
    if shape["recipes"]:
        changed = ", ".join(f"{entry['image']} ({', '.join(entry['parts']) or 'recipe'})" for entry in shape["recipes"])
        lines += ["", f"recipes changed: {escape(changed)}"]
    for entry in shape["revisions"]:
        lines += ["", f"{escape(entry['image'])} from source: {escape(entry['from'] or '(none)')} -> {escape(entry['to'] or '(none)')}"]
    if images["unknown"]:
        lines += ["", f"packages not known without reading layers (--read-layers): {escape(', '.join(images['unknown']))}"]
    if shape["advisories"]:
        lines += ["", escape(shape["advisories"])]
    return lines


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@:])")


def escape_markdown(value: object) -> str:
    """Text that means nothing to a reader of Markdown, in a table or outside."""
    return _MARKDOWN.sub(r"\\\1", clean(value))


def markdown(shape: Mapping[str, Any], links: Sequence[Link] = ()) -> str:
    """For a change, a mail, a release note."""
    escape = escape_markdown
    lines = [f"## {escape(title(shape['from']))} → {escape(title(shape['to']))}", "", escape(shape["headline"])]
    if shape["packages"]:
        lines += ["", "| package | what | versions | images |", "|---|---|---|---|"]
    for row in shape["packages"]:
        for move in row["moves"]:
            lines.append(f"| {escape(row['source'])} | {WORDS[row['kind']]} | {escape(versions(move))} | {escape(folded(move['images']))} |")
    for row in shape["packages"]:
        if row["advisories"] or "changelog" in row:
            lines += ["", f"### {escape(row['source'])}", ""]
            lines += [
                f"- {escape(one['kind'])} {_linked(one['id'], links)} {escape(one['severity'])} {escape(one['title'])}" for one in row["advisories"]
            ]
            lines += [f"- {_linked(line, links)}" for line in _entries(row)]
    lines += _rest(shape, escape)
    return "\n".join(lines)


def _linked(words: str, links: Iterable[Link]) -> str:
    pieces = parts_of(clean(words), tuple(links))
    return "".join(f"[{escape_markdown(piece)}]({url})" if url else escape_markdown(piece) for piece, url in pieces)


def parts(links: Sequence[Link]) -> dict[str, Any]:
    """What the templates of a comparison use, for any page that holds one."""
    return {
        "linked": lambda words: list(parts_of(clean(words), links)),
        "words": WORDS,
        "no_changelog": NO_CHANGELOG,
        "versions": versions,
        "set_title": title,
    }


def html(shape: Mapping[str, Any], links: Sequence[Link] = ()) -> str:
    """One page that loads nothing and runs nothing."""
    return pages.environment().get_template("changes.html").render(shape=shape, **parts(links))


def render(shape: Mapping[str, Any], kind: str, links: Sequence[Link] = ()) -> str:
    """As ``text``, ``json``, ``md`` or ``html``."""
    if kind == "json":
        return json.dumps(shape, indent=1)
    return text(shape) if kind == "text" else markdown(shape, links) if kind == "md" else html(shape, links)
