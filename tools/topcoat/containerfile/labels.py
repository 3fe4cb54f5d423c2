"""The labels that a run writes on an image beside the recipe's own.

This module must never put a secret or a host-dependent path into a label.
"""

from __future__ import annotations

from topcoat.containerfile.fingerprint import Fingerprint
from topcoat.model.image import Digest
from topcoat.model.labels import BASE_DIGEST, BASE_NAME, CLASS, FINGERPRINT, FINGERPRINT_PARTS, IMAGE, PARENT
from topcoat.model.recipe import Recipe


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
