"""Programs that carry out what nobody has reviewed, started out of reach of the machine.

This module must never pass on the caller's environment, and never show a folder that was not named.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from topcoat import process
from topcoat.errors import ContentError, InfrastructureError
from topcoat.process import Processes, Result, groups
from topcoat.process.bounds import Bounds
from topcoat.process.jail import limits

_CONFINE = Path(__file__).resolve().parent / "jail" / "confine.py"
_NAMESPACES = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")


class LimitError(ContentError):
    """It took more than it may."""

    usual_step = "read what it did in the log, correct the recipe or the spec file"


def command(
    program: Sequence[str],
    *,
    place: str,
    folders: Iterable[tuple[str, str]],
    network: str | None = "",
    mounts: bool = False,
    bounds: Bounds | None = None,
    group: str = "",
) -> list[str]:
    """The command line that runs a program in a root of its own (``process/jail/confine.py``).

    :param place: an empty directory for that root.
    :param folders: (path, ``ro`` or ``rw``), shown at the same path.
    :param network: path of a network namespace; "": a new, empty one; None: the machine's network.
    :param mounts: whether it may mount (a builder of images), beside a transaction's rights.
    :param group: name of a control group for it; "": none.
    """
    most = (bounds or Bounds()).as_dict()
    wanted = {"bounds": most, "group": group, "place": place, "folders": [list(folder) for folder in folders], "network": network, "mounts": mounts}
    own = ("--net",) if network == "" else ()
    return [*_NAMESPACES, *own, sys.executable, "-I", os.fspath(_CONFINE), json.dumps(wanted), *program]


def environment(**more: str) -> dict[str, str]:
    """What such a program gets for its environment: nothing of the caller's but the search path."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root", "LANG": "C.UTF-8", **more}


def run(
    program: Sequence[str],
    *,
    folders: Iterable[tuple[str, str]],
    env: Mapping[str, str],
    bounds: Bounds,
    scratch: Path | None = None,
    network: str | None = "",
    mounts: bool = False,
    watched: Sequence[Path] = (),
    log: Path | None = None,
    image: str | None = None,
    processes: Processes | None = None,
    ordered: bool = False,
) -> Result:
    """Run a program in a root of its own to its end, held to limits; see ``command`` and ``topcoat.process.run``.

    :param scratch: folder for its root; None: the system's for temporary files.
    :param watched: folders of its own, whose growth is bounded.
    :raises ContentError: it failed. :raises LimitError: it ran into a limit.
    :raises InfrastructureError: the machine's own network was asked for, and time was up.
    """
    group, name = groups.fresh(), Path(program[0]).name
    watch = limits.Watch(limits.Group(group), [os.fspath(folder) for folder in watched], bounds.as_dict())
    try:
        with tempfile.TemporaryDirectory(prefix="root-", dir=scratch) as place:
            words = command(program, place=place, folders=folders, network=network, mounts=mounts, bounds=bounds, group=group)
            result = process.run(
                words,
                timeout=bounds.seconds,
                log=log,
                image=image,
                env=env,
                processes=processes,
                ordered=ordered,
                watch=watch.look,
                # Without a network there is nothing that it could wait for.
                late=InfrastructureError if network is None else LimitError,
                name=name,
                most=bounds.output,
            )
        starved = watch.starved()
        if starved:
            raise LimitError(f"{name} {starved}", image=image, log=os.fspath(log) if log else None)
        return result
    except LimitError:
        raise
    except ContentError as error:
        verdict = watch.verdict()
        if verdict:
            raise LimitError(f"{name} {verdict}: {error.what}", image=image, log=error.log) from error
        raise
    finally:
        groups.remove(group)
