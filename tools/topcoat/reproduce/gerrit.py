"""What a Gerrit says about changes: read without an account, over its REST API.

This module must never write to the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.reproduce.request import ChangeUrl, fetch
from topcoat.reproduce.resolve import Change, require_open

_MAGIC = ")]}'"


class Gerrit:
    """Looks changes up, each once; knows several servers, since a Depends-On may name another."""

    def __init__(self, canonical_names: Mapping[str, str] | None = None) -> None:
        """:param canonical_names: ``host[:port]`` of a server → canonical host name of its Zuul connection, where they differ."""
        self._names = dict(canonical_names or {})
        self._known: dict[tuple[str, str, str | None], Change] = {}

    def change(self, url: ChangeUrl) -> Change:
        """One change, at the patchset that was named, else at its current one.

        :raises UsageError: there is no such change. :raises InfrastructureError: the server does not answer.
        """
        key = (url.base, url.number, url.patchset)
        if key not in self._known:
            found = self._query(url.base, f"change:{url.number}")
            if not found:
                raise UsageError(f"{url.base} has no change {url.number}", next_step="check the URL; private changes cannot be read")
            self._known[key] = self._parse(url, found[0])
        return self._known[key]

    def needs(self, change: Change) -> list[Change]:
        """Open changes that must go ahead: its git parents under review, then its ``Depends-On``, in their order.

        :raises ContentError: one of them is abandoned, or a Depends-On that is no URL of a change.
        """
        base = change.url.partition("/c/")[0]
        found: list[Change] = []
        for parent in change.parents:
            for shape in self._query(base, f"commit:{parent}"):
                ahead = self._parse(ChangeUrl(base, str(shape["_number"])), shape)
                # An older patchset of the change ahead: Zuul takes the current one only when it is the parent itself.
                if ahead.key != change.key and ahead.commit == parent and require_open(ahead, change):
                    found.append(ahead)
        for text in change.depends_on:
            url = ChangeUrl.parse(text)
            if url is None:
                raise ContentError(f"{change.url}: Depends-On names no change of a Gerrit: {text}", next_step="write the full URL of the change")
            ahead = self.change(ChangeUrl(url.base, url.number))
            if ahead.key != change.key and require_open(ahead, change):
                found.append(ahead)
        return list(dict.fromkeys(found))

    def _query(self, base: str, query: str) -> list[dict[str, object]]:
        options = "&".join(f"o={option}" for option in ("ALL_REVISIONS", "ALL_COMMITS"))
        url = f"{base}/changes/?q={quote(query)}&{options}"
        try:
            answer = json.loads(str(fetch(url)).removeprefix(_MAGIC))
        except ValueError as error:
            raise InfrastructureError(f"{base} did not answer as a Gerrit does", retriable=False, next_step="check the URL") from error
        if not isinstance(answer, list):
            raise InfrastructureError(f"{base} did not answer with a list of changes", retriable=False)
        return answer

    def _parse(self, url: ChangeUrl, shape: Mapping[str, object]) -> Change:
        try:
            revisions: Mapping[str, dict[str, Any]] = shape["revisions"]  # type: ignore[assignment]
            wanted = [(commit, revision) for commit, revision in revisions.items() if url.patchset in (None, str(revision["_number"]))]
            if not wanted:
                raise UsageError(f"change {url.number} has no patchset {url.patchset}", next_step="name a patchset that exists")
            commit, revision = max(wanted, key=lambda entry: entry[1]["_number"])
            project = str(shape["project"])
            address = urlsplit(url.base)
            return Change(
                host=self._names.get(address.netloc, address.hostname or ""),
                project=project,
                number=str(shape["_number"]),
                patchset=str(revision["_number"]),
                branch=str(shape["branch"]),
                ref=str(revision["ref"]),
                commit=commit,
                message=str(revision["commit"]["message"]),
                url=f"{url.base}/c/{project}/+/{shape['_number']}",
                git_url=f"{url.base}/{project}",
                status=str(shape["status"]),
                topic=str(shape["topic"]) if shape.get("topic") else None,
                parents=tuple(parent["commit"] for parent in revision["commit"].get("parents", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InfrastructureError(f"{url.base} described change {url.number} without {error}", retriable=False) from error
