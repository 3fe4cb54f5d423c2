"""The labels that a run writes on an image beside the recipe's own.

This module must never put a secret or a host-dependent path into a label.
"""

from __future__ import annotations

from topcoat.containerfile.fingerprint import Fingerprint
from topcoat.model.image import Digest
from topcoat.model.recipe import Recipe

IMAGE = "io.topcoat.image"
CLASS = "io.topcoat.class"
PARENT = "io.topcoat.parent"
FINGERPRINT = "io.topcoat.fingerprint"
FINGERPRINT_PARTS = "io.topcoat.fingerprint-parts"
UPDATE_BASE = "io.topcoat.update-base"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"


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
