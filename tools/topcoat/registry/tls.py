"""TLS of one run: the system's authorities and, where given, one more.

A bundle of authorities takes 30 ms to read, half the start of a command; a run that speaks to no server over TLS never pays for it, and one that
speaks to many pays once.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from topcoat.errors import UsageError


class Tls:
    """Settings that the clients of a run share; threads may."""

    def __init__(self, ca_file: Path | str | None = None) -> None:
        """:param ca_file: PEM, one more authority beside the system's.

        :raises UsageError: it cannot be read.
        """
        self._own = _content(ca_file) if ca_file else ""

    def context(self) -> ssl.SSLContext:
        """What a connection is made with; read once."""
        return _context(self._own)


def _content(ca_file: Path | str) -> str:
    """The text of a certificate authority, tried.

    :raises UsageError: it cannot be read, or is none.
    """
    try:
        content = Path(ca_file).read_bytes().decode("ascii", "ignore")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"cannot read the certificate authority {ca_file}: {error}", next_step="check --ca-file") from error
    return content


@lru_cache(maxsize=4)
def _context(own: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if own:
        context.load_verify_locations(cadata=own)
    return context
