"""JSON documents that are kept compressed: the same document gives the same bytes, and no more is unpacked than was allowed.

This module must never hold more than its limit of what a few bytes unpack to.
"""

from __future__ import annotations

import json
from typing import Any

from isal import isal_zlib

from topcoat.documents.door import decoded

_GZIP = 31  # RFC 1952, with zlib's window


def pack(document: object) -> bytes:
    """Compact, keys sorted, compressed."""
    engine = isal_zlib.compressobj(2, isal_zlib.DEFLATED, _GZIP)
    return engine.compress(json.dumps(document, separators=(",", ":"), sort_keys=True).encode()) + engine.flush()


def unpack(content: bytes, most: int) -> Any:
    """Read back what ``pack`` gave.

    :param most: bytes of the document that are allowed.
    :raises ValueError: it is damaged, cut off or larger; says which.
    """
    engine = isal_zlib.decompressobj(_GZIP)
    try:
        text = engine.decompress(content, most)
        if not engine.eof:
            raise ValueError("it is cut off, or larger than any real one")
        return decoded(text.decode())
    except (isal_zlib.error, RecursionError) as error:  # type: ignore[misc]
        raise ValueError(str(error)) from error
