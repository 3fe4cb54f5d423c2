"""The published schemas, asked of real documents.

Never accept a key that a schema does not name: readers may ignore what they do not know, but whoever writes it has to tell.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

from topcoat.engine import events
from topcoat.report import document

FOLDER = Path(__file__).parents[1] / "doc/source/formats"


def published(name: str) -> dict[str, Any]:
    """The schema of a kind of document, as readers find it."""
    if name == "receipt":
        return document.schema()
    if name == "event":
        return events.schema()
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


def _closed(shape: Any) -> Any:
    """The same, refusing every key that is not described."""
    if isinstance(shape, list):
        return [_closed(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    found = {key: _closed(value) for key, value in shape.items()}
    return {"additionalProperties": False, **found} if isinstance(shape.get("properties"), dict) and shape.get("type") == "object" else found


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    shape = published(name)
    jsonschema.Draft202012Validator.check_schema(shape)
    return jsonschema.Draft202012Validator(_closed(shape))


def check(name: str, found: object) -> None:
    """Raise when a document is not of the published schema, or holds a key that the schema does not name."""
    error = jsonschema.exceptions.best_match(_validator(name).iter_errors(json.loads(json.dumps(found))))
    if error:
        raise AssertionError(f"{name}: {error.json_path}: {error.message[:500]}")
