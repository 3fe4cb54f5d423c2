"""Trusted timestamps (RFC 3161): a signature with a certificate of ten minutes counts for as long as somebody vouches for when it was made.

This module must never pass on an answer that is not about the bytes it asked about; whether its signer is trusted is the consumer's to say.
"""

from __future__ import annotations

import hashlib
import secrets

from topcoat.errors import InfrastructureError
from topcoat.signing.service import Service

_SHA256 = bytes.fromhex("300d06096086480165030402010500")
"""AlgorithmIdentifier of SHA-256 in DER."""
_GRANTED = (0, 1)
"""PKIStatus: granted, granted with modifications (section 2.4.2)."""


def request(data: bytes, nonce: int) -> bytes:
    """A TimeStampReq in DER (section 2.4.1) for these bytes that asks for the certificates too."""
    imprint = _value(0x30, _SHA256 + _value(0x04, hashlib.sha256(data).digest()))
    return _value(0x30, _integer(1) + imprint + _integer(nonce) + _value(0x01, b"\xff"))


def stamp(service: Service, data: bytes) -> bytes:
    """A TimeStampResp in DER for these bytes.

    :raises InfrastructureError: the authority does not answer, refuses, or answers something else.
    """
    nonce = secrets.randbits(63) | 1
    answer = service.post(request(data, nonce), "application/timestamp-query", "application/timestamp-reply")
    if _status(answer) not in _GRANTED or hashlib.sha256(data).digest() not in answer or _integer(nonce) not in answer:
        raise InfrastructureError(f"{service.url} gave no timestamp for what it was asked", next_step="look at the timestamp authority")
    return answer


def _status(answer: bytes) -> int:
    """The first number of TimeStampResp, its PKIStatus; -1: it is none."""
    try:
        outer = _inside(answer, 0x30)
        return int.from_bytes(_inside(_inside(outer, 0x30), 0x02), "big", signed=True)
    except (IndexError, ValueError):
        return -1


def _inside(data: bytes, tag: int) -> bytes:
    """Content of the first element, which has this tag (X.690, definite lengths)."""
    if data[0] != tag:
        raise ValueError("another tag")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("cut off")
    return data[start : start + length]


def _value(tag: int, content: bytes) -> bytes:
    """One element; none of ours is longer than 127 bytes."""
    if len(content) > 127:
        raise ValueError("a long form of length is not needed here")
    return bytes((tag, len(content))) + content


def _integer(number: int) -> bytes:
    return _value(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
