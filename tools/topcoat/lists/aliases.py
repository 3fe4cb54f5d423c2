"""Which old names a renamed image answers to today.

This module must never contact a registry; who publishes or promotes gives the tags.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection
from pathlib import Path

from topcoat.errors import UsageError
from topcoat.lists.template import load_template


def old_names(root: Path, images: Collection[str], *, today: datetime.date | None = None) -> dict[str, tuple[str, ...]]:
    """The old names of these images, from every list of the tree.

    :param root: the recipe tree; one without ``lists/`` (tcib) has no old names.
    :param today: a name counts up to and including its last day; None: today (UTC).
    :returns: image name -> its old names, sorted; images without any are left out.
    :raises UsageError: a list that cannot be read, or an old name that is an image's or another's old one, with file and line: two images would be
        published under one name.
    """
    day = today or datetime.datetime.now(datetime.UTC).date()
    found: dict[str, set[str]] = {}
    taken = {image: image for image in images}
    folder = root / "lists"
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
        for alias in load_template(str(path), root=root).aliases:
            if alias.until >= day and alias.image in images:
                other = taken.setdefault(alias.name, alias.image)
                if other != alias.image or alias.name == alias.image:
                    step = "remove the alias: both would be published under one name"
                    raise UsageError(f"{alias.name!r} is the name of {other} and an old name of {alias.image}", where=alias.where, next_step=step)
                found.setdefault(alias.image, set()).add(alias.name)
    return {image: tuple(sorted(names)) for image, names in sorted(found.items())}
