"""What a registry really holds for an image list: digests, and the hash tags behind a moving tag.

This module must never need a catalog, never change anything, and never name a digest whose bytes the registry has not sent.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from topcoat.documents.expressions import expression
from topcoat.errors import ContentError, UsageError
from topcoat.lists import ListedImage, ResolvedList
from topcoat.model import Digest
from topcoat.process.each import each
from topcoat.promotion.control import Control
from topcoat.registry import RegistryClient
from topcoat.rpm import evr

_VERSION = re.compile(r"v?\d+(?:\.\d+)*(?:-\d+)?")
_HASH = re.compile(r"[0-9a-f]{40}_[0-9A-Za-z]{8}(?:_[0-9A-Za-z]{1,8}){0,2}|[0-9a-f]{32}")


@dataclass(frozen=True)
class Rule:
    """How the tag of each image is chosen."""

    label: str = ""
    """Template over labels, ``{version}_{release}``; a plain word means the label of that name."""
    hashes: bool = False
    """Find the trunk hash that the moving tag stands for."""
    stable: bool = False
    """The highest version-like tag instead of the list's tag."""
    pattern: str = ""
    """With ``stable`` or ``hashes``: only tags that match this whole regular expression."""


SCHEMA = "https://topcoat.dev/schemas/discovered/1"
"""Of the list that is written of all that was found."""


@dataclass(frozen=True)
class Discovered:
    """One image of the list as the registry shows it. ``digest`` is None when it is not there."""

    image: ListedImage
    tag: str
    digest: Digest | None
    how: str = "tag"
    """``tag`` (as listed), ``record``, ``label``, ``digest`` or ``version``: how the tag was found; ``external``: not looked up."""

    @property
    def reference(self) -> str:
        """By tag."""
        return f"{self.image.parsed.name}:{self.tag}" if self.how != "external" else self.image.reference

    @property
    def pinned(self) -> str:
        """By digest where it is known."""
        return f"{self.image.parsed.name}@{self.digest}" if self.digest else self.reference


def discover(
    resolved: ResolvedList,
    client: Callable[[str], RegistryClient],
    rule: Rule,
    *,
    namespace: str = "",
    external: bool = False,
    workers: int = 8,
    platform: str | None = None,
) -> tuple[Discovered, ...]:
    """Look every image of a list up, several at a time.

    :param client: host -> client. :param namespace: where the promotion records lie. :param external: look images up that are not built here too.
    :param platform: ``os/architecture`` whose labels count, needed for a rule that goes by labels.
    :returns: in the list's order; missing images have no digest.
    :raises ContentError: a tag was to be found and there is none.
    """
    pattern = _compiled(rule)
    records: dict[tuple[str, str], str] = {}
    if rule.hashes:
        for host, tag in {(image.parsed.host, image.parsed.tag or "") for image in resolved.images if not image.external}:
            record = Control(client(host), namespace).read(tag) if tag else None
            if record:
                records[host, tag] = record.source

    def one(image: ListedImage) -> Discovered:
        if image.external and not external:
            return Discovered(image, image.parsed.tag or "", image.parsed.digest, "external")
        parsed = image.parsed
        return _look(image, client(parsed.host), rule, pattern, records.get((parsed.host, parsed.tag or "")), platform)

    return tuple(each(resolved.images, one, workers=workers))


def _look(image: ListedImage, client: RegistryClient, rule: Rule, pattern: re.Pattern[str], recorded: str | None, platform: str | None) -> Discovered:
    parsed = image.parsed
    if rule.stable:
        tag = newest_version(client.tags(parsed.repository), pattern)
        if tag is None:
            return Discovered(image, parsed.tag or "", None, "version")
        return Discovered(image, tag, client.shown(parsed.repository, tag), "version")
    digest = client.shown(parsed.repository, parsed.target)
    if digest is None:
        return Discovered(image, parsed.tag or "", None)
    if rule.label:
        labels = client.image(parsed.repository, digest, platform=platform)[1].labels
        tag = fill_labels(rule.label, labels)
        if tag is None:
            raise ContentError(f"{image.name}: the image has not the labels of {rule.label!r}", image=image.name, next_step="choose another label")
        if client.shown(parsed.repository, tag) != digest:
            raise ContentError(
                f"{image.name}: its label says {tag}, but that tag is not this image",
                image=image.name,
                next_step="the label was inherited or the tag moved; use --hash, which goes by digest",
            )
        return Discovered(image, tag, digest, "label")
    if rule.hashes:
        if recorded and client.shown(parsed.repository, recorded) == digest:
            return Discovered(image, recorded, digest, "record")
        for tag in client.tags(parsed.repository):
            if tag != parsed.tag and pattern.fullmatch(tag) and digest == client.head(parsed.repository, tag) == client.shown(parsed.repository, tag):
                return Discovered(image, tag, digest, "digest")
        raise ContentError(
            f"no hash tag of {parsed.name} is the same image as {parsed.tag}", image=image.name, next_step="publish with hash tags, or use digests"
        )
    return Discovered(image, parsed.tag or "", digest)


def _compiled(rule: Rule) -> re.Pattern[str]:
    if rule.pattern:
        return expression(rule.pattern)
    return _VERSION if rule.stable else _HASH


def newest_version(tags: Sequence[str], pattern: re.Pattern[str] = _VERSION) -> str | None:
    """The highest of the tags that match, in RPM's order (``1.10`` is newer than ``1.9``), or None."""
    versions = [tag for tag in tags if pattern.fullmatch(tag)]

    def order(one: str, other: str) -> int:
        return evr.compare(_evr(one), _evr(other))

    return max(versions, key=cmp_to_key(order), default=None)


def _evr(tag: str) -> str:
    version, _, release = tag.removeprefix("v").partition("-")
    return f"0:{version}-{release or '0'}"


def fill_labels(template: str, labels: dict[str, str]) -> str | None:
    """The template with labels put in, None when one is missing."""
    if "{" not in template:
        return labels.get(template) or None
    try:
        names = [name for _text, name, _spec, _conversion in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(f"not a label template: {template!r} ({error})", next_step="write e.g. {version}_{release}") from error
    text = template
    for name in names:
        if not labels.get(name):
            return None
        text = text.replace("{" + name + "}", labels[name])
    return text
