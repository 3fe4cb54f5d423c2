"""The reviewer's page: one self-contained HTML file a run, readable without JavaScript, made to lie on a log server.

This module must never load anything from outside the file, and never put text into it unescaped: package names, messages and logs come from the
changes under test. A content security policy in the page forbids scripts and requests all the same.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from topcoat.model import ImageResult, Receipt, Status, ancestry
from topcoat.process.files import write_whole
from topcoat.report import changelog, drawing, figures, pages
from topcoat.report.console import MARKS, clean

TAIL_LINES = 40
_TAIL_BYTES = 64 * 1024


def log_tails(receipt: Receipt, directory: Path, lines: int = TAIL_LINES) -> dict[str, str]:
    """Last lines of the log of each image that failed.

    :param directory: where the receipt lies; a log outside of it is not read (a receipt may come from elsewhere).
    """
    tails: dict[str, str] = {}
    root = directory.resolve()
    for image in receipt.images:
        if image.status is not Status.FAILED or not image.log:
            continue
        try:
            path = (root / image.log).resolve()
            if not path.is_relative_to(root) or not path.is_file():
                continue
            with path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                text = stream.read(_TAIL_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        tails[image.name] = "\n".join(clean(line) for line in text.splitlines()[-lines:])
    return tails


def _log_link(path: str | None, base: str = "") -> str:
    """A relative link to a log, or an empty string where the path would lead elsewhere.

    :param base: how to get from the page to the receipt's folder, which log paths are relative to.
    """
    if not path or ":" in path or path.startswith(("/", "\\")) or ".." in Path(path).parts or path != clean(path):
        return ""
    return base + path


def _tree(receipt: Receipt) -> list[dict[str, object]]:
    """Images as nested nodes, roots first; an image whose parent is not in the receipt (or that closes a circle) is a root."""
    images = {image.name: image for image in receipt.images}
    nodes: dict[str, dict[str, object]] = {name: {"image": image, "children": []} for name, image in images.items()}
    roots = []
    for image in receipt.images:
        chain = ancestry.chain(image.name, images)
        circle = images[chain[-1]].parent in chain
        if image.parent in nodes and not circle:
            nodes[image.parent]["children"].append(nodes[image.name])  # type: ignore[attr-defined]
        else:
            roots.append(nodes[image.name])
    for node in nodes.values():  # leaves first: they flow into lines, branches follow below
        node["order"] = bool(node["children"])
    return roots


def _storage_bars(receipt: Receipt) -> Markup:
    held = figures.storage(receipt)
    if not held.total:
        return Markup("")
    shared = f"{100 * (1 - held.unique / held.total):.0f} % shared"
    return drawing.bars(
        [
            ("every image counted alone", held.total, "all", ""),
            ("what the registry stores", held.unique, "unique", shared),
            ("new in this run", held.new, "new", ""),
            ("sent over the wire", sum(image.bytes_pushed for image in receipt.images), "sent", ""),
        ]
    )


def _delta(image: ImageResult) -> str:
    delta = figures.size_delta(image)
    if delta is None:
        return "new" if image.layers and image.reference_size is None else ""
    return "" if delta == 0 else ("+" if delta > 0 else "") + figures.bytes_text(delta)


def render(
    receipt: Receipt,
    *,
    tails: Mapping[str, str] | None = None,
    original: str | None = "receipt.json",
    base: str = "",
    against: changelog.Against | None = None,
) -> str:
    """The page as text.

    :param tails: image name → last lines of its log (``log_tails``).
    :param original: relative link to the receipt; None: no link.
    :param base: relative way from the page to the receipt's folder, empty or ending in ``/``.
    :param against: how the images differ from a set that was promoted; None: nobody asked.
    """
    environment = pages.environment()
    environment.filters.update(bytes=figures.bytes_text, seconds=figures.time_text, log_link=functools.partial(_log_link, base=base), delta=_delta)
    groups = figures.by_outcome(receipt.images)
    rows, left_out = drawing.timeline_rows(receipt)
    return environment.get_template("page.html").render(
        receipt=receipt,
        figures=figures,
        groups=groups,
        marks=MARKS,
        tails=tails or {},
        failed=groups.get("failed", []),
        skipped=[image.name for image in groups.get("skipped", [])],
        images=[image for group in groups.values() for image in group],
        changes=figures.changes(receipt),
        gated=figures.gated(receipt),
        unsigned={package for image in receipt.images for package in image.unsigned},
        uncovered=[str(entry["package"]) for entry in figures.uncovered(receipt)],
        tree=_tree(receipt),
        timeline=drawing.timeline(receipt),
        timeline_rows=len(rows),
        timeline_left_out=left_out,
        critical=figures.critical_path(receipt),
        storage=_storage_bars(receipt),
        sizes=drawing.sizes(receipt),
        held=figures.storage(receipt),
        pushed=sum(image.bytes_pushed for image in receipt.images),
        largest=sorted((image for image in receipt.images if image.layers), key=lambda image: (-figures.size(image), image.name))[:8],
        original=original,
        against=against.shape if against else None,
        against_problem=against.problem if against else "",
        **changelog.parts(against.links if against else ()),
    )


def save(receipt: Receipt, path: Path, *, receipt_file: Path | None = None, against: changelog.Against | None = None) -> None:
    """Write the page.

    :param receipt_file: where the receipt lies, which may be another folder of the same log tree; None: beside the page, as ``receipt.json``.
    :param against: as of ``render``.
    """
    file = receipt_file or path.parent / "receipt.json"
    away = Path(os.path.relpath(file.resolve().parent, path.resolve().parent)).as_posix()
    base = "" if away == "." else f"{away}/"
    write_whole(path, render(receipt, tails=log_tails(receipt, file.parent), original=base + file.name, base=base, against=against))
