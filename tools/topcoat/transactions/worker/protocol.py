"""The words that the parts of the worker share.

This module must never import anything but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import time


class Refused(Exception):
    """The request cannot be carried out; ``kind`` tells the caller whose fault it is."""

    def __init__(self, kind: str, what: str, errno: int | None = None) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.errno = errno


class Clock:
    """Where the time of a request goes, in seconds by step."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str):  # type: ignore[no-untyped-def]
        start = time.monotonic()
        try:
            yield
        finally:
            self.times[name] = round(self.times.get(name, 0.0) + time.monotonic() - start, 4)


@contextlib.contextmanager
def environment(**values: str):  # type: ignore[no-untyped-def]
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
