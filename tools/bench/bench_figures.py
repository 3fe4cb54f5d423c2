"""How a benchmark tells its figures.

This program must never leave one out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def tell(figures: Mapping[str, object], file: Path | None) -> None:
    """Print the figures as JSON, and write them into a file where one is given."""
    text = json.dumps(figures, indent=2)
    if file:
        file.write_text(f"{text}\n", encoding="utf-8")
    print(text)
