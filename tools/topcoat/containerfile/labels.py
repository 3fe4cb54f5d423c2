"""The labels that a run writes on an image beside the recipe's own.

This module must never put a secret or a host-dependent path into a label.
"""

from __future__ import annotations

from collections.abc import Mapping

from topcoat.containerfile.fingerprint import Fingerprint
from topcoat.documents import Door
from topcoat.errors import ContentError
from topcoat.model.image import Digest
from topcoat.model.labels import BASE_DIGEST, BASE_NAME, CLASS, FINGERPRINT, FINGERPRINT_PARTS, IMAGE, PARENT
from topcoat.model.recipe import Recipe

_DOOR = Door(ContentError, "build the image again")


def image_labels(recipe: Recipe, own: Fingerprint, *, base_name: str, base_digest: Digest | None) -> dict[str, str]:
    """Labels of a built image.

    :param base_name: reference of the image it was built from, ``repository:tag`` as it was asked for (OCI image specification, annotations).
    :param base_digest: digest of that image's manifest.
    """
    labels = {
        IMAGE: recipe.name,
        CLASS: recipe.image_class,
        FINGERPRINT: own.total,
        FINGERPRINT_PARTS: own.compact(),
        BASE_NAME: base_name,
        PARENT: recipe.parent or "",
    }
    if base_digest:
        labels[BASE_DIGEST] = base_digest
    return labels


def fingerprint_parts(labels: Mapping[str, str]) -> dict[str, str]:
    """Parts of the fingerprint that an image carries in its labels; empty when it carries none, or in words of others."""
    try:
        return _DOOR.shape("label").texts(_DOOR.json_object(labels.get(FINGERPRINT_PARTS) or "{}", "label"), "parts")
    except ContentError:
        return {}
