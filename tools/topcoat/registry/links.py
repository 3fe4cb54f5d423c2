"""Where an answer leads: targets of its Location and Link headers (RFC 9110, 10.2.2; RFC 8288).

This module must never follow a link, and never let through what is no address.
"""

from __future__ import annotations

import re
import urllib.parse

from topcoat.errors import InfrastructureError

_MOST_PAGES = 10_000
"""Of one list. The largest registries show some hundred names a page."""
_MOST_IDLE = 100
"""Pages in a row that bring nothing new and still name a next one."""
_LINK = re.compile(r"""\s*,*\s*<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s";,]*))?)*)""")
_PARAMETER = re.compile(r""";\s*([^\s=;,]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*)))?""")


class Pages:
    """The way through the pages of one list, each taken once."""

    def __init__(self, path: str, what: str) -> None:
        """:param path: of the first page. :param what: the list, for errors: ``HOST: the list of ...``."""
        self.path: str | None = path
        """The page to ask for; None behind the last one."""
        self._what = what
        self._seen = {path}
        self._held = 0
        self._idle = 0

    @property
    def is_first(self) -> bool:
        """Whether no page was turned yet."""
        return len(self._seen) == 1

    def turn(self, header: str, held: int) -> None:
        """Go on behind the page that answered.

        :param header: every Link line of its answer, joined by commas. :param held: entries so far, each counted once.
        :raises InfrastructureError: the pages have no end, or the next one no address.
        """
        self._idle = self._idle + 1 if held == self._held else 0
        self._held = held
        if self._idle > _MOST_IDLE or len(self._seen) > _MOST_PAGES:
            raise InfrastructureError(f"{self._what} does not end", retriable=False, next_step="look at the registry")
        following = next_page(header, self.path or "")
        self.path = None if following in self._seen else following
        if following:
            self._seen.add(following)


def next_page(header: str, path: str) -> str | None:
    """Path and query of the page behind this one, None at the end.

    :param header: every Link line of the answer, joined by commas.
    :param path: the page that answered; relative targets are relative to it. Only path and query of a target count: a page on another host is none
        of ours.
    :raises InfrastructureError: the next page has no address.
    """
    for target, parameters in _LINK.findall(header):
        words = next((quoted or plain for name, quoted, plain in _PARAMETER.findall(parameters) if name.lower() == "rel"), "")
        if "next" in words.lower().split():  # a link may have several relations, and only the first "rel" counts (RFC 8288, 3.3)
            parts = urllib.parse.urlsplit(absolute(path, target))
            return f"{parts.path}?{parts.query}" if parts.query else parts.path
    return None


def absolute(base: str, target: str) -> str:
    """A target as it is written in an answer, as a URL.

    :param base: what it is relative to.
    :raises InfrastructureError: it is no address; a path that ends in a request must be one as well.
    """
    try:
        url = urllib.parse.urljoin(base, target.strip())
        parts = urllib.parse.urlsplit(url)
        good = url.isascii() and url.isprintable() and " " not in url and (not parts.scheme or bool(parts.hostname)) and parts.port != 0
    except ValueError:  # a bracket that is open, a port that is none
        good = False
    if not good:
        raise InfrastructureError(
            f"{base.partition('?')[0]} leads to {target[:80]!r}, which is no address", retriable=False, next_step="look at the registry"
        )
    return url
