"""What a job returns to Zuul: images as artifacts, warnings, comments on lines of recipes.

This module must never put a credential into returned data: it becomes public with the build.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference, ImageResult, Receipt, Status
from topcoat.model.receipt import require_whole

WARNINGS_SHOWN = 20
# Lists that Zuul appends to over several calls of zuul_return in one job; everything else is replaced (zuul/ansible/base/action/zuul_return.py).
_ACCUMULATED = ("artifacts", "warnings", "redactions")


def image_artifact(image: ImageResult, *, tag: str) -> dict[str, object]:
    """One published image in the shape of zuul-jobs, with its digest.

    :param tag: the name under which users of the image look for it; the URL always has the unique tag.
    :raises ContentError: the image has no digest, so nobody could prove to run it.
    """
    if not image.digest or not image.tag:
        raise ContentError("was published without a digest", image=image.name, next_step="look at the log of the image: the push was not read back")
    reference = ImageReference.parse(f"{image.repository}:{image.tag}")
    metadata: dict[str, object] = {
        "type": "container_image",
        "repository": reference.repository,
        "tag": tag,
        "image": image.name,
        "digest": image.digest,
        "action": image.action,
        "reason": image.reason,
    }
    if image.base_digest:
        metadata["base_digest"] = image.base_digest
    return {"name": f"{reference.repository}:{tag}", "url": f"docker://{reference}", "metadata": metadata}


def returned_artifacts(receipt: Receipt) -> dict[str, object]:
    """``{"zuul": {"artifacts": [...]}}``: every published image.

    :raises ContentError: the run failed, or published nothing: a set with holes must not reach a consumer.
    """
    if not receipt.status.usable:
        ended = "has not ended, or was killed" if receipt.status is Status.RUNNING else f"ended as {receipt.status.word!r}"
        raise ContentError(f"the run {ended}, so its images are not returned", next_step="repair what the report names first, then run it again")
    require_whole([receipt])
    images = [image for image in receipt.images if image.status is Status.DONE]
    if not images:
        raise ContentError("the receipt names no published image", next_step="check which images the plan selected")
    tag = receipt.floating_tags[0] if receipt.floating_tags else receipt.tag
    return {"zuul": {"artifacts": [image_artifact(image, tag=tag) for image in images]}}


def returned_findings(
    receipt: Receipt, *, report_url: str | None = None, comments: bool = False, recipes_folder: str = "container-images"
) -> dict[str, object]:
    """``{"zuul": {"artifacts", "warnings", "file_comments"}}``: the page, what needs attention, failures on the line of their recipe.

    :param report_url: where the reviewer's page is; relative to the log folder of the build.
    :param comments: whether the change under test belongs to the repository of the recipes; else its lines cannot be commented.
    :param recipes_folder: path of the recipes in their repository.
    """
    data: dict[str, object] = {}
    if report_url:
        data["artifacts"] = [{"name": "Container images", "url": report_url, "metadata": {"type": "topcoat_report"}}]
    warnings = [*receipt.warnings, *(f"{image.name}: {text}" for image in receipt.images for text in image.warnings)]
    if len(warnings) > WARNINGS_SHOWN:
        warnings = [*warnings[: WARNINGS_SHOWN - 1], f"and {len(warnings) - WARNINGS_SHOWN + 1} more, in the report"]
    if warnings:
        data["warnings"] = warnings
    if comments:
        found = _comments(receipt.images, recipes_folder)
        if found:
            data["file_comments"] = found
    return {"zuul": data}


def _comments(images: Sequence[ImageResult], folder: str) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for image in images:
        # A registry that is down is not the author's fault, so it is no comment on the author's line.
        if image.status is not Status.FAILED or not image.error or image.error.get("class") == "infrastructure":
            continue
        path, _, line = str(image.error.get("where") or image.where).rpartition(":")
        parts = path.split("/")
        if folder not in parts or not re.fullmatch("[0-9]{1,9}", line):
            continue
        # The recipes are at another place on the node than in their repository.
        inside = "/".join(parts[len(parts) - 1 - parts[::-1].index(folder) :])
        what = str(image.error.get("what") or "failed")
        step = str(image.error.get("next_step") or "")
        message = f"{image.name}: {what}" + (f"\n{step}" if step else "")
        found.setdefault(inside, []).append({"line": max(1, int(line)), "message": message, "level": "error"})
    return found


def join_receipts(receipts: Sequence[Receipt]) -> Receipt:
    """One receipt out of those of several nodes that each carried out a shard of one plan.

    :raises UsageError: none given, or they are of different runs.
    :raises ContentError: a part is missing; one image was published with two digests: the shards overlapped and disagree; or the nodes saw other
        repositories.
    """
    if not receipts:
        raise UsageError("no receipts to join", next_step="name the receipts of all nodes")
    first = receipts[0]
    for other in receipts[1:]:
        if (other.profile, other.tag) != (first.profile, first.tag):
            raise UsageError(
                f"receipts of different runs: {first.profile}/{first.tag} and {other.profile}/{other.tag}",
                next_step="join only the receipts of the nodes of one job",
            )
    for what, views in (("states of the repositories", [receipt.repositories for receipt in receipts]), ("packages under test", _gated(*receipts))):
        if len({view for view in views if view}) > 1:  # a node that failed before it had a plan names none
            raise ContentError(
                f"the receipts of {first.tag} are of several {what}, so their images belong to no set",
                next_step="let every node carry out one plan on one view ('topcoat freeze', --view)",
            )
    require_whole(receipts)
    images: dict[str, ImageResult] = {}
    for receipt in receipts:
        for image in receipt.images:
            known = images.get(image.name)
            if known and known.digest and image.digest and known.digest != image.digest:
                raise ContentError(
                    f"was published twice, as {known.digest} and as {image.digest}",
                    image=image.name,
                    next_step="the shards of the plan overlap: plan again, and report it",
                )
            if known is None or (known.status is not Status.DONE and image.status is Status.DONE):
                images[image.name] = image
    coverage: dict[str, dict[str, object]] = {}
    for receipt in receipts:
        for entry in receipt.coverage:
            name = str(entry["package"])
            known_entry = coverage.get(name)
            if known_entry is None:
                coverage[name] = dict(entry)
            else:
                known_entry["images"] = sorted({*known_entry["images"], *entry["images"]})  # type: ignore[misc]
                known_entry["covered"] = bool(known_entry["covered"] or entry["covered"])
                known_entry["wrong"] = [*known_entry.get("wrong", ()), *entry.get("wrong", ())]  # type: ignore[misc]
                known_entry["waived_by"] = None if known_entry["covered"] else known_entry.get("waived_by") or entry.get("waived_by")
    return replace(
        first,
        status=Status.worst(receipt.status for receipt in receipts),
        started=min(receipt.started for receipt in receipts),
        finished=max(receipt.finished for receipt in receipts),
        images=tuple(images.values()),
        coverage=tuple(coverage[name] for name in sorted(coverage)),
        floating_tags=tuple(dict.fromkeys(tag for receipt in receipts for tag in receipt.floating_tags)),
        recipes=first.recipes if all(receipt.recipes == first.recipes for receipt in receipts) else {},
        warnings=tuple(dict.fromkeys(text for receipt in receipts for text in receipt.warnings)),
        gated=tuple({str(entry.get("package")): entry for receipt in receipts for entry in receipt.gated}.values()),
        error=next((receipt.error for receipt in receipts if receipt.error), None),
        shard="",
    )


def _gated(*receipts: Receipt) -> list[frozenset[str]]:
    return [frozenset(str(entry.get("package")) for entry in receipt.gated) for receipt in receipts]


def merge_returned(known: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """What Zuul keeps of two calls of ``zuul_return``: lists under ``zuul`` add up (newest first), mappings merge, the rest is replaced."""
    merged = _merge(known, new)
    before, after = known.get("zuul"), new.get("zuul")
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        zuul = dict(merged["zuul"])  # type: ignore[call-overload]
        for name in _ACCUMULATED:
            if name in before or name in after:
                zuul[name] = [*after.get(name, ()), *before.get(name, ())]
        if "file_comments" in before and "file_comments" in after:
            comments: dict[str, list[object]] = {path: list(of) for path, of in before["file_comments"].items()}
            for path, of in after["file_comments"].items():
                comments.setdefault(path, []).extend(of)
            zuul["file_comments"] = comments
        merged["zuul"] = zuul
    return merged


def _merge(known: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    merged = dict(known)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = _merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged
