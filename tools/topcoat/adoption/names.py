"""What the images of others are called here: the last part of their repository, without what all of them begin or end with.

This module must never give two images one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from topcoat.adoption.found import FoundImage
from topcoat.documents.expressions import expression
from topcoat.errors import UsageError
from topcoat.model.image import IMAGE_NAME


@dataclass(frozen=True)
class Adopted:
    """An image with its name here."""

    name: str
    found: FoundImage

    @property
    def family(self) -> str:
        """The first word of the name: images of one project stand in one file."""
        return re.split(r"[-._]", self.name, maxsplit=1)[0]


def name_images(images: Iterable[FoundImage], *, prefix: str = "", suffix: str = "", exclude: Iterable[str] = ()) -> tuple[Adopted, ...]:
    """Give each image its name, sorted.

    :param prefix: what is taken off the front of a name that has it, and ``suffix`` off its end: the profile puts both back when it publishes.
    :param exclude: regular expressions, searched in the name, of images to leave out.
    :raises UsageError: nothing is left, two images have one name, or a name is outside the grammar.
    """
    out = [expression(pattern) for pattern in exclude]
    named: dict[str, Adopted] = {}
    for image in images:
        name = image.reference.repository.rpartition("/")[2].removeprefix(prefix).removesuffix(suffix)
        if not IMAGE_NAME.fullmatch(name):
            raise UsageError(f"{image.reference} leaves no name that an image can have: {name!r}", next_step="correct --prefix and --suffix")
        if any(pattern.search(name) for pattern in out):
            continue
        if name in named and named[name].found.reference != image.reference:
            raise UsageError(
                f"two images have the name {name}: {named[name].found.reference} and {image.reference}", next_step="adopt them into two trees"
            )
        named[name] = Adopted(name, image)
    if not named:
        raise UsageError("no image is left to adopt", next_step="check --exclude")
    return tuple(named[name] for name in sorted(named))
