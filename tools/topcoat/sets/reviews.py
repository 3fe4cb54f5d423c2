"""A Gerrit to which something is said about changes: asked which changes something names, and given a comment (REST API, "Review Input").

This module must never send a password without TLS to another machine, and never vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from topcoat.documents import Door
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.registry.addresses import check_address
from topcoat.registry.tls import Tls

_MAGIC = ")]}'"
_DOOR = Door(InfrastructureError, "check that the URL is that of a Gerrit", limit=16 << 20)
_SECONDS = 60.0
_MOST_FOUND = 25


@dataclass(frozen=True)
class MergedChange:
    """A change that is merged. ``tags`` are those of the messages on it."""

    number: int
    project: str
    subject: str
    tags: frozenset[str] = frozenset()


class Reviews:
    """One Gerrit and one account of it."""

    def __init__(self, url: str, login: tuple[str, str], *, ca_file: Path | None = None, plain_http: Sequence[str] = ()) -> None:
        """:param url: root of the server. :param login: account and its HTTP password. :param plain_http: ``host[:port]`` that may be without TLS.

        :raises UsageError: it is no address, or one to which a password must not go.
        """
        self.url = check_address(url, "a Gerrit", plain_http).rstrip("/")
        self._client = httpx.Client(auth=login, timeout=_SECONDS, verify=Tls(ca_file).context(), headers={"Accept": "application/json"})

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def merged(self, query: str) -> list[MergedChange]:
        """The merged changes that a query finds ("Query Changes").

        :raises InfrastructureError: the server does not answer so. :raises UsageError: it refuses the account.
        """
        options = {"q": f"{query} status:merged", "n": str(_MOST_FOUND), "o": "MESSAGES"}
        shape = _DOOR.shape(f"the answer of {self.url}")
        found = []
        for entry in shape.items(self._ask("GET", "/a/changes/", params=options), "its list", dict, "objects"):
            messages = shape.items(entry.get("messages"), "messages", dict, "objects")
            tags = frozenset(shape.text(message.get("tag"), "tag") for message in messages)
            number = shape.number(entry.get("_number"), "_number")
            found.append(MergedChange(number, shape.need(entry, "project", str), shape.text(entry.get("subject"), "subject"), tags))
        return found

    def comment(self, number: int, text: str, tag: str) -> None:
        """Say something on a change, without a vote; its owner alone gets mail ("Set Review").

        :raises ContentError: there is no such change for this account. :raises InfrastructureError: as of ``merged``.
        """
        body = {"message": text, "tag": tag, "notify": "OWNER", "omit_duplicate_comments": True}
        self._ask("POST", f"/a/changes/{number}/revisions/current/review", json=body)

    def _ask(self, verb: str, path: str, **options: object) -> object:
        try:
            answer = self._client.request(verb, f"{self.url}{path}", **options)  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InfrastructureError(f"{self.url} does not answer: {error}", next_step="check the address and the network") from error
        if answer.status_code in (401, 403):
            raise UsageError(
                f"{self.url} answers {answer.status_code}: the account may not do this",
                next_step="put account and HTTP password under the server's name into the auth file",
            )
        if answer.status_code in (404, 409):
            raise ContentError(f"{self.url}{path} answers {answer.status_code}", next_step="look at the change")
        if answer.status_code >= 300:
            raise InfrastructureError(f"{self.url}{path} answers {answer.status_code}", next_step="look at the server")
        return _DOOR.json(answer.text.removeprefix(_MAGIC), f"the answer of {self.url}")
