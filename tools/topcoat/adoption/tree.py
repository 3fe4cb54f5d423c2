"""A tree of adopted images: the family files and the image list, as they are committed.

This module must never write over what somebody else has written, unless it was told to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from topcoat.adoption.names import Adopted
from topcoat.errors import UsageError
from topcoat.process.files import write_whole

_HEAD = "---\n# Images that somebody else builds, written by 'topcoat adopt'.\n"


def files_of(images: Sequence[Adopted], *, image_class: str, pin: bool = False) -> dict[str, str]:
    """Path in the tree -> text: one file a family, and the list of all of them.

    :param image_class: ``openstack`` or ``infra``. :param pin: write digests instead of tags.
    """
    families: dict[str, list[str]] = {}
    rows = []
    for image in images:
        reference = image.found.reference
        if pin and image.found.digest:
            reference = reference.with_digest(image.found.digest)
        families.setdefault(image.family, []).append(f"{image.name}: {{ adopted: {json.dumps(str(reference))} }}\n")
        known = {"parameters": image.found.parameters, "services": image.found.services}
        more = "".join(f", {key}: {json.dumps(list(values))}" for key, values in known.items() if values)
        rows.append(f"  - {{ image: {image.name}{more} }}\n")
    files = {f"{image_class}/{family}.yaml": _HEAD + "".join(lines) for family, lines in families.items()}
    return {**files, "lists/deploy.yaml": f"{_HEAD}description: every adopted image\nimages:\n{''.join(rows)}"}


def write_tree(
    root: Path, images: Sequence[Adopted], *, image_class: str, pin: bool = False, overwrite: bool = False, dry_run: bool = False
) -> tuple[str, ...]:
    """Write the tree.

    :returns: the paths that changed, sorted. :raises UsageError: a file is there with another content; names all such files.
    """
    files = files_of(images, image_class=image_class, pin=pin)
    changed = {path: text for path, text in files.items() if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text}
    there = sorted(path for path in changed if (root / path).exists())
    if there and not overwrite:
        raise UsageError(f"{root} has other files of these names: {', '.join(there[:10])}", next_step="give --overwrite, or another --output")
    for path, text in {} if dry_run else changed.items():
        write_whole(root / path, text)
    return tuple(sorted(changed))
