"""Names of the labels that images of ours carry in their configuration.

This module must never hold anything but constants.
"""

from __future__ import annotations

INVENTORY = "io.topcoat.inventory"
"""Which documents are the image's inventory, by digest, and of which layers: see ``topcoat.runs.claims``."""
