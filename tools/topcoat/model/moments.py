"""Moments, in seconds since the epoch, as text: always in UTC, wherever the machine stands.

This module must never ask what time it is.
"""

from __future__ import annotations

import datetime
import time


def rfc3339(moment: float) -> str:
    """With whole seconds, as configurations of images, bills of materials and in-toto statements write it (RFC 3339).

    :raises ValueError: it is not in the years 1 to 9999.
    """
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def second(moment: float) -> str:
    """For people, to the second."""
    return _shown(moment, "%Y-%m-%d %H:%M:%S UTC")


def minute(moment: float) -> str:
    """For people, to the minute."""
    return _shown(moment, "%Y-%m-%d %H:%M UTC")


def day(moment: float) -> str:
    """The day alone."""
    return _shown(moment, "%Y-%m-%d")


def _shown(moment: float, form: str) -> str:
    """A moment that no calendar has is shown as such: documents of others hold whatever number they like."""
    try:
        return time.strftime(form, time.gmtime(moment))
    except (ValueError, OverflowError, OSError):
        return "at no time"
