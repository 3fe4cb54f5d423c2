"""Reads what OpenPGP public keys and signature packets say about themselves: key ids, times, expiry, revocation.

This module must never be the reason that a signature counts as good: it computes nothing. rpm's own library does (``signatures``).

RFC 4880 and RFC 9580 (OpenPGP): packets of versions 3, 4 and 6.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_SIGNATURE, _PUBLIC_KEY, _USER_ID, _PUBLIC_SUBKEY = 2, 6, 13, 14
_SECRET = (5, 7)
_REVOKES_KEY, _REVOKES_SUBKEY, _BINDS_SUBKEY = 0x20, 0x28, 0x18
_CERTIFIES = (0x10, 0x11, 0x12, 0x13, 0x1F)
_CREATED, _KEY_EXPIRES, _ISSUER, _ISSUER_FINGERPRINT = 2, 9, 16, 33
_BLOCK = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)
# Public-key algorithms that can sign (RFC 9580, 9.1, and the drafts for keys that outlive quantum computers).
_SIGNING_ALGORITHMS = {1: "RSA", 3: "RSA", 17: "DSA", 19: "ECDSA", 22: "EdDSA", 27: "Ed25519", 28: "Ed448", 30: "ML-DSA-65", 31: "ML-DSA-87"}


@dataclass(frozen=True)
class PackageKey:
    """One key with its subkeys. Ids have 16 hexadecimal digits; times are seconds since the epoch, 0 where there is none."""

    key_id: str
    fingerprint: str
    user: str
    created: int
    expires: int
    revoked: bool
    algorithm: int
    subkeys: tuple[str, ...] = ()
    subkey_expires: tuple[tuple[str, int], ...] = ()
    """(id of a subkey, when it expires)."""
    revoked_subkeys: tuple[str, ...] = ()
    packets: bytes = field(default=b"", repr=False)

    def armored(self) -> str:
        """This key alone as text, which is the one form that rpm imports."""
        text = base64.b64encode(self.packets).decode()
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        checksum = base64.b64encode(crc24(self.packets).to_bytes(3, "big")).decode()
        return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{lines}\n={checksum}\n-----END PGP PUBLIC KEY BLOCK-----\n"

    @property
    def ids(self) -> tuple[str, ...]:
        """Key ids that a signature by this key can name."""
        return (self.key_id, *self.subkeys)

    def expiry(self, key_id: str) -> int:
        """When the key of an id, this one or a subkey, expires: seconds since the epoch, 0: never."""
        return min((seconds for seconds in (self.expires, dict(self.subkey_expires).get(key_id, 0)) if seconds), default=0)

    @property
    def algorithm_name(self) -> str:
        """Empty where nobody knows the algorithm."""
        return _SIGNING_ALGORITHMS.get(self.algorithm, "")

    def __str__(self) -> str:
        return f"{self.key_id} ({self.user})" if self.user else self.key_id


@dataclass(frozen=True)
class Signature:
    """What a signature packet says: who made it (16 hexadecimal digits, empty where it does not say) and when (seconds since the epoch)."""

    key_id: str
    created: int
    version: int
    algorithm: int


def public_keys(data: bytes) -> tuple[PackageKey, ...]:
    """The keys of a key file, binary or armored, one or several blocks.

    :raises ValueError: it is damaged, or no public key; says what is wrong.
    """
    binary = data[:1] >= b"\x80"
    blocks = [data] if binary else [_dearmored(match[1]) for match in _BLOCK.finditer(data)]
    if not blocks:
        secret = b"-----BEGIN PGP PRIVATE KEY BLOCK-----" in data
        raise ValueError("it is a private key" if secret else "it holds no OpenPGP public key")
    found: list[PackageKey] = []
    for block in blocks:
        found += _keys_of(block)
    if not found:
        raise ValueError("it holds no OpenPGP public key")
    return tuple(found)


def signature(data: bytes) -> Signature:
    """What a signature packet says.

    :raises ValueError: it is no signature packet, or damaged.
    """
    for tag, body, _ in _packets(data):
        if tag != _SIGNATURE:
            break
        return _read_signature(body)[0]
    raise ValueError("it is no OpenPGP signature")


def _dearmored(text: bytes) -> bytes:
    """The bytes of an armored block; a checksum that does not fit is damage."""
    head, _, body = re.sub(rb"\r\n?", b"\n", text).partition(b"\n\n")
    if not body:
        body = head
    lines = [line.strip() for line in body.split(b"\n") if line.strip()]
    checksum = lines.pop()[1:] if lines and lines[-1].startswith(b"=") and len(lines[-1]) == 5 else b""
    try:
        data = base64.b64decode(b"".join(lines), validate=True)
        wanted = base64.b64decode(checksum, validate=True)
    except binascii.Error as error:
        raise ValueError(f"its text is damaged ({error})") from error
    if checksum and crc24(data).to_bytes(3, "big") != wanted:
        raise ValueError("its text is damaged (the checksum is wrong)")
    return data


def crc24(data: bytes) -> int:
    """Checksum of an armored block (RFC 4880, 6.1)."""
    value = 0xB704CE
    for byte in data:
        value ^= byte << 16
        for _ in range(8):
            value <<= 1
            if value & 0x1000000:
                value ^= 0x1864CFB
    return value & 0xFFFFFF


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(tag, body, the packet as it stands) of each packet, both header formats (RFC 4880, 4.2)."""
    place = 0
    while place < len(data):
        begin, head = place, data[place]
        if not head & 0x80:
            raise ValueError("it is damaged: no packet where one should start")
        place += 1
        try:
            if head & 0x40:
                tag = head & 0x3F
                length, place = _length(data, place)
            else:
                tag = head >> 2 & 0x0F
                width = (1, 2, 4, 0)[head & 3]
                if not width:
                    raise ValueError("it is damaged: a packet without length")
                length = int.from_bytes(data[place : place + width], "big")
                place += width
        except IndexError:
            raise ValueError("it is cut short") from None
        if place + length > len(data):
            raise ValueError("it is cut short")
        yield tag, data[place : place + length], data[begin : place + length]
        place += length


def _length(data: bytes, place: int) -> tuple[int, int]:
    first = data[place]
    if first < 192:
        return first, place + 1
    if first < 224:
        return (first - 192 << 8) + data[place + 1] + 192, place + 2
    if first == 255:
        return int.from_bytes(data[place + 1 : place + 5], "big"), place + 5
    raise ValueError("it is damaged: a packet in parts")


def _read_signature(body: bytes) -> tuple[Signature, int, dict[int, bytes]]:
    """(the signature, its type, its hashed subpackets)."""
    try:
        version = body[0]
        if version == 3:
            kind, created = struct.unpack(">BI", body[2:7])
            return Signature(body[7:15].hex(), created, 3, body[15]), kind, {}
        if version not in (4, 6):
            raise ValueError(f"its version {version} is unknown")
        width = 4 if version == 6 else 2
        kind, algorithm = body[1], body[2]
        size = int.from_bytes(body[4 : 4 + width], "big")
        place = 4 + width
        hashed = _subpackets(body[place : place + size])
        place += size
        size = int.from_bytes(body[place : place + width], "big")
        loose = _subpackets(body[place + width : place + width + size])
        created = int.from_bytes(hashed.get(_CREATED, b""), "big")
        fingerprint = hashed.get(_ISSUER_FINGERPRINT, loose.get(_ISSUER_FINGERPRINT, b""))
        issuer = hashed.get(_ISSUER, loose.get(_ISSUER, b""))
        if fingerprint[:1] == b"\x06":
            issuer = fingerprint[1:9]
        elif fingerprint:
            issuer = fingerprint[-8:]
        return Signature(issuer.hex(), created, version, algorithm), kind, hashed
    except (IndexError, struct.error):
        raise ValueError("a signature in it is cut short") from None


def _subpackets(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    place = 0
    while place < len(data):
        length, place = _length(data, place)
        if not length or place + length > len(data):
            raise ValueError("a signature in it is damaged")
        found.setdefault(data[place] & 0x7F, data[place + 1 : place + length])
        place += length
    return found


def _keys_of(block: bytes) -> list[PackageKey]:
    keys: list[dict[str, object]] = []
    below = 0  # when the key or subkey was made that signatures now are about
    for tag, body, whole in _packets(block):
        if tag in _SECRET:
            raise ValueError("it is a private key")
        if tag in (_PUBLIC_KEY, _PUBLIC_SUBKEY):
            fingerprint, created, algorithm = _identity(body)
            key_id = (fingerprint[:8] if len(fingerprint) == 32 else fingerprint[-8:]).hex()
            if tag == _PUBLIC_KEY:
                entry = {"key_id": key_id, "fingerprint": fingerprint.hex(), "user": "", "created": created, "expires": 0, "revoked": False}
                keys.append({**entry, "algorithm": algorithm, "subkeys": (), "subkey_expires": (), "revoked_subkeys": (), "packets": b""})
                below = created
            elif keys:
                keys[-1]["subkeys"] = (*keys[-1]["subkeys"], key_id)  # type: ignore[misc]
                below = created
        elif tag == _USER_ID and keys and not keys[-1]["user"]:
            keys[-1]["user"] = "".join(letter if letter.isprintable() else "?" for letter in body.decode("utf-8", "replace"))
        elif tag == _SIGNATURE and keys:
            _signed(keys[-1], body, below)
        if keys:
            keys[-1]["packets"] += whole  # type: ignore[operator]
    return [PackageKey(**key) for key in keys]  # type: ignore[arg-type]


def _signed(key: dict[str, object], body: bytes, created: int) -> None:
    """Take over what a signature on a key, or on its last subkey, says. Only the key's own count; those of others say nothing about it.

    :param created: when the key or subkey was made that it is about.
    """
    made, kind, hashed = _read_signature(body)
    if made.key_id and made.key_id != key["key_id"]:
        return
    if kind == _REVOKES_KEY:
        key["revoked"] = True
        return
    expires = created + seconds if (seconds := int.from_bytes(hashed.get(_KEY_EXPIRES, b""), "big")) else 0
    subkeys: tuple[str, ...] = key["subkeys"]  # type: ignore[assignment]
    if kind in _CERTIFIES and not subkeys:
        key["expires"] = expires
    elif subkeys and kind == _REVOKES_SUBKEY:
        key["revoked_subkeys"] = (*key["revoked_subkeys"], subkeys[-1])  # type: ignore[misc]
    elif subkeys and kind == _BINDS_SUBKEY and expires:
        key["subkey_expires"] = (*key["subkey_expires"], (subkeys[-1], expires))  # type: ignore[misc]


def _identity(body: bytes) -> tuple[bytes, int, int]:
    """(fingerprint, time of creation, algorithm) of a key packet."""
    if len(body) < 6:
        raise ValueError("a key in it is cut short")
    version = body[0]
    created = int.from_bytes(body[1:5], "big")
    if version == 4:
        digest = hashlib.sha1(b"\x99" + struct.pack(">H", len(body)) + body, usedforsecurity=False).digest()
    elif version == 6:
        digest = hashlib.sha256(b"\x9b" + struct.pack(">I", len(body)) + body).digest()
    else:
        raise ValueError(f"a key in it has version {version}, which is not read")
    return digest, created, body[5]
