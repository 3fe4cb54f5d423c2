"""The steps of a bisect as they are written down in the registry, so that a search that was killed goes on where it was, on any machine.

This module must never run anything, and never take up a step whose words it does not understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topcoat.changes.bisect import OUTCOMES, Trial
from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.model import beside
from topcoat.publisher import receipts
from topcoat.registry import RegistryClient

SCHEMA = "https://topcoat.dev/schemas/bisect/1"
_TYPE = "application/vnd.topcoat.bisect.v1+json"
_ANEW = "start anew with --restart"
_DOOR = Door(UsageError, _ANEW)


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


def load(client: RegistryClient, namespace: str, tag: str) -> list[Step]:
    """The steps that were made before; empty where none are written down.

    :raises ContentError: something else lies there.
    :raises UsageError: it is not what ``save`` writes.
    """
    found = receipts.read(client, namespace, tag, _TYPE, _ANEW)
    return [] if found is None else of_document(found, f"{client.host}/{beside.within(namespace, beside.RUNS)}:{tag}")


def of_document(found: object, where: str) -> list[Step]:
    """The steps that a document holds; raises as ``load``."""
    shape = _DOOR.shape("the steps of this search", where=where)
    document = shape.table(found, "it")
    steps = []
    for row in shape.items(document.get("steps"), "steps", dict):
        numbers = {key: shape.number(row.get(key), key) for key in ("number", "images", "suspects")}
        words = {key: shape.need(row, key, str) for key in ("outcome", "tag")}
        shape.one_of(words["outcome"], "outcome", OUTCOMES)
        spent = {key: shape.moment(row.get(key), key) for key in ("seconds", "ran")}
        code = shape.need(row, "code", int)
        steps.append(Step(applied=shape.items(row.get("applied"), "applied", str), code=code, **numbers, **words, **spent))  # type: ignore[arg-type]
    return steps


def save(client: RegistryClient, namespace: str, tag: str, steps: Sequence[Step]) -> None:
    """Write the steps down, all or none."""
    receipts.store(client, namespace, tag, {"schema": SCHEMA, "steps": [step.__dict__ for step in steps]}, _TYPE)
