"""What a run's receipt says about how an image came to be, as SLSA provenance.

This module must never say what the receipt does not: what is not known is left out.
"""

from __future__ import annotations

import re

from topcoat.model import ImageResult, Receipt
from topcoat.model.moments import rfc3339

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://topcoat.dev/provenance/run/1"
BUILDER = "https://topcoat.dev/builder/1"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def provenance(receipt: Receipt, image: ImageResult, *, builder: str = BUILDER) -> dict[str, object]:
    """The predicate for one image (SLSA 1.0, "Provenance").

    :param builder: URI of whoever is trusted to have run it: a Zuul, or a person's machine.
    """
    dependencies = [*_below(image), *_repositories(receipt), *_changes(receipt), *_recipes(receipt)]
    internal = {"reason": image.reason, "method": image.method, "fingerprint": image.fingerprint}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "image": image.name,
                "profile": receipt.profile,
                "tag": receipt.tag,
                "action": image.action,
                **({"zuul": receipt.zuul} if receipt.zuul else {}),
            },
            "internalParameters": {name: value for name, value in internal.items() if value},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": builder},
            "metadata": {
                "invocationId": str(receipt.zuul.get("build") or receipt.tag),
                "startedOn": rfc3339(image.started or receipt.started),
                "finishedOn": rfc3339(image.finished or receipt.finished),
            },
            **({"byproducts": [{"name": "inventory", "digest": _digest(image.inventory)}]} if image.inventory else {}),
        },
    }


def _below(image: ImageResult) -> list[dict[str, object]]:
    if not image.base_digest:
        return []
    return [{"name": "base image", "digest": _digest(image.base_digest), **({"annotations": {"image": image.parent}} if image.parent else {})}]


def _repositories(receipt: Receipt) -> list[dict[str, object]]:
    """The frozen view: which ``repomd.xml`` each repository had."""
    return [
        {"name": f"repository {name}", "digest": {"sha256": match[1]}}
        for name, repomd in receipt.repositories
        if (match := _SHA256.fullmatch(repomd))
    ]


def _changes(receipt: Receipt) -> list[dict[str, object]]:
    """Each commit under test that packages were built from, once."""
    found: dict[str, dict[str, object]] = {}
    for entry in receipt.gated:
        commit = str(entry.get("commit") or "")
        if _COMMIT.fullmatch(commit):
            url = entry.get("change_url")
            found.setdefault(
                commit, {"name": str(entry.get("project") or "change"), "digest": {"gitCommit": commit}, **({"uri": str(url)} if url else {})}
            )
    return list(found.values())


def _recipes(receipt: Receipt) -> list[dict[str, object]]:
    """The commit of the recipes; one that was changed on disk is not what was built, so it says so."""
    commit = str(receipt.recipes.get("commit") or "")
    if not _COMMIT.fullmatch(commit):
        return []
    return [{"name": "recipes", "digest": {"gitCommit": commit}, "annotations": {"changed": bool(receipt.recipes.get("changed"))}}]


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}
