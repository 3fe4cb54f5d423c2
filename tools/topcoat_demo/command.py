"""Starts a ``topcoat`` command for a person who may press Ctrl-C: it ends in good order and leaves its receipt.

This module must never kill a command that still tidies up, unless it takes longer than anybody waits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

_PATIENCE_SECONDS = 60.0


def topcoat(words: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; its messages go where ours go.

    :param capture: keep standard output instead of showing it.
    :raises KeyboardInterrupt: we were interrupted; the command has ended.
    """
    command = [sys.executable, "-m", "topcoat", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE if capture else None, text=True, env={**os.environ, "COLUMNS": "120"})
    try:
        output, _ = process.communicate()
    except BaseException:
        _end(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, output or "")


def _end(process: subprocess.Popen[str]) -> None:
    """Ask it to end, wait, and only then insist. A terminal's Ctrl-C has reached it already; asking twice does no harm."""
    process.terminate()
    try:
        process.communicate(timeout=_PATIENCE_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
