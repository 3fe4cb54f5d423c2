"""The Link header: which page comes next (RFC 8288).

This module must never follow a link.
"""

from __future__ import annotations

import re
import urllib.parse

_LINK = re.compile(r"""\s*,*\s*<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s";,]*))?)*)""")
_PARAMETER = re.compile(r""";\s*([^\s=;,]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*)))?""")


def next_page(header: str, path: str) -> str | None:
    """Path and query of the page behind this one, None at the end.

    :param header: every Link line of the answer, joined by commas.
    :param path: the page that answered; relative targets are relative to it. Only path and query of a target count: a page on another host is none
        of ours.
    """
    for target, parameters in _LINK.findall(header):
        words = next((quoted or plain for name, quoted, plain in _PARAMETER.findall(parameters) if name.lower() == "rel"), "")
        if "next" in words.lower().split():  # a link may have several relations, and only the first "rel" counts (RFC 8288, 3.3)
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(path, target.strip()))
            return f"{parts.path}?{parts.query}" if parts.query else parts.path
    return None
