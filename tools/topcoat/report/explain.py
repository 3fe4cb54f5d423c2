"""One line of a plan told at length: what is done to an image, and which file, package or change is the reason.

This module must never decide: it reads a plan and what the plan was made from.
"""

from __future__ import annotations

from collections.abc import Mapping

from topcoat.model import Plan, ancestry

_PARTS = {
    "containerfile": "the recipe (its Containerfile)",
    "files": "the content of a file that the recipe copies",
    "arguments": "the target (architecture, distribution, release)",
    "parent": "the parent's recipe, or the base image",
}
_ACTIONS = {
    "build": "is built from its recipe",
    "update": "gets one update layer",
    "reuse": "is published again as it is, by digest; nothing is pulled",
}


def explain(
    plan: Plan,
    name: str,
    *,
    parts: Mapping[str, str],
    reference_parts: Mapping[str, str] | None,
    where: str,
    changes_under_test: Mapping[str, tuple[str, str | None]],
) -> dict[str, object]:
    """Everything that led to one line of the plan.

    :param parts: parts of the fingerprint of the recipe as it is now; ``reference_parts`` those of the reference image, None without one.
    :param where: ``file:line`` of the recipe.
    :param changes_under_test: NEVRA → (project, URL of the change or None) of gated packages.
    """
    image = plan.of(name)
    known = {entry.name: entry for entry in plan.images}
    standing = [known[above] for above in ancestry.above(name, known)]
    differing = []
    if reference_parts is not None:
        differing = [text for part, text in _PARTS.items() if parts.get(part) != reference_parts.get(part)]
    return {
        "image": name,
        "action": image.action.value,
        "reason": image.reason.code,
        "sentence": image.sentence,
        "recipe": where,
        "reference": image.reference,
        "differs": differing,
        "ancestors": [{"image": entry.name, "action": entry.action.value, "reason": entry.reason.code} for entry in standing],
        "packages": [
            {
                "name": change.name,
                "old": str(change.old) if change.old else None,
                "new": str(change.new) if change.new else None,
                "repository": change.repository,
                "project": changes_under_test.get(str(change.new), (None, None))[0],
                "change_url": changes_under_test.get(str(change.new), (None, None))[1],
            }
            for change in image.changes
        ],
    }


def text(told: Mapping[str, object]) -> str:
    """The explanation for a terminal."""
    lines = [f"{told['image']} {_ACTIONS[str(told['action'])]}.", "", f"  why        {told['reason']}: {told['sentence']}"]
    if told["recipe"]:
        lines.append(f"  recipe     {told['recipe']}")
    lines.append(f"  reference  {told['reference'] or 'none: the registry has no such image yet'}")
    for part in told["differs"]:  # type: ignore[attr-defined]
        lines.append(f"  differs    {part}")
    for entry in told["ancestors"]:  # type: ignore[attr-defined]
        lines.append(f"  stands on  {entry['image']} ({entry['action']}, {entry['reason']})")
    packages: list[Mapping[str, str | None]] = told["packages"]  # type: ignore[assignment]
    if packages:
        lines += ["", "  packages that change:"]
        for entry in packages:
            source = entry["change_url"] or entry["project"] or entry["repository"] or ""
            lines.append(f"    {entry['old'] or '(not installed)'} -> {entry['new'] or '(removed)'}" + (f"  from {source}" if source else ""))
    return "\n".join(lines)
