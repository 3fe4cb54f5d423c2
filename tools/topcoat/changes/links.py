"""Bug numbers, CVEs and change ids in a line of text become links, by patterns that the site's profile holds.

This module must never make a link of an address that stands in the text itself: changelogs are written by anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from topcoat.model.profile import Link

_LONGEST = 4000


def parts_of(text: str, links: Iterable[Link]) -> Iterator[tuple[str, str]]:
    """A text as (piece, URL) in order; the URL is empty for what is no link. Where two patterns find the same place, the earlier pattern wins.

    What was found is escaped before it becomes a part of an address.
    """
    text = text[:_LONGEST]
    found: list[tuple[int, int, str]] = []
    for link in links:
        for match in re.finditer(link.match, text):
            if match.start() == match.end() or any(match.start() < end and start < match.end() for start, end, _ in found):
                continue
            words = (match[0], *(group or "" for group in match.groups()))
            found.append((match.start(), match.end(), _address(link.url, words)))
    position = 0
    for start, end, url in sorted(found):
        if position < start:
            yield text[position:start], ""
        yield text[start:end], url
        position = end
    if position < len(text):
        yield text[position:], ""


def _address(url: str, words: tuple[str, ...]) -> str:
    return re.sub(r"\{(\d)\}", lambda place: quote(words[int(place[1])], safe="") if int(place[1]) < len(words) else "", url)
