"""The plan as a JSON document, and back.

This module must never accept a document whose schema it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topcoat.errors import UsageError
from topcoat.model import Nevra, PackageChange, Plan, PlannedImage, Reason

SCHEMA = "https://topcoat.dev/schemas/plan/1"


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
    try:
        return Plan(
            document["profile"],
            tuple(_image(image) for image in document["images"]),
            tuple((repository["id"], repository["repomd_sha256"]) for repository in document["repositories"]),
            tuple(Nevra.parse(text) for text in document["gated"]),
        )
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise UsageError(f"the plan is damaged: {error!r}", next_step="make it again ('topcoat plan --format json')") from error


def _image(data: Mapping[str, Any]) -> PlannedImage:
    changes = tuple(PackageChange(_nevra(change["old"]), _nevra(change["new"]), change["repository"]) for change in data["changes"])
    image = PlannedImage(
        data["name"],
        Reason.of(data["reason"]),
        data["sentence"],
        data["parent"],
        data["fingerprint"],
        data["reference"],
        changes,
        data["update_base"],
        tuple(str(entry) for entry in data.get("held_back", ())),
    )
    if image.action.value != data["action"]:
        raise ValueError(f"{image.name}: action {data['action']!r} does not go with the reason {image.reason.code!r}")
    return image


def _text(nevra: Nevra | None) -> str | None:
    return str(nevra) if nevra else None


def _nevra(text: str | None) -> Nevra | None:
    return Nevra.parse(text) if text else None
