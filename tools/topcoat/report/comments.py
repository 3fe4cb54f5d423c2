"""What a run says inside the review: a comment on the recipe line that fails, and warnings that need a person.

This module must never comment on a file that is not part of the project under review: Gerrit refuses the whole set.

The shape is Zuul's ``zuul_return`` (``zuul.file_comments`` and ``zuul.warnings``): path → list of ``{"line", "message", "level"}``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from topcoat.model import Receipt
from topcoat.report import facts

_WHERE = re.compile(r"(?P<path>[^\x00-\x1f]+?)(?::(?P<line>[0-9]+))?")
_LONGEST = 2000
"""Characters of one message; reviewers follow the log for more."""


def _place(where: object) -> tuple[str, int] | None:
    """Path inside the checkout and line, or None for anything that is not a plain relative path."""
    match = _WHERE.fullmatch(str(where or ""))
    if not match:
        return None
    path = PurePosixPath(match["path"])
    if path.is_absolute() or ".." in path.parts or not path.parts:
        return None
    return str(path), int(match["line"] or 0)


def _message(image: str, error: dict[str, object], below: int) -> str:
    lines = [f"The image {image} failed: {error.get('what')}"]
    if error.get("next_step"):
        lines.append(f"What to do: {error['next_step']}")
    if below:
        lines.append(f"{facts.plural(below, 'image')} that stand on it were skipped.")
    lines.append("A recheck can help." if error.get("recheck_helps") else "A recheck will not help.")
    return "\n".join(lines)[:_LONGEST]


def file_comments(receipt: Receipt, *, prefix: str = "", known: Collection[str] | None = None) -> dict[str, list[dict[str, object]]]:
    """Comments on recipe lines, one an image that failed for its content (infrastructure is not the author's fault).

    :param prefix: folder that paths are relative to (the checkout); taken off absolute paths.
    :param known: paths that exist in the project under review; others are left out. None: all are taken.
    """
    comments: dict[str, list[dict[str, object]]] = {}
    skipped = {image.name for image in receipt.images if image.status == "skipped"}
    for image in receipt.images:
        error = image.error
        if image.status != "failed" or not error or error.get("class") not in ("content", "usage"):
            continue
        where = str(error.get("where") or image.where or "")
        place = _place(where.removeprefix(prefix.rstrip("/") + "/") if prefix else where)
        if place is None or (known is not None and place[0] not in known):
            continue
        below = sum(name in skipped for name in facts.stands_on(receipt, image.name))
        comment: dict[str, object] = {"message": _message(image.name, error, below), "level": "error"}
        if place[1]:
            comment["line"] = place[1]
        comments.setdefault(place[0], []).append(comment)
    return comments


def warnings(receipt: Receipt) -> list[str]:
    """Sentences that Zuul shows with the result: the run's own, those of images, and what was only right after a retry."""
    found = list(receipt.warnings)
    found += [f"{image.name}: {warning}" for image in receipt.images for warning in image.warnings]
    failed = [image.name for image in receipt.images if image.status == "failed" and (image.error or {}).get("recheck_helps")]
    if failed:
        names = ", ".join(failed[:5])
        found.append(f"{facts.plural(len(failed), 'image')} failed because of infrastructure, not of the change ({names}): a recheck can help.")
    waived = [str(entry["package"]) for entry in receipt.coverage if entry.get("waived_by") and not entry.get("covered")]
    if waived and len(waived) == len(receipt.coverage):
        found.append("No package of the change is inside any image: every one of them is waived, so image jobs test nothing of it.")
    return found
