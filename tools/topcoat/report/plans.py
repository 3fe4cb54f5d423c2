"""A plan as text for people: image, action, reason.

This module must never leave an image out.
"""

from __future__ import annotations

from topcoat.model import Action, Plan
from topcoat.report.figures import plural


def table(plan: Plan) -> str:
    """Columns image, action and reason, parents first, and a line that counts."""
    rows = [("IMAGE", "ACTION", "REASON")]
    rows += [(image.name, image.action.value, f"{image.reason.code}: {image.sentence}") for image in plan.images]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows]
    counts = ", ".join(f"{plan.count(action)} to {action.value}" for action in Action)
    return "\n".join([*lines, "", f"{plural(len(plan.images), 'image')}: {counts}"])
