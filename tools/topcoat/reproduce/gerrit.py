"""What a Gerrit says about changes: read without an account, over its REST API.

This module must never write to the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from topcoat.documents import Door, Shape
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.reproduce.request import ChangeUrl, fetch
from topcoat.reproduce.resolve import Change, require_open

_MAGIC = ")]}'"
_DOOR = Door(InfrastructureError, "check that the URL is that of a Gerrit", limit=32 << 20)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PROJECT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
_REF = re.compile(r"refs/[A-Za-z0-9_./+-]+")


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
                ahead = self._parse(ChangeUrl(base, str(shape.get("_number"))), shape)
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
        answer = _DOOR.json(str(fetch(url)).removeprefix(_MAGIC), f"the answer of {base}")
        if not isinstance(answer, list):
            raise InfrastructureError(f"{base} did not answer with a list of changes", retriable=False, next_step=_DOOR.next_step)
        return _DOOR.shape(f"the answer of {base}").items(answer, "its list", dict)

    def _parse(self, url: ChangeUrl, shape: Mapping[str, object]) -> Change:
        asked = _DOOR.shape(f"change {url.number} of {url.base}")
        revisions = asked.need(shape, "revisions", dict)
        numbers = {commit: asked.number(asked.table(entry, f"revisions.{commit}").get("_number"), "_number") for commit, entry in revisions.items()}
        wanted = [commit for commit, number in numbers.items() if url.patchset in (None, str(number))]
        if not wanted:
            raise UsageError(f"change {url.number} has no patchset {url.patchset}", next_step="name a patchset that exists")
        name = max(wanted, key=numbers.__getitem__)
        revision, described = revisions[name], asked.need(revisions[name], "commit", dict)
        parents = asked.items(described.get("parents"), "parents", dict, "objects")
        project, number = asked.need(shape, "project", str), asked.number(shape.get("_number"), "_number")
        ref = asked.need(revision, "ref", str)
        commits = [commit(asked, text) for text in (name, *(parent.get("commit") for parent in parents))]
        if not _PROJECT.fullmatch(project) or ".." in project or not _REF.fullmatch(ref):
            asked.refuse("project or ref", "a name that git takes")
        address = urlsplit(url.base)
        return Change(
            host=self._names.get(address.netloc, address.hostname or ""),
            project=project,
            number=str(number),
            patchset=str(numbers[name]),
            branch=asked.need(shape, "branch", str),
            ref=ref,
            commit=commits[0],
            message=asked.need(described, "message", str),
            url=f"{url.base}/c/{project}/+/{number}",
            git_url=f"{url.base}/{project}",
            status=asked.need(shape, "status", str),
            topic=asked.text(shape.get("topic"), "topic") or None,
            parents=tuple(commits[1:]),
        )


def commit(asked: Shape, value: object) -> str:
    """A git commit, proved: it becomes an argument of git."""
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        asked.refuse("commit", "the 40 digits of a git commit")
    return value
