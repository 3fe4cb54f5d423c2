"""Why an update cannot be composed.

This module must never be caught for granted: whoever catches it makes the update another way, and says why.
"""

from __future__ import annotations


class Refusal(Exception):
    """The update needs what only a real transaction on the real files can do; the text says what, for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
