"""Why an update cannot be composed.

This module must never be caught for granted: whoever catches it makes the update another way, and says why.
"""

from __future__ import annotations

from topcoat.errors import one_line


class Refusal(Exception):
    """The update needs what only a real transaction on the real files can do; the text says what in one line, for people."""

    def __init__(self, reason: str) -> None:
        self.reason = one_line(reason)  # names of files are in it, which hold anything
        super().__init__(self.reason)
