"""Programs that carry out what nobody has reviewed, started out of reach of the machine.

This module must never pass on the caller's environment, and never show a folder that was not named.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_CONFINE = Path(__file__).resolve().parents[1] / "updater" / "worker" / "confine.py"
_NAMESPACES = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")


def command(program: Sequence[str], *, place: str, folders: Iterable[tuple[str, str]], network: str | None = "", mounts: bool = False) -> list[str]:
    """The command line that runs a program in a root of its own (``updater/worker/confine.py``).

    :param place: an empty directory for that root.
    :param folders: (path, ``ro`` or ``rw``), shown at the same path.
    :param network: path of a network namespace; "": a new, empty one; None: the machine's network.
    :param mounts: whether it may mount (a builder of images), beside a transaction's rights.
    """
    wanted = {"place": place, "folders": [list(folder) for folder in folders], "network": network, "mounts": mounts}
    own = ("--net",) if network == "" else ()
    return [*_NAMESPACES, *own, sys.executable, "-I", os.fspath(_CONFINE), json.dumps(wanted), *program]


def environment(**more: str) -> dict[str, str]:
    """What such a program gets for its environment: nothing of the caller's but the search path."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", "LANG": "C.UTF-8", **more}
