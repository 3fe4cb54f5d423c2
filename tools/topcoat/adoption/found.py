"""Where somebody else's images are: in references, in a list of them, in a namespace of a registry.

This module must never take an image for granted: each is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, ImageReference
from topcoat.process.each import each
from topcoat.registry import AccessError, RefusedError, RegistryClient

_PARALLEL_REQUESTS = 8
_LIST = Door(UsageError, "give one reference a line, or a list whose top key is container_images")
_ROWS = "container_images"
_ASSIGNED = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(\S+)")
_NAMED = 10


@dataclass(frozen=True)
class FoundImage:
    """One image of somebody else, with what a list says that it is for."""

    reference: ImageReference
    parameters: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    digest: Digest | None = None
    """What the registry shows; None until it was asked."""


def read_list(path: Path) -> tuple[FoundImage, ...]:
    """The images of a file: one reference a line, ``PARAMETER=reference`` lines, or a tcib or TripleO list (``container_images:``).

    :raises UsageError: unreadable, empty, or what stands where a reference must be is none; with file and line where there are lines.
    """
    text = _LIST.read(path, "the list").decode("utf-8", "replace")
    if re.search(rf"^{_ROWS}\s*:", text, re.MULTILINE):
        return _rows(text, str(path))
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        assigned = _ASSIGNED.fullmatch(content)
        parameter, reference = assigned.groups() if assigned else ("", content)
        if reference:
            found.append(FoundImage(_reference(reference, f"{path}:{number}"), (parameter,) if parameter else ()))
    if not found:
        raise UsageError("names no image", where=str(path), next_step=_LIST.next_step)
    return tuple(found)


def _rows(text: str, where: str) -> tuple[FoundImage, ...]:
    shape = _LIST.shape("the list", where=where)
    document = shape.table(_LIST.yaml(text, "the list", where=where), "it")
    found: dict[str, FoundImage] = {}
    for row in shape.items(document.get(_ROWS), _ROWS, dict):
        reference = _reference(shape.need(row, "imagename", str, _ROWS), where)
        known = found.get(str(reference), FoundImage(reference))
        parameters, services = (tuple(shape.items(row.get(key), key, str)) for key in ("params", "services"))
        found[str(reference)] = replace(
            known,
            parameters=tuple(dict.fromkeys((*known.parameters, *parameters))),
            services=tuple(dict.fromkeys((*known.services, *services))),
        )
    return tuple(found.values())


def _reference(text: str, where: str) -> ImageReference:
    try:
        return ImageReference.parse(text)
    except UsageError as error:
        raise UsageError(error.what, where=where, next_step=error.next_step) from error


def in_references(images: Iterable[FoundImage], client: Callable[[str], RegistryClient], *, tag: str = "") -> tuple[FoundImage, ...]:
    """Images with what the registry shows.

    :param client: host -> client. :param tag: that of references without one.
    :raises UsageError: a reference has neither tag nor digest. :raises ContentError: one does not exist; names all that do not.
    """

    def look(image: FoundImage) -> FoundImage:
        reference = image.reference
        if not reference.tag and not reference.digest:
            if not tag:
                raise UsageError(f"{reference} has neither tag nor digest", next_step="write host/repository:tag, or give --tag")
            reference = reference.with_tag(tag)
        return replace(image, reference=reference, digest=client(reference.host).shown(reference.repository, reference.target))

    found = tuple(each(images, look, workers=_PARALLEL_REQUESTS))
    missing = [str(image.reference) for image in found if image.digest is None]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise ContentError(
            f"{len(missing)} of {len(found)} images do not exist: {', '.join(missing[:_NAMED])}{more}",
            next_step="correct the list, or leave them out (--exclude)",
        )
    return found


def in_namespace(place: str, tag: str, client: Callable[[str], RegistryClient]) -> tuple[tuple[FoundImage, ...], tuple[str, ...]]:
    """The images of a namespace under a tag.

    :param place: ``host/namespace``.
    :returns: the images; the repositories that have no such tag.
    :raises UsageError: the registry lists nothing there, or shows no catalog.
    """
    parsed = ImageReference.parse(place)
    if parsed.tag or parsed.digest:
        raise UsageError(f"a namespace has no tag: {place!r}", next_step="give the tag with --tag")
    registry = client(parsed.host)
    try:
        catalog = registry.catalog()
    except (RefusedError, AccessError) as error:
        raise UsageError(f"{parsed.host} shows no catalog ({error.what})", next_step="give a list of references (--list)") from error
    repositories = [name for name in catalog if name.startswith(f"{parsed.repository}/")]
    if not repositories:
        raise UsageError(f"{parsed.host} lists nothing below {parsed.repository}", next_step="check the name, or give a list (--list)")
    digests = each(repositories, lambda name: registry.shown(name, tag), workers=_PARALLEL_REQUESTS)
    known = dict(zip(repositories, digests, strict=True))
    found = tuple(FoundImage(ImageReference(parsed.host, name, tag), digest=digest) for name, digest in known.items() if digest)
    return found, tuple(name for name, digest in known.items() if not digest)
