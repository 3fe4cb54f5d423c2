"""The receipt as a JSON document, described by ``receipt.schema.json``.

This module must never write half a receipt: a new one is moved over the old when it is complete.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageResult, LayerSize, Nevra, PackageChange, Receipt, Status
from topcoat.model.receipt import SCHEMA, require_whole
from topcoat.model.status import OF_RUNS, OF_TASKS
from topcoat.process.files import write_whole

_DOOR = Door(UsageError, "give the receipt.json of a run", limit=64 << 20)


def schema() -> dict[str, Any]:
    """The JSON Schema of a receipt: the file beside this one, with the words of ``Status`` filled in."""
    document: dict[str, Any] = json.loads(resources.files(__package__).joinpath("receipt.schema.json").read_text("utf-8"))
    document["properties"]["status"] = {"enum": [status.word for status in OF_RUNS]}
    document["$defs"]["image"]["properties"]["status"] = {"enum": [status.word for status in OF_TASKS]}
    return document


def change_to_dict(change: PackageChange) -> dict[str, object]:
    """``{"name", "old", "new", "repository"}``; old and new are NEVRAs or None."""
    return {
        "name": change.name,
        "old": str(change.old) if change.old else None,
        "new": str(change.new) if change.new else None,
        "repository": change.repository,
    }


def change_from_dict(shape: Mapping[str, object]) -> PackageChange:
    """The inverse of ``change_to_dict``."""
    old, new = shape.get("old"), shape.get("new")
    if not old and not new:
        raise UsageError("a change of packages names neither an old nor a new one", next_step=_DOOR.next_step)
    return PackageChange(Nevra.parse(str(old)) if old else None, Nevra.parse(str(new)) if new else None, shape.get("repository"))  # type: ignore[arg-type]


def _plain(record: object) -> dict[str, object]:
    """Fields of a dataclass by name, containers as JSON has them."""
    shape: dict[str, object] = {}
    for item in fields(record):  # type: ignore[arg-type]
        value = getattr(record, item.name)
        if item.name == "changes":
            value = [change_to_dict(change) for change in value]
        elif item.name == "layers":
            value = [{"digest": layer.digest, "size": layer.size, "new": layer.new} for layer in value]
        elif item.name == "stages":
            value = [{"name": name, "start": start, "end": end} for name, start, end in value]
        elif item.name == "images":
            value = [_plain(image) for image in value]
        elif item.name == "repositories":
            value = [{"id": name, "repomd": checksum} for name, checksum in value]
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Status):
            value = value.word
        shape[item.name] = value
    return shape


def receipt_to_dict(receipt: Receipt) -> dict[str, object]:
    """The JSON document, ``schema`` first, then the fields of ``Receipt`` in their order."""
    shape = _plain(receipt)
    return {"schema": shape.pop("schema"), **shape}


def _image_from_dict(shape: Mapping[str, object]) -> ImageResult:
    known = {item.name for item in fields(ImageResult)}
    values = {name: value for name, value in shape.items() if name in known}
    values["changes"] = tuple(change_from_dict(change) for change in shape.get("changes", ()))  # type: ignore[attr-defined]
    values["layers"] = tuple(LayerSize(layer["digest"], layer["size"], layer.get("new", False)) for layer in shape.get("layers", ()))  # type: ignore[attr-defined]
    values["stages"] = tuple((stage["name"], stage["start"], stage["end"]) for stage in shape.get("stages", ()))  # type: ignore[attr-defined]
    for name in ("warnings", "aliases", "unsigned"):
        values[name] = tuple(shape.get(name, ()))  # type: ignore[arg-type]
    return ImageResult(**values)  # type: ignore[arg-type]


def receipt_from_dict(shape: Mapping[str, object]) -> Receipt:
    """Read a receipt document.

    :raises UsageError: it is not one of this schema.
    """
    import jsonschema_rs

    if not isinstance(shape, Mapping) or shape.get("schema") != SCHEMA:
        found = shape.get("schema") if isinstance(shape, Mapping) else type(shape).__name__
        raise UsageError(f"not a receipt this version can read: its schema is {found!r}, not {SCHEMA!r}", next_step="use the topcoat that wrote it")
    errors = jsonschema_rs.Draft202012Validator(schema()).iter_errors(shape)
    error = min(errors, key=lambda one: len(one.instance_path), default=None)
    if error is not None:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        raise UsageError(f"not a valid receipt: ${where}: {error.message[:200]}", next_step="use the receipt as the run wrote it")
    known = {item.name for item in fields(Receipt)}
    values = {name: value for name, value in shape.items() if name in known}
    values["images"] = images = tuple(_image_from_dict(image) for image in shape["images"])  # type: ignore[attr-defined]
    twice = [name for name, count in Counter(image.name for image in images).items() if count > 1]
    if twice:
        raise UsageError(f"not a valid receipt: it names {twice[0]} twice", next_step="use the receipt as the run wrote it")
    values["repositories"] = tuple((entry["id"], entry["repomd"]) for entry in shape.get("repositories", ()))  # type: ignore[attr-defined]
    for name in ("coverage", "floating_tags", "gated", "warnings"):
        values[name] = tuple(shape.get(name, ()))  # type: ignore[arg-type]
    return Receipt(**values)  # type: ignore[arg-type]


def load(path: Path) -> Receipt:
    """Read a receipt file.

    :raises UsageError: missing, not JSON, or not a receipt; names the file.
    """
    return _named(_DOOR.json_file(path, "the receipt"), str(path))


def from_text(text: str, where: str) -> Receipt:
    """The receipt that a text holds; raises as ``load``."""
    return _named(_DOOR.json(text, "the receipt", where=where), where)


def _named(shape: object, where: str) -> Receipt:
    try:
        return receipt_from_dict(shape)  # type: ignore[arg-type]
    except UsageError as error:
        raise UsageError(error.what, where=where, next_step=error.next_step or _DOOR.next_step) from error


def load_finished(path: Path, *, part: bool = False) -> Receipt:
    """Read the receipt of a run whose images may be used.

    :param part: it may be that of one node of several.
    :raises UsageError: see ``load``.
    :raises ContentError: the run failed, was cancelled, or has not ended (a run that was killed says so for ever); or it was a part of one.
    """
    return require_finished(load(path), str(path), part=part)


def require_finished(receipt: Receipt, where: str | None = None, *, part: bool = False) -> Receipt:
    """Return a receipt whose run made what it was asked for, but for images that are allowed to fail.

    :raises ContentError: any other.
    """
    if receipt.status.usable:
        if not part:
            require_whole([receipt], where)
        return receipt
    if receipt.status is Status.RUNNING:
        raise ContentError(
            f"the run of {receipt.tag} has not ended: its receipt still says 'running'",
            where=where,
            next_step="wait for it; if it was killed, run it again: what is finished is found in the registry",
        )
    cause = f": {receipt.error.get('what')}" if receipt.error else ""
    raise ContentError(
        f"the run of {receipt.tag} ended as {receipt.status.word!r}{cause}",
        where=where,
        next_step="repair what the report names first, then run it again",
    )


def save(receipt: Receipt, path: Path) -> None:
    """Write the receipt as indented JSON."""
    write_whole(path, json.dumps(receipt_to_dict(receipt), indent=1) + "\n")
