"""Keys of the one kind that podman, skopeo and cosign all take: ECDSA on the curve P-256, with SHA-256.

This module must never put a key or a passphrase into an error, a repr or a log.

A private key is read as ``cosign generate-key-pair`` and ``skopeo generate-sigstore-key`` write it (PEM around a JSON document: scrypt and NaCl's
secretbox), or as openssl does (PKCS#8, with or without a passphrase).
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import nacl.exceptions
import nacl.secret
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from topcoat.documents import Door
from topcoat.errors import UsageError

_SEALED = re.compile(rb"-----BEGIN ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END ENCRYPTED ")
_LARGEST = 1 << 16
_DOOR = Door(UsageError, "make a key with 'cosign generate-key-pair' or 'skopeo generate-sigstore-key'", limit=_LARGEST)
_SCRYPT_MEMORY = 256 << 20
"""Bytes that turning a passphrase into a key may take: cosign's own parameters need 64 MiB."""
_SCRYPT_ROUNDS = 16


class PublicKey:
    """What checks signatures."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.name = f"SHA256:{hashlib.sha256(der).hexdigest()[:16]}"
        """Short name for people: the first half of a sha256 of the key."""
        self.hint = base64.b64encode(hashlib.sha256(der).digest()).decode()
        """What names the key in a bundle."""

    def __repr__(self) -> str:
        return f"PublicKey({self.name})"

    @classmethod
    def from_file(cls, path: Path) -> PublicKey:
        """Read a PEM file.

        :raises UsageError: it cannot be read, or is no public key of this kind.
        """
        try:
            key = serialization.load_pem_public_key(_read(path, "the public key"))
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError(f"{path} is not a public key (PEM)", next_step="give the file cosign.pub, not the private key") from None
        return cls(_ours(key, path, ec.EllipticCurvePublicKey))

    @classmethod
    def of(cls, key: object) -> PublicKey:
        """A key that was read before, of a certificate.

        :raises UsageError: it is none of this kind.
        """
        return cls(_ours(key, Path("certificate"), ec.EllipticCurvePublicKey))

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature (ASN.1) is this key's, of exactly these bytes."""
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def pem(self) -> bytes:
        """The key as a file that podman's policy and cosign take."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class SigningKey:
    """What makes signatures."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())
        self.name = self.public.name

    def __repr__(self) -> str:
        return f"SigningKey({self.name})"

    @classmethod
    def from_file(cls, path: Path, passphrase: bytes | None = None) -> SigningKey:
        """Read a private key.

        :param passphrase: None: nobody gave one; cosign's keys may have an empty one.
        :raises UsageError: others than its owner may read it, the passphrase is missing or wrong, or it is no key of this kind.
        """
        data = read_secret(path, "private key")
        sealed = _SEALED.search(data)
        encrypted = bool(sealed) or b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data
        if encrypted and passphrase is None:
            raise UsageError(
                f"{path} is encrypted", next_step="give its passphrase: --sign-passphrase-file FILE, or the variable TOPCOAT_SIGN_PASSPHRASE"
            )
        try:
            # the causes are cut off on purpose: their texts may quote the file
            if sealed:
                key: object = serialization.load_der_private_key(_unseal(sealed[1], passphrase or b"", path), None)
            else:
                key = serialization.load_pem_private_key(data, (passphrase or None) if encrypted else None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            if encrypted:
                raise _wrong_passphrase(path) from None
            raise UsageError(f"{path} is not a private key (PEM)", next_step=_DOOR.next_step) from None
        return cls(_ours(key, path, ec.EllipticCurvePrivateKey))

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key, which is nowhere but here."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    def sign(self, data: bytes) -> bytes:
        """The signature of these bytes, ASN.1."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def read_passphrase(path: Path) -> bytes:
    """The passphrase that a file holds, without the end of its line.

    :raises UsageError: the file cannot be read, or by too many.
    """
    return read_secret(path, "passphrase").removesuffix(b"\n").removesuffix(b"\r")


def _read(path: Path, what: str) -> bytes:
    data = _DOOR.read(path, what)
    if len(data) > _LARGEST:
        raise UsageError(f"{path} is larger than any key", next_step=_DOOR.next_step)
    return data


def read_secret(path: Path, what: str) -> bytes:
    """A file that only its owner may read. :param what: it holds, for errors.

    :raises UsageError: it cannot be read, or by too many.
    """
    data = _read(path, f"the {what}")
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path} holds a {what} and can be read by others than its owner", next_step=f"chmod 600 {path}")
    return data


def _ours(key: object, path: Path, kind: Any) -> Any:
    if not isinstance(key, kind) or key.curve.name != "secp256r1":
        raise UsageError(f"{path} is a key of another kind than ECDSA P-256, the one that podman and cosign both take", next_step=_DOOR.next_step)
    return key


def _wrong_passphrase(path: Path) -> UsageError:
    return UsageError(f"{path} cannot be opened: the passphrase is wrong, or the file is damaged", next_step="check the passphrase")


def _unseal(text: bytes, passphrase: bytes, path: Path) -> bytes:
    """The PKCS#8 document in a key of cosign or skopeo (go-securesystemslib, package ``encrypted``).

    :raises UsageError: it cannot be opened.
    """
    shape = _DOOR.shape(str(path))
    try:
        document = _DOOR.json_object(base64.b64decode(text), str(path))
        kdf, cipher = (shape.need(document, name, dict) for name in ("kdf", "cipher"))
        cost = {name: shape.need(shape.need(kdf, "params", dict, "kdf"), name, int, "kdf.params") for name in ("N", "r", "p")}
        names = (kdf.get("name"), cipher.get("name"))
        salt, nonce = (base64.b64decode(shape.need(part, name, str)) for part, name in ((kdf, "salt"), (cipher, "nonce")))
        ciphertext = base64.b64decode(shape.need(document, "ciphertext", str))
    except ValueError:
        raise UsageError(f"{path} is damaged", next_step=_DOOR.next_step) from None
    if names != ("scrypt", "nacl/secretbox") or not 0 < cost["p"] <= _SCRYPT_ROUNDS:
        raise UsageError(f"{path} is encrypted in an unknown way", next_step=_DOOR.next_step)
    try:
        secret = hashlib.scrypt(passphrase, salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=_SCRYPT_MEMORY, dklen=32)
        return nacl.secret.SecretBox(secret).decrypt(ciphertext, nonce)
    except (ValueError, TypeError, OverflowError, nacl.exceptions.CryptoError):
        raise _wrong_passphrase(path) from None
