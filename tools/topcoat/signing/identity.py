"""Signing as somebody instead of with a key: a token that says who runs here (of Zuul's, for one) becomes a certificate of some minutes.

This module must never show the token, and never keep the key of a certificate anywhere but in memory.

Fulcio (API v2, ``signingCert``) issues the certificate for a key that was made for it; whoever runs Fulcio decides which issuers of tokens it
believes, and what a certificate says of them.
"""

from __future__ import annotations

import base64
import datetime
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from topcoat.documents import Door
from topcoat.errors import InfrastructureError, UsageError
from topcoat.registry.oci import to_json
from topcoat.signing.keys import PublicKey, SigningKey, read_secret
from topcoat.signing.service import Service
from topcoat.signing.timestamps import stamp

_PATH = "/api/v2/signingCert"
_TOKEN = Door(UsageError, "give the token as Zuul's secret holds it, in a file that only its owner reads", limit=1 << 16)
_ANSWER = Door(InfrastructureError, "check that the address is that of a Fulcio")
_SPARE = datetime.timedelta(seconds=60)
"""A certificate that is valid for less than this is not signed with any more."""


@dataclass(frozen=True)
class Sealed:
    """A signature with all that checking it takes."""

    signature: bytes
    certificate: bytes
    """DER."""
    timestamp: bytes
    """TimeStampResp in DER."""


class Identity:
    """Signs as whoever a token names; certificates are asked for when something is signed, and anew before one ends."""

    def __init__(self, token_file: Path, fulcio: Service, timestamps: Service) -> None:
        """:param fulcio: of the address of its API's root, ``/api/v2/signingCert`` included. :param timestamps: an RFC 3161 authority.

        :raises UsageError: the file can be read by others, or holds no token.
        """
        self._token = read_secret(token_file, "token").strip()
        self._subject, self.name = _subject(self._token, token_file)
        self._fulcio = fulcio
        self._timestamps = timestamps
        self._lock = threading.Lock()
        self._current: tuple[SigningKey, list[x509.Certificate]] | None = None

    def __repr__(self) -> str:
        return f"Identity({self.name})"

    @classmethod
    def at(cls, token_file: Path, fulcio: str, timestamps: str, *, ca_file: Path | None = None, plain_http: Sequence[str] = ()) -> Identity:
        """By addresses; errors as of ``Service``."""
        certifies = Service(fulcio.rstrip("/") + _PATH, "a Fulcio", ca_file=ca_file, plain_http=plain_http)
        return cls(token_file, certifies, Service(timestamps, "a timestamp authority", ca_file=ca_file, plain_http=plain_http))

    def sign(self, data: bytes) -> Sealed:
        """:raises UsageError: the token is refused, or too old. :raises InfrastructureError: a service does not answer as it must."""
        key, chain = self._certified()
        signature = key.sign(data)
        return Sealed(signature, chain[0].public_bytes(serialization.Encoding.DER), stamp(self._timestamps, signature))

    def made(self, certificate: bytes, data: bytes, signature: bytes) -> bool:
        """Whether a signature is this identity's by an earlier certificate of the same authority."""
        _, (own, *issuers) = self._certified()
        try:
            other = x509.load_der_x509_certificate(certificate)
            names = _names(other)
            if not names or names != _names(own):
                return False
            other.verify_directly_issued_by(issuers[0] if issuers else own)
            return PublicKey.of(other.public_key()).verifies(data, signature)
        except (ValueError, TypeError, UsageError, InvalidSignature, UnsupportedAlgorithm):
            return False

    def _certified(self) -> tuple[SigningKey, list[x509.Certificate]]:
        with self._lock:
            soon = datetime.datetime.now(datetime.UTC) + _SPARE
            if self._current is None or self._current[1][0].not_valid_after_utc < soon:
                self._current = self._ask()
            return self._current

    def _ask(self) -> tuple[SigningKey, list[x509.Certificate]]:
        key = SigningKey.generate()
        wanted = {
            "credentials": {"oidcIdentityToken": self._token.decode("ascii")},
            "publicKeyRequest": {
                "publicKey": {"algorithm": "ECDSA", "content": key.public.pem().decode()},
                "proofOfPossession": base64.b64encode(key.sign(self._subject.encode())).decode(),
            },
        }
        document = _ANSWER.json_object(self._fulcio.post(to_json(wanted), "application/json", "application/json"), "the answer of Fulcio")
        shape = _ANSWER.shape("the answer of Fulcio", where=self._fulcio.url)
        held = next((document[name] for name in ("signedCertificateEmbeddedSct", "signedCertificateDetachedSct") if name in document), None)
        if not isinstance(held, dict):
            raise shape.wrong("signedCertificate...", "a chain of certificates")
        texts = shape.items(shape.need(held, "chain", dict).get("certificates"), "certificates", str, "PEM texts")
        try:
            chain = [x509.load_pem_x509_certificate(text.encode()) for text in texts]
        except ValueError:
            raise shape.wrong("certificates", "PEM texts") from None
        if not chain or PublicKey.of(chain[0].public_key()).hint != key.public.hint:
            raise InfrastructureError(f"{self._fulcio.url} certified another key than it was given", next_step=_ANSWER.next_step)
        return key, chain


def _names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Whose it is; empty where it does not say, or in a way that nobody reads."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return []


def _subject(token: bytes, path: Path) -> tuple[str, str]:
    """(what Fulcio wants signed, name for people) of a token (RFC 7519); it is Fulcio that checks it."""
    parts = token.split(b".")
    try:
        claims = _TOKEN.json_object(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)), "the token", where=str(path))
        token.decode("ascii")
    except (ValueError, IndexError):
        raise UsageError(f"{path} holds no token (a JWT)", next_step=_TOKEN.next_step) from None
    shape = _TOKEN.shape("the token", where=str(path))
    subject = shape.text(claims.get("email"), "email") or shape.need(claims, "sub", str)
    return subject, f"{subject} of {shape.text(claims.get('iss'), 'iss')}"
