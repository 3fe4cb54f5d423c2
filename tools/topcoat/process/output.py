"""What a running program prints: read as it comes, kept as far as it may grow, appended to a log.

This module must never let a program wait because nobody reads, and never hold more of it than was said.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import IO

from topcoat.process.jail import limits

KEEP_LINES = 40
_LONGEST_LINE = 1 << 16
_READ_ON_SECONDS = 5.0
_SHOWN = 2000
"""Bytes of a line that an error shows."""


class Output:
    """Both streams of one program: standard output, the last lines of either, and all of it in a log."""

    def __init__(self, log: Path | None, most: int) -> None:
        """:param log: appended to. :param most: bytes that are kept of standard output, and that the log gets; the rest is read and left out.

        :raises OSError: the log cannot be opened.
        """
        self._most = most
        self._kept: list[bytes] = []
        self._last: deque[bytes] = deque(maxlen=KEEP_LINES)
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._held = self._logged = 0
        self._sink: IO[bytes] | None = None
        self.unwritten: OSError | None = None
        """Why the log is not whole, where the machine is the reason."""
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._sink = log.open("ab", buffering=0)

    def follow(self, stream: IO[bytes], *, keep: bool) -> None:
        """Read a stream to its end, in a thread of its own. :param keep: it is the standard output."""
        reader = threading.Thread(target=self._read, args=(stream, keep), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read(self, stream: IO[bytes], keep: bool) -> None:
        with stream:
            while line := stream.readline(_LONGEST_LINE):
                with self._lock:
                    self._last.append(line[:_SHOWN])
                    if keep:
                        if self._held < self._most:
                            self._kept.append(line)
                        self._held += len(line)
                    self._log(line)

    def _log(self, line: bytes) -> None:
        if self._sink is None or self._logged >= self._most:
            return
        self._logged += len(line)
        try:
            self._sink.write(line if self._logged < self._most else line + limits.LEFT_OUT)
        except OSError as error:
            self.unwritten = error
            self._stop_logging()

    def _stop_logging(self) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The program has ended; what it started may still hold the streams open."""
        for reader in self._readers:
            reader.join(_READ_ON_SECONDS)
        with self._lock:
            self._stop_logging()

    @property
    def cut(self) -> bool:
        """Whether standard output is not whole."""
        return self._held > self._most

    @property
    def text(self) -> str:
        """Standard output."""
        return b"".join(self._kept).decode("utf-8", "replace")

    @property
    def tail(self) -> str:
        """The last lines, for an error."""
        with self._lock:
            return b"".join(self._last).decode("utf-8", "replace").strip()
