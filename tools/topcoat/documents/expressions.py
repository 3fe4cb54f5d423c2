"""Regular expressions that people write, in options and in files.

This module must never let a pattern end in a traceback, whatever stands in it.
"""

from __future__ import annotations

import re

from topcoat.errors import UsageError

_SHOWN = 120


def expression(pattern: str) -> re.Pattern[str]:
    """A pattern, ready to be searched with.

    :raises UsageError: it is none, nests deeper than can be followed, or repeats more often than can be counted.
    """
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"not a regular expression: {pattern[:_SHOWN]!r} ({error})", next_step="quote special characters with a backslash"
        ) from error
