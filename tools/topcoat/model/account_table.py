"""What ``/etc/passwd`` and ``/etc/group`` of an image say, read as whatever runs in it reads them: anything may have written there.

This module must never read more out of a table than its lines and numbers: whose account counts is said by who asks.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[0-9]{1,10}")
NOBODY = (1 << 32) - 1
"""-1: to chown(2) it means that the owner stays, so it is nobody's number."""


def lines(text: str) -> list[str]:
    """The lines of a table: a line feed alone ends one (``str.splitlines`` ends them at form feeds and the like, too)."""
    return text.removesuffix("\n").split("\n") if text else []


def number(text: str) -> int | None:
    """The number of an account, 0 to ``NOBODY`` - 1; None where it is none (``int`` takes signs, blanks and other scripts' digits)."""
    return found if _NUMBER.fullmatch(text) and (found := int(text)) < NOBODY else None
