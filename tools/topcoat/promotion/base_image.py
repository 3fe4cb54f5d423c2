"""Insurance for the image that everything starts from: look for a newer one, check it, mirror it, write the new pin.

This module must never accept an image that it has not looked into: upstream has moved such tags to images without a shell.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from topcoat.archives import tarstream
from topcoat.archives.plain import PIECE, CutOffError, Plain
from topcoat.archives.whiteouts import OPAQUE_NAME, WHITEOUT_PREFIX
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, ImageReference
from topcoat.process.files import write_whole
from topcoat.publisher import Publisher
from topcoat.registry import Image, Manifest, Registries
from topcoat.registry.streams import open_blob

_SHELLS = ("bin/sh", "usr/bin/sh")
_DATABASES = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/Packages", "usr/lib/sysimage/rpm/Packages")
_MANAGERS = ("usr/bin/dnf", "usr/bin/dnf5", "usr/bin/dnf-3", "usr/bin/microdnf", "usr/bin/yum")


@dataclass(frozen=True)
class BaseReport:
    """What was found. Sizes are compressed bytes; ``problems`` empty means that the image may be used."""

    image: str
    pinned: Digest | None
    newest: Digest
    size: int
    pinned_size: int | None
    problems: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether the tag shows another image than the pin."""
        return self.pinned != self.newest


def examine(registries: Registries, image: str, pinned: Digest | None, *, platform: str, growth: float) -> BaseReport:
    """Look at what the tag shows now.

    :param image: ``host/repository:tag`` of the profile. :param platform: ``linux/amd64``.
    :param growth: largest accepted ratio of sizes, new to pinned (and its inverse: an image that lost half of itself is suspect too).
    :raises ContentError: the tag has no image for the platform.
    """
    reference = ImageReference.parse(image)
    client = registries.client(reference.host)
    top = client.manifest(reference.repository, reference.tag or "latest")
    manifest, found = client.image(reference.repository, top.digest, platform=platform)
    size = sum(layer.size for layer in found.layers)
    old = _pinned_size(registries, reference, pinned, platform)
    if top.digest == pinned:
        return BaseReport(image, pinned, top.digest, size, old, ())
    problems = list(missing_parts(_paths(registries, reference, manifest, found)))
    if old and not 1 / growth <= size / old <= growth:
        problems.append(f"its size went from {old} to {size} bytes")
    return BaseReport(image, pinned, top.digest, size, old, tuple(problems))


def _pinned_size(registries: Registries, reference: ImageReference, pinned: Digest | None, platform: str) -> int | None:
    if pinned is None:
        return None
    try:
        _manifest, image = registries.client(reference.host).image(reference.repository, pinned, platform=platform)
    except ContentError:
        return None  # upstream has removed it, which is why there is a mirror
    return sum(layer.size for layer in image.layers)


def missing_parts(paths: set[str]) -> Iterator[str]:
    """What a base image needs and these paths lack, one sentence each."""
    for what, candidates in (("shell", _SHELLS), ("RPM database", _DATABASES), ("package manager", _MANAGERS)):
        if not paths & set(candidates):
            yield f"it has no {what} ({', '.join(candidates)})"


def _paths(registries: Registries, reference: ImageReference, manifest: Manifest, image: Image) -> set[str]:
    """Paths of the whole image; layers are read through, nothing is unpacked."""
    client = registries.client(reference.host)
    paths: set[str] = set()
    for layer in image.layers:
        with open_blob(client, reference.repository, layer) as stream:
            source = Plain(iter(functools.partial(stream.read, PIECE), b""))
            try:
                merge(paths, (member.name for member in tarstream.Reader(source.next)))
                while source.next():  # to the end, so that its digest is proved
                    pass
            except (tarstream.TarError, CutOffError) as error:
                raise ContentError(
                    f"{reference.name}@{manifest.digest}: layer {layer.digest} cannot be read: {error}", next_step="look at the image"
                ) from error
    return paths


def merge(paths: set[str], members: Iterable[str]) -> None:
    """Put a layer on top: its paths come, what its whiteouts name goes (image-spec, "Whiteouts")."""
    names = [name.removeprefix("./").lstrip("/") for name in members]
    for name in names:
        folder, _, last = name.rpartition("/")
        if last == OPAQUE_NAME:
            inside = f"{folder}/" if folder else ""
            paths.difference_update({path for path in paths if path.startswith(inside)})
        elif last.startswith(WHITEOUT_PREFIX):
            gone = f"{folder}/{last.removeprefix(WHITEOUT_PREFIX)}".lstrip("/")
            paths.difference_update({path for path in paths if path == gone or path.startswith(f"{gone}/")})
    paths.update(name for name in names if not name.rpartition("/")[2].startswith(WHITEOUT_PREFIX))


def mirror(registries: Registries, image: str, digest: Digest, target: ImageReference) -> ImageReference:
    """Copy an image, with every platform, into our registry under a tag of its own that never moves: it cannot vanish upstream.

    :param image: ``host/repository:tag`` of the profile. :param target: registry and repository. :returns: the mirrored image, by digest.
    :raises ContentError: upstream has removed it, and it was not mirrored before.
    """
    mirrored = target.with_tag(f"base-{digest.removeprefix('sha256:')[:24]}")
    if registries.client(target.host).head(target.repository, mirrored.tag or "") != digest:
        source = ImageReference.parse(image)
        Publisher(registries).copy(ImageReference(source.host, source.repository, digest=digest), mirrored)
    return target.with_digest(digest)


def write_pin(profile: Path, digest: Digest) -> None:
    """Write a new digest into a profile and change nothing else of the file.

    :raises UsageError: the file has no place for it.
    """
    text = profile.read_text(encoding="utf-8")
    variable = re.compile(r"^(\s+base_digest:[ \t]*)(\"[^\"\n]*\"|'[^'\n]*'|[^\s#]*)", re.MULTILINE)
    direct = re.compile(r"^(base:.*?\bdigest:\s*)(\"sha256:[0-9a-f]{64}\"|sha256:[0-9a-f]{64}|\"\")", re.MULTILINE | re.DOTALL)
    for expression in (variable, direct):
        changed, count = expression.subn(lambda match: f'{match[1]}"{digest}"', text, count=1)
        if count:
            write_whole(profile, changed)
            return
    raise UsageError(f"{profile} has neither a variable base_digest nor a digest under base", next_step='add base_digest: "" to its variables')
