"""What is signed, as bytes: the simple signing document of an image, and statements in their envelope.

This module must never contact a registry, read a clock or a file: the same claim always gives the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError
from topcoat.model import Digest
from topcoat.model.image import check_digest
from topcoat.registry.oci import to_json

_DOOR = Door(ContentError, "sign the image again", limit=1 << 22)
_KIND = "cosign container image signature"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"


def claim(identity: str, digest: Digest) -> bytes:
    """The document "this digest may be called by this name" (containers/image, docs/containers-signature.5; cosign, specs/SIGNATURE_SPEC).

    :param identity: ``host/repository[:tag]``.
    """
    critical = {"identity": {"docker-reference": identity}, "image": {"docker-manifest-digest": digest}, "type": _KIND}
    return to_json({"critical": critical, "optional": {"creator": "topcoat"}})


def read_claim(data: bytes) -> tuple[str, Digest]:
    """(identity, digest) of such a document.

    :raises ContentError: it is none.
    """
    shape = _DOOR.shape("the signed document")
    critical = shape.need(_DOOR.json_object(data, "the signed document"), "critical", dict)
    if critical.get("type") != _KIND:
        raise shape.wrong("critical.type", repr(_KIND))
    identity = shape.need(shape.need(critical, "identity", dict, "critical"), "docker-reference", str, "identity")
    digest = shape.need(shape.need(critical, "image", dict, "critical"), "docker-manifest-digest", str, "image")
    try:
        return identity, check_digest(digest)
    except UsageError as error:
        raise shape.wrong("docker-manifest-digest", "a sha256 digest") from error


def statement(name: str, digest: Digest, predicate_type: str, predicate: Mapping[str, object]) -> bytes:
    """An in-toto statement about one image (in-toto attestation framework, Statement v1).

    :param name: ``host/repository``.
    """
    subject = [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}]
    return to_json({"_type": STATEMENT, "subject": subject, "predicateType": predicate_type, "predicate": predicate})


def to_be_signed(payload: bytes) -> bytes:
    """What the signature of an envelope is of (DSSE 1.0, "Pre-Authentication Encoding")."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def envelope(payload: bytes, signature: bytes) -> bytes:
    """A statement with its signature (DSSE 1.0, envelope)."""
    signatures = [{"keyid": "", "sig": base64.b64encode(signature).decode()}]
    return to_json({"payloadType": PAYLOAD_TYPE, "payload": base64.b64encode(payload).decode(), "signatures": signatures})


def read_envelope(data: bytes) -> tuple[bytes, list[bytes]]:
    """(payload, signatures) of an envelope of statements.

    :raises ContentError: it is none.
    """
    shape = _DOOR.shape("the envelope of a statement")
    document: dict[str, Any] = _DOOR.json_object(data, "the envelope of a statement")
    if document.get("payloadType") != PAYLOAD_TYPE:
        raise shape.wrong("payloadType", PAYLOAD_TYPE)
    entries = shape.items(shape.need(document, "signatures", list), "signatures", dict, "objects")
    try:
        payload = base64.b64decode(shape.need(document, "payload", str), validate=True)
        return payload, [base64.b64decode(shape.need(entry, "sig", str), validate=True) for entry in entries]
    except ValueError as error:
        raise shape.wrong("payload or a signature", "base64") from error
