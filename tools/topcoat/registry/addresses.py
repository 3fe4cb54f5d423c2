"""Addresses of services that get a secret.

This module must never let one go without TLS to another machine that nobody named.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from topcoat.errors import UsageError

_HERE = ("127.0.0.1", "::1", "localhost")


def parts_of(url: str, what: str) -> SplitResult:
    """An ``http`` or ``https`` address in its parts.

    :param what: it is to be the address of, for errors. :raises UsageError: it is none.
    """
    try:
        address = urlsplit(url)
        good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a bracket that is open, a port that is none
        good = False
    if not good:
        raise UsageError(f"{url[:80]!r} is no address of {what}", next_step="write https://host/path")
    return address


def check_address(url: str, what: str, plain_http: Sequence[str] = ()) -> str:
    """The address as it is given.

    :param what: it is to be the address of, for errors. :param plain_http: ``host[:port]`` that may be without TLS.
    :raises UsageError: it is no address, or one without TLS of another machine.
    """
    address = parts_of(url, what)
    if address.scheme == "http" and address.hostname not in _HERE and address.netloc not in plain_http:
        raise UsageError(f"{url} is without TLS, and everybody on the way would read what is sent", next_step="write https://, or --plain-http")
    return url
