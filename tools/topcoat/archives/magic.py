"""Which compression a stream has, told by its first bytes: names and media types are not to be trusted.

This module must never call a stream plain that a reader of the field opens.
"""

from __future__ import annotations

from typing import Literal

LONGEST = 6
"""Bytes to look at."""
ZSTD = b"\x28\xb5\x2f\xfd"
"""What a frame with content begins with."""


def compression(head: bytes) -> Literal["gzip", "zstd", "xz", "bzip2", ""]:
    """Its name, empty for a plain stream.

    Sources: RFC 1952, 2.3.1; RFC 8878, 3.1.1 and 3.1.2 (a skippable frame may come first; zstd:chunked puts its table of contents into such frames);
    the .xz file format, 2.1.1.1; bzip2's own header.

    :param head: the first ``LONGEST`` bytes, fewer of a shorter stream.
    """
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(ZSTD) or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "bzip2" if head.startswith(b"BZh") else ""
