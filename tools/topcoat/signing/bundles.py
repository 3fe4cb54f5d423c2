"""Sigstore bundles: a signed statement with all that checking it takes, attached to its image; the form that cosign 3 writes and looks for first.

This module must never count a bundle as somebody's whose signature it has not checked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from topcoat.documents import Door
from topcoat.errors import ContentError
from topcoat.registry import Manifest, RegistryClient, oci
from topcoat.registry.errors import NotFoundError
from topcoat.signing import statements
from topcoat.signing.identity import Identity
from topcoat.signing.keys import SigningKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""Predicate of a statement that says no more of an image than that somebody signed it."""
_LARGEST = 4 << 20
_DOOR = Door(ContentError, "sign the image again", limit=_LARGEST)
_CONTENT, _PREDICATE = "dev.sigstore.bundle.content", "dev.sigstore.bundle.predicateType"


@dataclass(frozen=True)
class Bundle:
    """What one says. Of ``hint`` (of a key) and ``certificate`` (DER) one is empty."""

    hint: str
    certificate: bytes
    payload: bytes
    signatures: tuple[bytes, ...]

    def is_by(self, signer: SigningKey | Identity) -> bool:
        """Whether it is signed by this key, or by this identity with any certificate of the same authority."""
        signed = statements.to_be_signed(self.payload)
        if isinstance(signer, SigningKey):
            return self.hint == signer.public.hint and any(signer.public.verifies(signed, signature) for signature in self.signatures)
        return bool(self.certificate) and any(signer.made(self.certificate, signed, signature) for signature in self.signatures)


def bundle(statement: bytes, signer: SigningKey | Identity) -> bytes:
    """A statement as a bundle (sigstore protobuf-specs, ``sigstore_bundle.proto``, version 0.3); a key is named by the sha256 of its DER form."""
    signed = statements.to_be_signed(statement)
    if isinstance(signer, SigningKey):
        signature = signer.sign(signed)
        material: dict[str, object] = {"publicKey": {"hint": signer.public.hint}}
    else:
        sealed = signer.sign(signed)
        signature = sealed.signature
        stamps = [{"signedTimestamp": base64.b64encode(sealed.timestamp).decode()}]
        material = {
            "certificate": {"rawBytes": base64.b64encode(sealed.certificate).decode()},
            "timestampVerificationData": {"rfc3161Timestamps": stamps},
        }
    envelope = json.loads(statements.envelope(statement, signature))
    return oci.to_json({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope})


def attach(client: RegistryClient, repository: str, subject: Manifest, statement: bytes, predicate_type: str, signer: SigningKey | Identity) -> bool:
    """Attach a statement about a manifest, signed, unless it is there already by this signer; whether it is new.

    :raises InfrastructureError: others keep overwriting the list. :raises UsageError: the identity is refused.
    """
    if any(found.payload == statement and found.is_by(signer) for found in _of(client, repository, subject)):
        return False
    notes = {_CONTENT: "dsse-envelope", _PREDICATE: predicate_type}
    documents = {MEDIA_TYPE: {"": bundle(statement, signer)}}
    client.attach(repository, subject.descriptor, documents, media_type=MEDIA_TYPE, annotations=notes)
    return True


def _of(client: RegistryClient, repository: str, subject: Manifest) -> Iterator[Bundle]:
    """Every bundle of an image; what is none is passed over: others attach what they like."""
    for entry in client.referrers(repository, subject.digest, MEDIA_TYPE):
        try:
            layers = client.manifest(repository, entry.digest).blobs
            wanted = [layer for layer in layers if layer.media_type == MEDIA_TYPE and layer.size <= _LARGEST]
            for layer in wanted[:1]:
                yield read(client.blob(repository, layer.digest))
        except (ContentError, NotFoundError):
            continue


def read(data: bytes) -> Bundle:
    """:raises ContentError: it is none."""
    shape = _DOOR.shape("the bundle")
    document: dict[str, Any] = _DOOR.json_object(data, "the bundle")
    material = shape.need(document, "verificationMaterial", dict)
    named, certified = ({} if material.get(name) is None else shape.need(material, name, dict) for name in ("publicKey", "certificate"))
    payload, signatures = statements.read_envelope(oci.to_json(shape.need(document, "dsseEnvelope", dict)))
    try:
        certificate = base64.b64decode(shape.text(certified.get("rawBytes"), "rawBytes"), validate=True)
    except ValueError:
        raise shape.wrong("rawBytes", "base64") from None
    return Bundle(shape.text(named.get("hint"), "hint"), certificate, payload, tuple(signatures))
