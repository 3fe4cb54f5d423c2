"""Signs images, with every image of an index, and tells which are not signed.

This module must never sign by tag: what is signed is a digest whose bytes the registry has sent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest, ImageReference
from topcoat.process.each import each
from topcoat.registry import Manifest, Registries, RegistryClient
from topcoat.registry.attached import SIGNATURE, SIGNATURE_LAYER, SIGNATURES, STATEMENT_LAYER, STATEMENTS, Attached
from topcoat.signing import bundles, statements
from topcoat.signing.identity import Identity
from topcoat.signing.keys import PublicKey, SigningKey

_PARALLEL = 4


@dataclass(frozen=True)
class Signed:
    """What became of one image."""

    reference: ImageReference
    """By digest; its tag is the one it was signed for."""
    manifests: int
    """It, and for an index the images in it."""
    new: int
    """Signatures that were not there before."""


class Signer:
    """Signs with one key, or as one identity."""

    def __init__(self, registries: Registries, key: SigningKey | Identity) -> None:
        self._registries = registries
        self._key = key

    def sign(self, references: Iterable[ImageReference]) -> list[Signed]:
        """Sign images under the names that they are given here; a signature that is there already is left alone.

        :param references: with a tag: consumers may know the image by this tag (and by its digest); without: by any tag of its
            repository, where a consumer's policy asks for the repository only.
        :raises NotFoundError: an image, or one that an index names, is not there.
        """
        return each(list(references), self._one, workers=_PARALLEL)

    def _one(self, reference: ImageReference) -> Signed:
        client = self._registries.client(reference.host)
        manifest = client.manifest(reference.repository, reference.target, cached=False)
        identity = f"{reference.host}/{reference.repository}" + (f":{reference.tag}" if reference.tag else "")
        parts = client.with_children(reference.repository, manifest)
        # from the inside out: an index is signed when all in it is
        new = [self._add(client, reference.repository, part, identity) for part in reversed(parts)]
        found = ImageReference(reference.host, reference.repository, reference.tag, manifest.digest)
        return Signed(found, len(parts), sum(new))

    def _add(self, client: RegistryClient, repository: str, manifest: Manifest, identity: str) -> bool:
        """The bundle that cosign 3 looks for first; and with a key the list under a tag that podman reads, which says by what name. podman takes a
        certificate only for a mail address, with an entry in a log that anybody can read."""
        statement = statements.statement(f"{client.host}/{repository}", manifest.digest, bundles.SIGNED, {})
        bundled = bundles.attach(client, repository, manifest, statement, bundles.SIGNED, self._key)
        if not isinstance(self._key, SigningKey):
            return bundled
        listed = Attached(client, repository, manifest.digest, SIGNATURES)
        return _list(listed, statements.claim(identity, manifest.digest), self._key) or bundled

    def attest(self, repository: str, digest: Digest, statement: bytes, predicate_type: str) -> bool:
        """Attach a signed statement to an image; False when the same one, by this key, is there already.

        :param repository: ``host[:port]/path``. :param statement: about this digest; see ``statements.statement``.
        :raises NotFoundError: there is no such image.
        """
        place = ImageReference.parse(f"{repository}@{digest}")
        client = self._registries.client(place.host)
        manifest = client.manifest(place.repository, digest, cached=False)
        bundled = bundles.attach(client, place.repository, manifest, statement, predicate_type, self._key)
        if not isinstance(self._key, SigningKey):
            return bundled
        attached = Attached(client, place.repository, digest, STATEMENTS)
        signed = statements.to_be_signed(statement)
        for data, _ in attached.documents(STATEMENT_LAYER):
            try:
                payload, signatures = statements.read_envelope(data)
            except ContentError:
                continue  # somebody else's, in another form
            if payload == statement and any(self._key.public.verifies(signed, signature) for signature in signatures):
                return bundled
        envelope = statements.envelope(statement, self._key.sign(signed))
        attached.add(envelope, STATEMENT_LAYER, {SIGNATURE: "", "predicateType": predicate_type})
        return True


def _list(attached: Attached, claim: bytes, key: SigningKey) -> bool:
    for data, notes in attached.documents(SIGNATURE_LAYER):
        if data == claim and key.public.verifies(data, _signature(notes)):
            return False
    attached.add(claim, SIGNATURE_LAYER, {SIGNATURE: base64.b64encode(key.sign(claim)).decode()})
    return True


def problems(registries: Registries, reference: ImageReference, key: PublicKey) -> list[str]:
    """Why an image does not count as signed by a key, one sentence for each manifest of it; empty: it does, with every image of an index.

    :raises NotFoundError: there is no such image.
    """
    client = registries.client(reference.host)
    manifest = client.manifest(reference.repository, reference.target, cached=False)
    found = []
    for part in client.with_children(reference.repository, manifest):
        problem = _problem(client, reference, part.digest, key)
        if problem:
            found.append(problem if part.digest == manifest.digest else f"{part.digest} in the index: {problem}")
    return found


def _problem(client: RegistryClient, reference: ImageReference, digest: Digest, key: PublicKey) -> str:
    """What is nearest to a signature of this key that fits, and why it does not."""
    reasons = []
    try:
        for data, notes in Attached(client, reference.repository, digest, SIGNATURES).documents(SIGNATURE_LAYER):
            if not key.verifies(data, _signature(notes)):
                reasons.append((3, f"its signature is not one of the key {key.name}, or was tampered with"))
                continue
            identity, of = statements.read_claim(data)
            named = _parsed(identity)
            if of != digest:
                reasons.append((0, f"its signature is that of another image, {of}"))
            elif named is None or (named.host, named.repository) != (reference.host, reference.repository):
                reasons.append((1, f"its signature is for {identity}"))
            elif reference.tag and named.tag and reference.tag != named.tag:
                reasons.append((2, f"it is signed for the tag {named.tag}, not for {reference.tag}"))
            else:
                return ""
    except ContentError as error:
        return error.what
    return min(reasons)[1] if reasons else "it has no signature"


def _parsed(identity: str) -> ImageReference | None:
    try:
        return ImageReference.parse(identity)
    except UsageError:
        return None


def _signature(notes: dict[str, str]) -> bytes:
    try:
        return base64.b64decode(notes.get(SIGNATURE, ""), validate=True)
    except binascii.Error:
        return b""
