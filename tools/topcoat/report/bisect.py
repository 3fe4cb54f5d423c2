"""A bisect for people: the steps and the guilty package, for a terminal and as a page.

This module must never say that a package is guilty in words of its own: the document's sentence says what was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from topcoat.model.profile import Link
from topcoat.report import changelog, pages
from topcoat.report.console import clean
from topcoat.report.figures import plural


def text(shape: Mapping[str, Any]) -> str:
    """For a terminal: a line a step, then what was found, with its changelog."""
    lines = [
        f"step {step['number']}: {len(step['applied'])} of {shape['changed']} applied to {plural(step['images'], 'image')}, "
        f"layers in {step['seconds']:.1f} s, {step['outcome']} (exit code {step['code']}, {step['ran']:.1f} s); {step['suspects']} left"
        for step in shape["steps"]
    ]
    lines.append(shape["sentence"])
    for row in shape["guilty"] if len(shape["guilty"]) == 1 else ():
        lines += [f"  {line}" for entry in row.get("changelog", ()) for line in (entry["author"], *entry["text"].splitlines())]
        lines += [f"  {link['url']}" for link in row.get("links", ())]
    return "\n".join(clean(line) for line in lines)


def html(shape: Mapping[str, Any], links: Sequence[Link] = ()) -> str:
    """One page that loads nothing and runs nothing."""
    return pages.environment().get_template("bisect.html").render(shape=shape, plural=plural, **changelog.parts(links))
