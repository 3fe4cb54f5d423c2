"""Names of images in registries.

This module must never contact a registry.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import NewType, TypeGuard

from topcoat.errors import UsageError

# OCI distribution specification 1.1, "Pulling manifests": grammar of <name> and <reference>.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
IMAGE_NAME = re.compile(_COMPONENT)
"""What an image may be called: one component."""
_HOST = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|[a-zA-Z0-9.-]+)(?::([0-9]{1,5}))?")

_URL = "docker://"

Digest = NewType("Digest", str)
"""``sha256:`` and 64 lower-case hexadecimal digits; checked where it enters (``check_digest``)."""
Tag = NewType("Tag", str)
"""A tag of the OCI grammar; checked where it enters (``check_tag``)."""


def check_digest(value: str) -> Digest:
    """Return the value when it is a well-formed digest.

    :raises UsageError: it is not. Unchecked digests end in paths and URLs, so nothing else may be accepted.
    """
    if not _DIGEST.fullmatch(value or ""):
        raise UsageError(f"not a sha256 digest: {value!r}", next_step="write sha256: and 64 lower-case hexadecimal digits")
    return Digest(value)


def is_digest(target: str) -> TypeGuard[Digest]:
    """Whether what a manifest request asks for is a digest: no tag has a colon. It may still be malformed."""
    return ":" in target


def is_host(value: str) -> bool:
    """Whether a text is ``host``, ``host:port`` or an IPv6 address in brackets, and can be connected to at all."""
    match = _HOST.fullmatch(value)
    if match is None or not 0 < int(match[2] or 1) <= 0xFFFF:
        return False
    try:
        return match[1] is None or bool(ipaddress.IPv6Address(match[1]))
    except ValueError:
        return False


def check_repository(value: str) -> str:
    """Return the value when it is a repository name of the OCI grammar, else raise UsageError."""
    if not _REPOSITORY.fullmatch(value or "") or len(value) > 255:
        raise UsageError(
            f"not a repository name of the OCI grammar: {value!r}", next_step="use lower-case letters, digits and single separators (. _ - /)"
        )
    return value


def check_tag(value: str) -> Tag:
    """Return the value when it is a tag of the OCI grammar, else raise UsageError."""
    if not _TAG.fullmatch(value or ""):
        raise UsageError(f"not a tag of the OCI grammar: {value!r}", next_step="use at most 128 letters, digits and . _ -, the first no sign")
    return Tag(value)


@dataclass(frozen=True, order=True)
class ImageRepository:
    """A repository of images in a registry, ``host/path``."""

    host: str
    path: str

    def __post_init__(self) -> None:
        if not is_host(self.host):
            raise UsageError(f"not a registry host: {self.host!r}", next_step="write host/repository:tag")
        check_repository(self.path)

    @classmethod
    def of(cls, value: ImageRepository | str) -> ImageRepository:
        """The repository itself, or the one that a text ``host[:port]/path`` names.

        :raises UsageError: the text is outside the grammar, or names a tag or a digest as well.
        """
        if isinstance(value, ImageRepository):
            return value
        reference = ImageReference.parse(value)
        if reference.tag or reference.digest:
            raise UsageError(f"not a repository alone: {value!r}", next_step="write host/path, without tag and digest")
        return reference.place

    def tag(self, tag: str) -> ImageReference:
        """What a tag names here."""
        return ImageReference(self.host, self.path, tag=tag)

    def at(self, digest: Digest) -> ImageReference:
        """The manifest with this digest here."""
        return ImageReference(self.host, self.path, digest=digest)

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


@dataclass(frozen=True, order=True)
class ImageReference:
    """``host/repository:tag@digest``; tag, digest or both."""

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        ImageRepository(self.host, self.repository)
        if self.tag is not None:
            check_tag(self.tag)
        if self.digest is not None:
            check_digest(self.digest)

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Parse ``host[:port]/repository[:tag][@digest]``; the host is required (no search lists: what was asked for is what is used).

        :raises UsageError: text is outside the grammar.
        """
        text = text.removeprefix(_URL)
        rest, _, digest = text.partition("@")
        host, slash, path = rest.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            raise UsageError(f"image reference without a registry host: {text!r}", next_step="write host/repository:tag")
        repository, _, tag = path.partition(":")
        return cls(host, repository, tag or None, check_digest(digest) if digest else None)

    @classmethod
    def of_url(cls, text: str) -> ImageReference | None:
        """What ``docker://host/repository:tag`` names; None for what begins otherwise, such as a folder.

        :raises UsageError: as ``parse``.
        """
        return cls.parse(text) if text.startswith(_URL) else None

    def with_tag(self, tag: str) -> ImageReference:
        """The same repository under another tag, without digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> ImageReference:
        """The same name pinned to a digest."""
        return replace(self, digest=digest)

    @property
    def place(self) -> ImageRepository:
        """The repository it lies in."""
        return ImageRepository(self.host, self.repository)

    @property
    def name(self) -> str:
        """``host/repository``."""
        return f"{self.host}/{self.repository}"

    @property
    def target(self) -> str:
        """What a manifest request asks for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"
