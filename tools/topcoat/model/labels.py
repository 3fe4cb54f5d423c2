"""Names of the labels that images carry in their configuration, and of the annotations on documents beside them: each stands here and nowhere else.

This module must never hold anything but constants.
"""

from __future__ import annotations

OWN = "io.topcoat."
"""Where every name of ours begins; a recipe may not use one."""

# what a run writes on an image
IMAGE = f"{OWN}image"
CLASS = f"{OWN}class"
PARENT = f"{OWN}parent"
FINGERPRINT = f"{OWN}fingerprint"
FINGERPRINT_PARTS = f"{OWN}fingerprint-parts"
UPDATE_BASE = f"{OWN}update-base"
"""Digest of the image on which an update put its layer."""
INVENTORY = f"{OWN}inventory"
"""Which documents are the image's inventory, by digest, and of which layers: see ``topcoat.runs.claims``."""

# names of the OCI image specification, annotations
TITLE = "org.opencontainers.image.title"
DESCRIPTION = "org.opencontainers.image.description"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

# annotations of a zstd:chunked layer (containers/storage, pkg/chunked)
CHUNKED_CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
CHUNKED_POSITION = "io.github.containers.zstd-chunked.manifest-position"
CHUNKED_TARSPLIT = "io.github.containers.zstd-chunked.tarsplit-position"

# annotations of documents that lie under a tag
TREE = f"{OWN}tree"
PROJECT = f"{OWN}project"
PROMOTION = f"{OWN}promotion"
LOCK = f"{OWN}lock"
HISTORY = f"{OWN}promotion-history"
HOLD = f"{OWN}promotion-hold"
GC_SEEN = f"{OWN}gc-seen"
GC_CONDEMNED = f"{OWN}gc-condemned"
REMOVED_TAG = f"{OWN}removed-tag"
NONCE = f"{OWN}nonce"
