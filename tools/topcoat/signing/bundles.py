"""Sigstore bundles: a signed statement with all that checking it takes, attached to its image; the form that cosign 3 writes and looks for first.

This module must never count a bundle as somebody's whose signature it has not checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from topcoat.documents import Door
from topcoat.errors import ContentError
from topcoat.registry import Descriptor, Manifest, RegistryClient, oci
from topcoat.registry.errors import NotFoundError
from topcoat.signing import statements
from topcoat.signing.keys import PublicKey, SigningKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""Predicate of a statement that says no more of an image than that somebody signed it."""
_LARGEST = 4 << 20
_DOOR = Door(ContentError, "sign the image again", limit=_LARGEST)
_CONTENT, _PREDICATE = "dev.sigstore.bundle.content", "dev.sigstore.bundle.predicateType"


def bundle(statement: bytes, key: SigningKey) -> bytes:
    """A statement as a bundle (sigstore protobuf-specs, ``sigstore_bundle.proto``, version 0.3); the key is named by the sha256 of its DER form."""
    envelope = json.loads(statements.envelope(statement, key.sign(statements.to_be_signed(statement))))
    return oci.to_json({"mediaType": MEDIA_TYPE, "verificationMaterial": {"publicKey": {"hint": key.public.hint}}, "dsseEnvelope": envelope})


def attach(client: RegistryClient, repository: str, subject: Manifest, statement: bytes, predicate_type: str, key: SigningKey) -> bool:
    """Attach a statement about a manifest, signed, unless it is there already by this key; whether it is new.

    :raises InfrastructureError: others keep overwriting the list.
    """
    signed = statements.to_be_signed(statement)
    for payload, signatures in _of(client, repository, subject, key.public):
        if payload == statement and any(key.public.verifies(signed, signature) for signature in signatures):
            return False
    data = bundle(statement, key)
    client.put_blob(repository, oci.digest_of(data), data)
    client.put_blob(repository, oci.digest_of(oci.EMPTY_BLOB), oci.EMPTY_BLOB)
    notes = {_CONTENT: "dsse-envelope", _PREDICATE: predicate_type}
    about = Descriptor(subject.media_type, subject.digest, len(subject.body))
    body = oci.artifact_manifest(MEDIA_TYPE, [Descriptor(MEDIA_TYPE, oci.digest_of(data), len(data))], subject=about, annotations=notes)
    entry = Descriptor(oci.OCI_MANIFEST, oci.digest_of(body), len(body), tuple(sorted(notes.items())), artifact_type=MEDIA_TYPE)
    client.put_attached(repository, subject.digest, Manifest(entry.digest, oci.OCI_MANIFEST, body), entry)
    return True


def _of(client: RegistryClient, repository: str, subject: Manifest, key: PublicKey) -> Iterator[tuple[bytes, list[bytes]]]:
    """(payload, signatures) of every bundle of an image that names this key; what is none is passed over: others attach what they like."""
    for entry in client.referrers(repository, subject.digest, MEDIA_TYPE):
        try:
            layers = client.manifest(repository, entry.digest).blobs
            wanted = [layer for layer in layers if layer.media_type == MEDIA_TYPE and layer.size <= _LARGEST]
            for layer in wanted[:1]:
                hint, payload, signatures = read(client.blob(repository, layer.digest))
                if hint == key.hint:
                    yield payload, signatures
        except (ContentError, NotFoundError):
            continue


def read(data: bytes) -> tuple[str, bytes, list[bytes]]:
    """(hint of the key, payload, signatures) of a bundle; the hint is empty where it was signed with a certificate.

    :raises ContentError: it is none.
    """
    shape = _DOOR.shape("the bundle")
    document: dict[str, Any] = _DOOR.json_object(data, "the bundle")
    material = shape.need(document, "verificationMaterial", dict)
    named = material.get("publicKey")
    envelope = shape.need(document, "dsseEnvelope", dict)
    payload, signatures = statements.read_envelope(oci.to_json(envelope))
    return str(named.get("hint") or "") if isinstance(named, dict) else "", payload, signatures
