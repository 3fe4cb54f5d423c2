"""Who signed what is installed in published images: read from the package databases in their layers, checked against the profile's keys.

This module must never believe an attached inventory about a signature, and never start a container.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.errors import ContentError, InfrastructureError
from topcoat.model import ImageReference, Profile
from topcoat.registry import Image, Registries
from topcoat.registry.streams import open_blob
from topcoat.rpm import header, layerdb, rpmdb, signatures
from topcoat.rpm.signatures import Keyring, SignatureVerdict
from topcoat.yum.transport import FetchError, Transport, UnreachableError

_PARALLEL_REQUESTS = 4
_KEY_LIMIT = 1 << 20


@dataclass
class Signers:
    """The packages of one image by what their signatures are worth; packages as ``name-[epoch:]version-release.arch``."""

    signed: dict[str, list[str]] = field(default_factory=dict)
    """Key id → packages that carry a good signature of it."""
    unsigned: list[str] = field(default_factory=list)
    unknown: dict[str, list[str]] = field(default_factory=dict)
    """Key id → packages that only keys sign that the profile does not name."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Package → what is wrong with its signature."""

    def as_dict(self) -> dict[str, object]:
        """For output."""
        return dict(self.__dict__)

    def faults(self) -> list[str]:
        """One line for each kind of package that is not signed by one of the profile's keys."""
        lines = [f"{package} {problem}" for package, problem in sorted(self.wrong.items())]
        lines += [f"signed by the unknown key {key}: {_some(packages)}" for key, packages in sorted(self.unknown.items())]
        if self.unsigned:
            lines.append(f"not signed: {_some(self.unsigned)}")
        return lines


def _some(packages: list[str]) -> str:
    shown = ", ".join(sorted(packages)[:5])
    return f"{shown} and {len(packages) - 5} more" if len(packages) > 5 else shown


def profile_keyring(profile: Profile) -> Keyring:
    """Every key that the profile names.

    :raises ContentError: it names none, or one cannot be used. :raises InfrastructureError: one cannot be fetched.
    """
    if not profile.keys:
        raise ContentError(
            f"profile {profile.name} names no key to check signatures with", next_step="add 'keys' to its repositories, or leave signatures out"
        )
    owner = f"profile {profile.name}"
    authorities = {url: repository.ca_file for repository in profile.repositories for url in repository.signatures.keys}
    transport = Transport()
    try:
        content = {url: transport.read(url, limit=_KEY_LIMIT, ca_file=authorities.get(url)) for url in profile.keys}
        return Keyring([signatures.read_key_file(url, data, owner=owner) for url, data in content.items()], owner=owner)
    except FetchError as error:
        kind = InfrastructureError if isinstance(error, UnreachableError) else ContentError
        raise kind(f"{owner}: a key cannot be had: {error}", next_step="correct 'keys' in the profile, or check the network") from error
    finally:
        transport.close()


def examine(images: Mapping[str, tuple[ImageReference, Image]], registries: Registries, keyring: Keyring) -> dict[str, Signers]:
    """Check what is installed in images.

    :param images: name → where it is, and its layers.
    :raises ContentError: an image holds no package database that can be read; one that has nothing to do with rpm holds no package.
    """

    def one(name: str) -> tuple[str, list[bytes]]:
        reference, image = images[name]
        client = registries.client(reference.host)
        with ExitStack() as stack:
            layers = [lambda layer=layer: stack.enter_context(open_blob(client, reference.repository, layer)) for layer in reversed(image.layers)]
            try:
                with tempfile.TemporaryDirectory(prefix="topcoat-rpmdb-") as folder:
                    return name, list(header.rows(rpmdb.place(layerdb.read_layers(layers), Path(folder))))
            except header.Damaged as error:
                raise ContentError(str(error), image=name, next_step="rebuild the image") from error
            except rpmdb.WithoutRpmError:
                return name, []
            except ContentError as error:
                error.image = error.image or name
                raise

    # A hundred images share most of their packages: each is checked once, and of the databases only what is not known yet is kept.
    known: dict[bytes, int] = {}
    headers: list[header.StoredHeader] = []
    found: dict[str, list[int]] = {}
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
        for name, blobs in pool.map(one, images):
            found[name] = [number for blob in blobs if (number := _number(blob, known, headers, name)) is not None]
    verdicts = keyring.check_headers(headers)
    return {name: _collect((headers[number], verdicts[number]) for number in numbers) for name, numbers in found.items()}


def _number(blob: bytes, known: dict[bytes, int], headers: list[header.StoredHeader], image: str) -> int | None:
    digest = hashlib.sha256(blob).digest()
    if digest not in known:
        try:
            headers.append(header.stored(blob))
        except header.Damaged as error:
            raise ContentError(str(error), image=image, next_step="rebuild the image") from error
        known[digest] = len(headers) - 1
    number = known[digest]
    return None if headers[number].nevra.startswith("gpg-pubkey-") else number


def _collect(entries: Iterable[tuple[header.StoredHeader, SignatureVerdict]]) -> Signers:
    found = Signers()
    for entry, verdict in entries:
        package = entry.nevra.replace("-0:", "-", 1)
        if verdict.problem:
            found.wrong[package] = verdict.problem
        elif verdict.signed_by:
            for key in verdict.signed_by:
                found.signed.setdefault(key, []).append(package)
        elif verdict.unknown:
            found.unknown.setdefault(verdict.unknown[0], []).append(package)
        else:
            found.unsigned.append(package)
    for packages in (found.unsigned, *found.signed.values(), *found.unknown.values()):
        packages.sort()
    return found


def accepts_unsigned(profile: Profile) -> bool:
    """Whether a package without signature can be in an image at all, as the profile's repositories go."""
    return any(repository.signatures.signed != "required" for repository in profile.repositories)


def require_signed(images: Mapping[str, tuple[ImageReference, Image]], registries: Registries, profile: Profile) -> None:
    """Refuse a set in which a package is not signed by one of the profile's keys.

    :raises ContentError: names images and packages.
    """
    keyring = profile_keyring(profile)
    try:
        faults = {name: signers.faults() for name, signers in examine(images, registries, keyring).items()}
    finally:
        keyring.close()
    broken = {name: lines for name, lines in faults.items() if lines}
    if broken:
        shown = "; ".join(f"{name}: {', '.join(lines)}" for name, lines in list(broken.items())[:5])
        more = f"; and {len(broken) - 5} more images" if len(broken) > 5 else ""
        raise ContentError(
            f"{len(broken)} of {len(images)} images hold packages that no key of profile {profile.name} signed: {shown}{more}",
            next_step="have them signed, or promote with '--signatures optional'",
        )
