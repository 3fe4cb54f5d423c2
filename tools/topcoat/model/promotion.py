"""A promotion as a value: what somebody wants promoted, before it is known which set that is.

This module must never hold anything that is open: no client, no key, no lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topcoat.model.receipt import Receipt


@dataclass(frozen=True)
class PromotionRequest:
    """See the options of ``topcoat promote``."""

    name: str
    """Floating tag."""
    source: str | None = None
    """Tag to promote; None: the newest candidate of DLRN that meets the criteria."""
    receipt: Receipt | None = None
    criteria: Path | None = None
    """File of promotion criteria; None: that of the profile, where there is one."""
    dlrn: str | None = None
    """URL of the API that votes are read from, and that is told last."""
    inventories: bool = True
    wait_seconds: float = 0.0
    partial: bool = False
    older: bool = False
    override: str | None = None
    """Why the criteria are passed over; None: they are not."""
