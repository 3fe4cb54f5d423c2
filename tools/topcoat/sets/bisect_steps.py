"""The steps of a bisect as they are written down, so that a search that was killed goes on where it was.

This module must never run anything, and never take up a step whose words it does not understand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topcoat.changes.bisect import OUTCOMES, Trial
from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.process.files import write_whole

SCHEMA = "https://topcoat.dev/schemas/bisect/1"
_DOOR = Door(UsageError, "start anew with --restart")


@dataclass
class Step:
    """One step."""

    number: int
    applied: list[str]
    """Source packages that were put on the good set."""
    outcome: str
    code: int
    tag: str
    images: int
    """Images that got a layer."""
    seconds: float
    """For the images; the command took ``ran`` seconds."""
    ran: float
    suspects: int
    """So many were left after it."""


def trials(steps: Sequence[Step]) -> list[Trial]:
    """What the steps tell whoever decides on the next one."""
    return [Trial(frozenset(step.applied), step.outcome) for step in steps]


def load(path: Path) -> list[Step]:
    """The steps that were made before; empty where there is no file.

    :raises UsageError: the file is not what ``save`` writes.
    """
    if not path.exists():
        return []
    what = "the steps of this search"
    shape = _DOOR.shape(what, where=str(path))
    document = shape.table(_DOOR.json_file(path, what), "it")
    steps = []
    for row in shape.items(document.get("steps"), "steps", dict):
        numbers = {key: shape.number(row.get(key), key) for key in ("number", "images", "suspects")}
        words = {key: shape.need(row, key, str) for key in ("outcome", "tag")}
        shape.one_of(words["outcome"], "outcome", OUTCOMES)
        spent = {key: shape.moment(row.get(key), key) for key in ("seconds", "ran")}
        code = shape.need(row, "code", int)
        steps.append(Step(applied=shape.items(row.get("applied"), "applied", str), code=code, **numbers, **words, **spent))  # type: ignore[arg-type]
    return steps


def save(path: Path, steps: Sequence[Step]) -> None:
    """Write the steps down, all or none."""
    write_whole(path, json.dumps({"schema": SCHEMA, "steps": [step.__dict__ for step in steps]}, indent=1) + "\n")
