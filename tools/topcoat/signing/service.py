"""One address of a signing service that something is posted to.

This module must never put what it posts, which may be a token, into an error or a log, and never send it without TLS to another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import InfrastructureError, UsageError
from topcoat.registry.addresses import check_address
from topcoat.registry.tls import Tls

_SECONDS = 30.0
_LARGEST = 1 << 20
_MOST_SAID = 300
_DOOR = Door(InfrastructureError, "look at the service", limit=_LARGEST)


class Service:
    """A client for one address."""

    def __init__(self, url: str, what: str, *, ca_file: Path | None = None, plain_http: Sequence[str] = ()) -> None:
        """Parameters and errors as of ``check_address``."""
        self.url = check_address(url, what, plain_http)
        self._ca_file = ca_file

    def post(self, body: bytes, sent: str, wanted: str) -> bytes:
        """What it answers, once.

        :param sent: media type of the body. :param wanted: of the answer.
        :raises UsageError: it refuses what was sent. :raises InfrastructureError: it does not answer, or not so.
        """
        import httpx

        headers = {"Content-Type": sent, "Accept": wanted}
        try:
            with (
                httpx.Client(timeout=_SECONDS, verify=Tls(self._ca_file).context()) as client,
                client.stream("POST", self.url, content=body, headers=headers) as answer,
            ):
                found = b""
                for part in answer.iter_bytes():
                    found += part
                    if len(found) > _LARGEST:
                        raise InfrastructureError(f"{self.url} answers more than {_LARGEST} bytes", next_step=_DOOR.next_step)
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InfrastructureError(f"{self.url} does not answer: {type(error).__name__}", next_step="check the address and the network") from None
        if 400 <= status < 500 and status not in (408, 429):
            raise UsageError(f"{self.url} refuses with {status}: {_said(found)}", next_step="look at what the service accepts: issuer, audience, age")
        if not 200 <= status < 300:
            raise InfrastructureError(f"{self.url} answers {status}: {_said(found)}", next_step=_DOOR.next_step)
        return found


def _said(answer: bytes) -> str:
    """The service's own words: ``message`` of a JSON answer, else its begin."""
    try:
        text = str(_DOOR.json_object(answer, "the answer").get("message") or "")
    except InfrastructureError:
        text = answer[:_MOST_SAID].decode("utf-8", "replace")
    return " ".join(text.split())[:_MOST_SAID] or "no words"
