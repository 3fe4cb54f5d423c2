"""A plan as text for people, and as a JSON document and back.

This module must never leave an image out, and never accept a document whose schema it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topcoat.documents import Door, Shape
from topcoat.errors import UsageError
from topcoat.model import Action, Digest, Nevra, PackageChange, Plan, PlannedImage, Reason
from topcoat.report.figures import plural

SCHEMA = "https://topcoat.dev/schemas/plan/1"
_DOOR = Door(UsageError, "make it again ('topcoat plan --format json')")


def table(plan: Plan) -> str:
    """Columns image, action and reason, parents first, and a line that counts."""
    rows = [("IMAGE", "ACTION", "REASON")]
    rows += [(image.name, image.action.value, f"{image.reason.code}: {image.sentence}") for image in plan.images]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows]
    counts = ", ".join(f"{plan.count(action)} to {action.value}" for action in Action)
    return "\n".join([*lines, "", f"{plural(len(plan.images), 'image')}: {counts}"])


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """A plan as data that ``json.dumps`` takes; ``action`` is there for readers, the reason's code decides."""
    return {
        "schema": SCHEMA,
        "profile": plan.profile,
        "repositories": [{"id": repo_id, "repomd_sha256": checksum} for repo_id, checksum in plan.repositories],
        "gated": [str(nevra) for nevra in plan.gated],
        "images": [
            {
                "name": image.name,
                "action": image.action.value,
                "reason": image.reason.code,
                "sentence": image.sentence,
                "parent": image.parent,
                "fingerprint": image.fingerprint,
                "reference": image.reference,
                "update_base": image.update_base,
                "changes": [{"old": _text(change.old), "new": _text(change.new), "repository": change.repository} for change in image.changes],
                **({"held_back": list(image.held_back)} if image.held_back else {}),
            }
            for image in plan.images
        ],
    }


def plan_from_dict(document: Mapping[str, Any]) -> Plan:
    """Read back what ``plan_to_dict`` gave.

    :raises UsageError: another schema, or not of this shape.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, Mapping) else type(document).__name__
        raise UsageError(
            f"not a plan of schema {SCHEMA}: {found!r}", next_step="make the plan again with this version ('topcoat plan --format json')"
        )
    shape = _DOOR.shape("the plan")
    try:
        return Plan(
            shape.need(document, "profile", str),
            tuple(_image(image, shape) for image in shape.items(shape.need(document, "images", list), "images", dict)),
            tuple(
                (shape.need(entry, "id", str), shape.need(entry, "repomd_sha256", str))
                for entry in shape.items(shape.need(document, "repositories", list), "repositories", dict)
            ),
            tuple(Nevra.parse(text) for text in shape.items(shape.need(document, "gated", list), "gated", str)),
        )
    except (ValueError, UsageError) as error:
        raise UsageError(f"the plan is damaged: {getattr(error, 'what', error)}", next_step=_DOOR.next_step) from error


def _image(data: Mapping[str, Any], shape: Shape) -> PlannedImage:
    name = shape.need(data, "name", str, "images")
    changes = tuple(_change(change, shape) for change in shape.items(data.get("changes"), f"changes of {name}", dict))
    image = PlannedImage(
        name,
        Reason.of(shape.need(data, "reason", str, name)),
        shape.need(data, "sentence", str, name),
        shape.text(data.get("parent"), f"{name}.parent") or None,
        shape.need(data, "fingerprint", str, name),
        Digest(shape.text(data.get("reference"), f"{name}.reference")) or None,
        changes,
        Digest(shape.text(data.get("update_base"), f"{name}.update_base")) or None,
        tuple(shape.items(data.get("held_back"), f"held_back of {name}", str)),
    )
    if image.action.value != data.get("action"):
        raise ValueError(f"{image.name}: action {str(data.get('action'))[:40]!r} does not go with the reason {image.reason.code!r}")
    return image


def _change(data: Mapping[str, Any], shape: Shape) -> PackageChange:
    old, new = _nevra(shape.text(data.get("old"), "old")), _nevra(shape.text(data.get("new"), "new"))
    if old is None and new is None:
        shape.refuse("a change", "one with an old or a new package")
    return PackageChange(old, new, shape.text(data.get("repository"), "repository") or None)


def _text(nevra: Nevra | None) -> str | None:
    return str(nevra) if nevra else None


def _nevra(text: str | None) -> Nevra | None:
    return Nevra.parse(text) if text else None
