"""The promotion board as files: a page of all streams, one a set, one a step between two sets, one a package that moved; each with its data.

This module must never need a server or a script, and never make a path of a word that it did not clean.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from topcoat.model.profile import Link
from topcoat.report import changelog, figures, pages
from topcoat.report.console import clean

NEWEST = 10
"""So many sets of a stream are seen at once; the others are folded."""
MANY = 3
"""So many jobs are named; of more the count is enough for a line."""
STATES = {"passed": "✔", "replaced": "✔", "failed": "✘", "again": "↻", "missing": "·"}
_WORDS = {
    "passed": "passed",
    "replaced": "passed by another job",
    "failed": "failed",
    "again": "failed, may be tried again",
    "missing": "no vote yet",
}
_PLAIN = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,150}")


def file_name(word: str) -> str:
    """A name of a file for a set or a package; words that are none get a hash."""
    if _PLAIN.fullmatch(word):
        return word
    return f"{re.sub(r'[^A-Za-z0-9_+-]', '_', word)[:80]}-{hashlib.sha256(word.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"


def set_path(stream: str, source: str) -> str:
    """Path of a set's page below the board, without suffix."""
    return f"sets/{file_name(stream)}/{file_name(source)}"


def changes_path(stream: str, before: str, after: str) -> str:
    """Path of a comparison's page."""
    return f"changes/{file_name(stream)}/{file_name(before)}/{file_name(after)}"


def package_path(stream: str, package: str) -> str:
    """Path of a package's page."""
    return f"packages/{file_name(stream)}/{file_name(package)}"


def misses(line: Mapping[str, Any]) -> str:
    """What a set still misses, or failed: by name up to three, else a count."""
    jobs = line["misses"]
    if len(jobs) <= MANY:
        return ", ".join(f"{job['job']} ({_WORDS[job['state']]})" for job in jobs)
    counts = [(word, sum(job["state"] == state for job in jobs)) for state, word in _WORDS.items()]
    return ", ".join(f"{count} {word}" for word, count in counts if count)


def ago(seconds: float) -> str:
    """An age for people."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{figures.plural(int(seconds // size), word)} ago"
    return "just now"


def text(board: Mapping[str, Any]) -> str:
    """For a terminal: what each stream shows and what to do next."""
    lines = []
    for stream in board["streams"]:
        now = stream["now"]
        shown = f"{now['source']}, promoted {ago(board['time'] - now['time'])}" if now else "nothing was promoted yet"
        lines.append(clean(f"{stream['name']}: {shown}"))
        lines += [f"  {clean(stream['alarm'])}"] if stream["alarm"] else []
        lines.append(clean(f"  {stream['next']['sentence']} {stream['next']['command']}".rstrip()))
    return "\n".join(lines) or "nothing was ever promoted here"


def files(
    board: Mapping[str, Any],
    sets: Mapping[tuple[str, str], Mapping[str, Any]],
    changes: Mapping[tuple[str, str, str], Mapping[str, Any]],
    packages: Mapping[tuple[str, str], Mapping[str, Any]],
    links: Sequence[Link],
) -> dict[str, str]:
    """Path -> content of every file, as of ``topcoat.sets.board``."""
    environment = pages.environment("board.css")
    environment.filters.update(bytes=figures.bytes_text, misses=misses, ago=ago, folded=changelog.folded)

    def link(path: str, up: int = 0) -> str:
        return "../" * up + quote(path) + ".html"

    def job_url(job: Mapping[str, Any]) -> str:
        own = pages.safe_url(job.get("url"))
        return own or (pages.safe_url(f"{board['zuul'].rstrip('/')}/builds?job_name={quote(job['job'])}") if board["zuul"] else "")

    shared: dict[str, Any] = {
        "board": board,
        "now": board["time"],
        "set_link": lambda stream, source, up=0: link(set_path(stream, source), up),
        "changes_link": lambda stream, before, after, up=0: link(changes_path(stream, before, after), up),
        "package_link": lambda stream, package, up=0: link(package_path(stream, package), up),
        "job_url": job_url,
        "states": STATES,
        "state_words": _WORDS,
        "newest": NEWEST,
        "plural": figures.plural,
        **changelog.parts(links),
    }
    known = {(stream["name"], line["source"]) for stream in board["streams"] for line in stream["sets"]}
    shared["known"] = known
    found = {"index.html": environment.get_template("board.html").render(**shared), "board.json": _json(board)}
    for (stream, source), shape in sets.items():
        path = set_path(stream, source)
        found[f"{path}.html"] = environment.get_template("board_set.html").render(
            shape=shape, stream=_stream(board, stream), layers=_layers(shape), against=changes.get((stream, shape["against"], source)), **shared
        )
        found[f"{path}.json"] = _json(shape)
    for (stream, before, after), shape in changes.items():
        path = changes_path(stream, before, after)
        found[f"{path}.html"] = changelog.html(shape, links)
        found[f"{path}.json"] = _json(shape)
    for (stream, package), shape in packages.items():
        path = package_path(stream, package)
        found[f"{path}.html"] = environment.get_template("board_package.html").render(shape=shape, stream=_stream(board, stream), **shared)
        found[f"{path}.json"] = _json(shape)
    return found


def _stream(board: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(stream for stream in board["streams"] if stream["name"] == name)
    return found


def _layers(shape: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of a set's images: each counted alone, and as the registry stores them."""
    layers = [layer for image in shape["images"] for layer in image["layers"]]
    return {"alone": sum(layer["size"] for layer in layers), "stored": sum({layer["digest"]: layer["size"] for layer in layers}.values())}


def _json(shape: Mapping[str, Any]) -> str:
    return json.dumps(shape, indent=1) + "\n"
