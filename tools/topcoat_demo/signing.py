"""OpenPGP keys of the demo distribution and of tests, and signatures on RPMs, without gpg and without anybody's keyring.

This module must never make a key that is worth anything: every secret here follows from a name that anybody can read.

Same name, same key; same package, same signature. In a test::

    from topcoat_demo import signing

    key = signing.key("somebody")                                   # Ed25519; kinds: rsa, ed25519, ecdsa, unknown
    path = write_rpm(spec, folder, signer=key)                      # header, and header with payload, as distributions have them
    path = write_rpm(spec, folder, signer=key.only("header"))       # or "payload"
    (folder / "KEY").write_text(key.armored())                      # what a repository's gpgkey names

Packets: RFC 4880 (OpenPGP) and RFC 6637 (elliptic curves). The signature tags of RPM 4: "RPM Package Format", rpm.org documentation.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from topcoat.rpm.openpgp import crc24

CREATED = 1_704_067_200
"""2024-01-01T00:00:00Z: creation time of every key that does not say otherwise."""

_RSA, _ECDSA, _EDDSA, _UNKNOWN = 1, 19, 22, 99
_SHA256 = 8
_PUBLIC_KEY, _SIGNATURE, _USER_ID, _PUBLIC_SUBKEY = 6, 2, 13, 14
_BINARY, _CERTIFICATION, _SUBKEY_BINDING, _PRIMARY_BINDING, _REVOCATION = 0x00, 0x13, 0x18, 0x19, 0x20
_ED25519_OID = bytes.fromhex("092b06010401da470f01")
_P256_OID = bytes.fromhex("082a8648ce3d030107")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# Looking for primes of 2,048 bits takes seconds: how far behind the number that follows from the name the two primes are.
_RSA_NAMES = {"demo distribution": (3622, 1452), "demo distribution, second": (486, 2)}


def _mpi(number: int) -> bytes:
    return struct.pack(">H", number.bit_length()) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _length(size: int) -> bytes:
    if size < 192:
        return bytes([size])
    if size < 8384:
        return bytes([((size - 192) >> 8) + 192, (size - 192) & 0xFF])
    return b"\xff" + struct.pack(">I", size)


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag]) + _length(len(body)) + body


def _subpacket(kind: int, body: bytes) -> bytes:
    return _length(1 + len(body)) + bytes([kind]) + body


def _seed(name: str, size: int) -> bytes:
    return b"".join(hashlib.sha512(f"{name}/{part}".encode()).digest() for part in range((size + 63) // 64))[:size]


def _prime(name: str, offset: int) -> int:
    return (int.from_bytes(_seed(name, 256), "big") | 3 << 2046 | 1) + offset


@dataclass(frozen=True)
class _Half:
    """One key pair: primary key or subkey."""

    name: str
    kind: str
    created: int

    @property
    def algorithm(self) -> int:
        return {"rsa": _RSA, "ed25519": _EDDSA, "ecdsa": _ECDSA, "unknown": _UNKNOWN}[self.kind]

    def material(self) -> bytes:
        """The key as in the body of its packet."""
        secret = _secret(self.name, self.kind)
        if isinstance(secret, rsa.RSAPrivateKey):
            numbers = secret.public_key().public_numbers()
            body = _mpi(numbers.n) + _mpi(numbers.e)
        elif isinstance(secret, ed25519.Ed25519PrivateKey):
            point = secret.public_key().public_bytes_raw()
            body = _ED25519_OID + _mpi(int.from_bytes(b"\x40" + point, "big"))
        else:
            numbers_ec = secret.public_key().public_numbers()
            body = _P256_OID + _mpi(int.from_bytes(b"\x04" + numbers_ec.x.to_bytes(32, "big") + numbers_ec.y.to_bytes(32, "big"), "big"))
        return struct.pack(">BIB", 4, self.created, self.algorithm) + body

    def hashed(self) -> bytes:
        """The key as it enters a hash."""
        body = self.material()
        return b"\x99" + struct.pack(">H", len(body)) + body

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha1(self.hashed(), usedforsecurity=False).digest()

    def _values(self, digest: bytes) -> bytes:
        secret = _secret(self.name, self.kind)
        if isinstance(secret, rsa.RSAPrivateKey):
            return _mpi(int.from_bytes(secret.sign(digest, padding.PKCS1v15(), utils.Prehashed(SHA256())), "big"))
        if isinstance(secret, ed25519.Ed25519PrivateKey):
            pair = secret.sign(digest)
            return _mpi(int.from_bytes(pair[:32], "big")) + _mpi(int.from_bytes(pair[32:], "big"))
        der = secret.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()), deterministic_signing=True))
        return b"".join(map(_mpi, utils.decode_dss_signature(der)))

    def sign(self, kind: int, data: Iterable[bytes], created: int, extra: bytes = b"", version: int = 4) -> bytes:
        """A signature packet of a kind over data."""
        digest = hashlib.sha256()
        for part in data:
            digest.update(part)
        if version == 3:
            tail = struct.pack(">BI", kind, created)
            digest.update(tail)
            head = b"\x03\x05" + tail + self.fingerprint[-8:] + bytes([self.algorithm, _SHA256])
        else:
            hashed = _subpacket(2, struct.pack(">I", created)) + _subpacket(33, b"\x04" + self.fingerprint) + extra
            start = struct.pack(">BBBBH", 4, kind, self.algorithm, _SHA256, len(hashed)) + hashed
            digest.update(start + b"\x04\xff" + struct.pack(">I", len(start)))
            issuer = _subpacket(16, self.fingerprint[-8:])
            head = start + struct.pack(">H", len(issuer)) + issuer
        value = digest.digest()
        return _packet(_SIGNATURE, head + value[:2] + self._values(value))


@functools.cache
def _secret(name: str, kind: str) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
    if kind == "rsa":
        p, q = (_prime(f"{name}/{half}", offset) for half, offset in zip("pq", _RSA_NAMES[name], strict=True))
        exponent = pow(65537, -1, (p - 1) * (q - 1))
        public = rsa.RSAPublicNumbers(65537, p * q)
        numbers = rsa.RSAPrivateNumbers(p, q, exponent, exponent % (p - 1), exponent % (q - 1), pow(q, -1, p), public)
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)
    if kind == "ed25519" or kind == "unknown":
        return ed25519.Ed25519PrivateKey.from_private_bytes(_seed(f"{name}/{kind}", 32))
    return ec.derive_private_key(int.from_bytes(_seed(f"{name}/{kind}", 40), "big") % (_P256_ORDER - 1) + 1, ec.SECP256R1())


@dataclass(frozen=True)
class Key:
    """A key pair with one user id, and how it signs packages."""

    name: str
    kind: str = "ed25519"
    """``rsa`` (4096 bits; only names with known primes), ``ed25519``, ``ecdsa`` (P-256), or ``unknown``: an algorithm that nobody has."""
    created: int = CREATED
    expires: int = 0
    """Seconds after its creation; 0: never."""
    revoked: bool = False
    subkey: str = ""
    """Kind of a subkey; when there is one, it signs the packages."""
    tags: tuple[str, ...] = ("header", "payload")
    """What is signed: the header, the header with the payload (as rpm before 4.14 did), or both."""
    version: int = 4
    """Of the signature packets on packages: 4, or 3 as many distributions still have it."""

    @property
    def _primary(self) -> _Half:
        return _Half(self.name, self.kind, self.created)

    @property
    def _signer(self) -> _Half:
        return _Half(f"{self.name}/sub", self.subkey, self.created) if self.subkey else self._primary

    @property
    def fingerprint(self) -> str:
        """Of the primary key, 40 hexadecimal digits."""
        return self._primary.fingerprint.hex()

    @property
    def signing_id(self) -> str:
        """Key id in the signatures on packages, 16 hexadecimal digits."""
        return self._signer.fingerprint.hex()[-16:]

    def only(self, *tags: str, version: int = 4) -> Key:
        """The same key, which signs this much."""
        return replace(self, tags=tags, version=version)

    def certificate(self) -> bytes:
        """The public key as OpenPGP packets."""
        primary = self._primary
        user = f"{self.name} <{self.name.replace(' ', '-').replace(',', '')}@example.org>".encode()
        flags = b"\x01" if self.subkey else b"\x03"
        extra = _subpacket(27, flags) + (_subpacket(9, struct.pack(">I", self.expires)) if self.expires else b"")
        packets = [_packet(_PUBLIC_KEY, primary.material())]
        if self.revoked:
            packets.append(primary.sign(_REVOCATION, [primary.hashed()], self.created + 1, _subpacket(29, b"\x00lost")))
        owner = [primary.hashed(), b"\xb4" + struct.pack(">I", len(user)) + user]
        packets += [_packet(_USER_ID, user), primary.sign(_CERTIFICATION, owner, self.created, extra)]
        if self.subkey:
            both = [primary.hashed(), self._signer.hashed()]
            back = self._signer.sign(_PRIMARY_BINDING, both, self.created)
            embedded = _subpacket(32, back[1 + len(_length(len(back) - 2)) :])
            packets += [
                _packet(_PUBLIC_SUBKEY, self._signer.material()),
                primary.sign(_SUBKEY_BINDING, both, self.created, _subpacket(27, b"\x02") + embedded),
            ]
        return b"".join(packets)

    def armored(self) -> str:
        """The public key as text, as in RPM-GPG-KEY files."""
        data = self.certificate()
        text = base64.b64encode(data).decode()
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        checksum = base64.b64encode(crc24(data).to_bytes(3, "big")).decode()
        return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{lines}\n={checksum}\n-----END PGP PUBLIC KEY BLOCK-----\n"

    def detached(self, data: bytes, *, created: int = CREATED) -> str:
        """A detached signature of some bytes as text (``repomd.xml.asc``)."""
        packet = self._signer.sign(_BINARY, [data], created)
        checksum = base64.b64encode(crc24(packet).to_bytes(3, "big")).decode()
        text = base64.b64encode(packet).decode()
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        return f"-----BEGIN PGP SIGNATURE-----\n\n{lines}\n={checksum}\n-----END PGP SIGNATURE-----\n"

    def signatures(self, header: bytes, payload: bytes, created: int) -> dict[int, bytes]:
        """Tag of the signature header → signature packet.

        :param header: of the package, from its magic number on. :param payload: what follows it.
        """
        rsa_signs = self._signer.kind == "rsa"
        found = {}
        if "header" in self.tags:
            found[268 if rsa_signs else 267] = self._signer.sign(_BINARY, [header], created, version=self.version)
        if "payload" in self.tags:
            found[1002 if rsa_signs else 1005] = self._signer.sign(_BINARY, [header, payload], created, version=self.version)
        return found


def key(name: str, kind: str = "ed25519", **more: object) -> Key:
    """The key of a name."""
    return Key(name, kind, **more)  # type: ignore[arg-type]


DEMO = Key("demo distribution", "rsa")
"""Signs every published package of the demo distribution."""

KEY_FILE = "RPM-GPG-KEY-demo"
"""Name of the demo distribution's key file, beside its repositories and in its base images."""
