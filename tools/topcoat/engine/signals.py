"""Ctrl-C and Zuul's abort (SIGTERM) end a run in good order instead of tearing it down.

This module must never leave a handler behind: the previous ones return when the block ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def cancel_on_signal(cancel: Callable[[], None]) -> Iterator[None]:
    """Call ``cancel`` on SIGINT, SIGTERM and SIGHUP while the block runs; outside the main thread nothing is installed.

    ``cancel`` runs inside the handler, so it must only set flags (``Engine.cancel`` does).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, lambda *_: cancel()) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
