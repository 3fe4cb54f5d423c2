"""Client of a DLRN API: the votes of jobs on a hash, and promotions.

This module must never decide; and never take the server's word for a promotion that it did not read back.
"""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topcoat.documents import Door
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.trunk.hashes import TrunkHash

_SECONDS = 60.0
_ATTEMPTS = 4
_PAGE = 100
_MOST_SAID = 4096
_MOST_IDLE = 3
"""Pages in a row that hold nothing new."""
_DOOR = Door(InfrastructureError, "check that this is a DLRN API")


@dataclass(frozen=True)
class Vote:
    """What one job said about a hash. ``time`` is seconds since the epoch."""

    job: str
    success: bool
    time: float
    url: str = ""


@dataclass(frozen=True)
class DlrnPromotion:
    """A hash that got a name, and when (seconds since the epoch)."""

    hash: TrunkHash
    name: str
    time: float
    aggregate: str = ""
    """md5 of the repository file over all components, where the trunk has components: images are tagged with it then."""
    user: str = ""

    @property
    def tag(self) -> str:
        """The tag of the images built from it."""
        return self.aggregate or self.hash.tag

    @property
    def votable(self) -> TrunkHash:
        """The hash that jobs vote on."""
        return TrunkHash(aggregate=self.aggregate) if self.aggregate else self.hash


class DlrnApi:
    """One DLRN server."""

    def __init__(
        self, url: str, *, login: tuple[str, str] | None = None, ca_file: Path | None = None, first_wait: float = 0.5, page: int = _PAGE
    ) -> None:
        """:param url: root of the API, without ``/api``. :param login: user and password, needed to promote or vote.

        :raises UsageError: it is no address.
        """
        import httpx

        self._httpx = httpx
        self.url = url.rstrip("/")
        self._first_wait = first_wait
        self._page = page
        trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
        try:
            self._client = httpx.Client(base_url=self.url, auth=login, timeout=_SECONDS, verify=trusted)
        except httpx.InvalidURL as error:
            raise UsageError(f"{url[:80]!r} is no address of a DLRN API: {error}", next_step="write https://host/path") from error

    def __repr__(self) -> str:
        return f"DlrnApi({self.url!r})"

    def votes(self, trunk: TrunkHash) -> tuple[Vote, ...]:
        """Every vote on a hash, oldest first; a job that is still at work has not voted.

        :raises InfrastructureError: what comes is about another hash, as of a cache that knows addresses without their query.
        """
        path, query = ("/api/agg_status", {"aggregate_hash": trunk.aggregate}) if trunk.aggregate else ("/api/repo_status", _names(trunk))
        rows = self._get(path, query)
        found = (self._vote(row, query) for row in rows if not self._at_work(row))
        return tuple(sorted(found, key=lambda vote: (vote.time, vote.job)))

    def _at_work(self, row: dict[str, Any]) -> bool:
        """Whether a row says that a job has begun: DLRN writes that down as a vote without success."""
        return "in_progress" in row and _DOOR.shape(f"a vote of {self.url}").need(row, "in_progress", bool)

    def _vote(self, row: dict[str, Any], query: dict[str, str]) -> Vote:
        shape = _DOOR.shape(f"a vote of {self.url}")
        self._require_asked(row, query, "a vote")
        success = shape.need(row, "success", bool)  # the word "false" would be true
        return Vote(
            shape.need(row, "job_id", str), success, shape.moment(row.get("timestamp"), "timestamp"), shape.scalar(row.get("url"), "url") or ""
        )

    def _require_asked(self, row: dict[str, Any], query: dict[str, str], what: str) -> None:
        """A row is about what was asked for; else nothing that it says is an answer."""
        for key, wanted in query.items():
            if row.get(key) != wanted:
                raise InfrastructureError(
                    f"{self.url} was asked for {key} {wanted} and answers {what} of {str(row.get(key))[:80]}",
                    retriable=False,
                    next_step="look at the DLRN server and at what stands before it: a cache must not leave out what follows the question mark",
                )

    def promotions(self, name: str, *, limit: int = _PAGE, component: str = "") -> tuple[DlrnPromotion, ...]:
        """The last hashes that got this name, newest first."""
        return tuple(itertools.islice(self.history(name, component=component, at_once=limit), limit))

    def history(self, name: str, *, component: str = "", at_once: int = _PAGE) -> Iterator[DlrnPromotion]:
        """Every hash that ever got this name, newest first, a page at a time as it is asked for.

        What is promoted meanwhile moves the pages: a row that was seen comes again then, and is not given twice.
        """
        seen: set[tuple[object, ...]] = set()
        offset = idle = 0
        while True:
            wanted, before = min(at_once, self._page), len(seen)
            query = {"limit": str(wanted), "offset": str(offset)}
            asked = {"promote_name": name, **({"component": component} if component else {})}
            rows = self._get("/api/promotions", {**query, **asked})
            for row in rows:
                self._require_asked(row, asked, "a promotion")
                found = self._row(row)
                key = (found.hash, found.aggregate, found.time)
                if key not in seen:
                    seen.add(key)
                    yield found
            offset += len(rows)
            if not rows:  # a server may give fewer at a time than were asked for: only an empty page is the end
                return
            idle = idle + 1 if len(seen) == before else 0
            if idle == _MOST_IDLE:
                if len(rows) != wanted:  # it knows no pages and gives everything at once
                    return
                raise InfrastructureError(
                    f"{self.url} gives the same promotions to {name} again and again, whatever page is asked for",
                    retriable=False,
                    next_step="look at the DLRN server: what it has beyond these cannot be seen",
                )

    def find(self, tag: str, *, names: tuple[str, ...]) -> DlrnPromotion | None:
        """The newest promotion under one of these names whose image tag is ``tag``: a tag shortens the hashes, the API wants them whole."""
        for name in names:
            for promotion in self.history(name):
                if tag in (promotion.hash.tag, promotion.aggregate):
                    return promotion
        return None

    def promote(self, trunk: TrunkHash, name: str) -> DlrnPromotion:
        """Give a hash a name.

        The server may have moved its link although its answer is an error (a 500 after the link, a lost answer): what counts is what its list of
        promotions says afterwards.

        :raises InfrastructureError: the list does not show it. :raises ContentError: the server does not know the hash.
        """
        if trunk.aggregate:
            raise UsageError("DLRN promotes commits, not aggregate hashes", next_step="give the commit and distro hash too")
        before = self.current(name, component=trunk.component)
        if before and before.hash.matches(trunk):
            return before
        problem: Exception | None = None
        try:
            self._call("POST", "/api/promote", json={**_names(trunk), "promote_name": name}, expected=(200, 201))
        except InfrastructureError as error:
            problem = error
        after = self.current(name, component=trunk.component)
        if after and after.hash.matches(trunk):
            return after
        raise InfrastructureError(
            f"{self.url} does not show {trunk.tag} as {name}: {problem or 'the promotion is missing from its list'}",
            next_step="look at the DLRN server",
        ) from problem

    def current(self, name: str, *, component: str = "") -> DlrnPromotion | None:
        """The hash that has this name now, or None."""
        newest = self.promotions(name, limit=1, component=component)
        return newest[0] if newest else None

    def vote(self, trunk: TrunkHash, job: str, *, success: bool, url: str, at: float | None = None) -> None:
        """Report the result of a job."""
        names = {"aggregate_hash": trunk.aggregate} if trunk.aggregate else _names(trunk)
        body = {**names, "job_id": job, "success": "true" if success else "false", "url": url, "timestamp": int(at or time.time())}
        self._call("POST", "/api/report_result", json=body, expected=(200, 201))

    def _get(self, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
        rows = _DOOR.json(self._call("GET", path, params=params, expected=(200,)), f"the answer of {self.url}{path}")
        if not isinstance(rows, list):
            raise InfrastructureError(f"{self.url}{path}: not a list", retriable=False, next_step=_DOOR.next_step)
        return _DOOR.shape(f"the answer of {self.url}{path}").items(rows, "its list", dict)

    def _call(self, verb: str, path: str, *, expected: tuple[int, ...], **options: object) -> bytes:
        """One call; a GET is repeated while it may help, a POST never (votes and promotions are rows, each call adds one)."""
        attempts = _ATTEMPTS if verb == "GET" else 1
        for attempt in range(1, attempts + 1):
            try:
                status, body = self._exchange(verb, path, options)
            except self._httpx.HTTPError as error:
                problem: Exception = InfrastructureError(f"{self.url}{path}: {error}", next_step="check that the DLRN API can be reached")
            else:
                if status in expected:
                    return body
                said = _said(body)
                if status in (401, 403):
                    raise UsageError(f"{self.url}{path} refuses the login: {said}", next_step="add the DLRN server to the auth file")
                if status < 500 and status != 429:
                    raise ContentError(f"{self.url}{path} answered {status}: {said}", next_step="check the hash and the name")
                problem = InfrastructureError(f"{self.url}{path} answered {status}: {said}", next_step="look at the DLRN server")
            if attempt < attempts:
                time.sleep(self._first_wait * 2 ** (attempt - 1))
        raise problem

    def _exchange(self, verb: str, path: str, options: dict[str, Any]) -> tuple[int, bytes]:
        """One request and its whole answer, within one time limit and one size.

        :raises InfrastructureError: it is larger, or comes too slowly.
        """
        until = time.monotonic() + _SECONDS
        body = bytearray()
        with self._client.stream(verb, path, **options) as answer:
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _DOOR.limit:
                    raise InfrastructureError(f"{self.url}{path}: the answer is larger than {_DOOR.limit} bytes", next_step=_DOOR.next_step)
                if time.monotonic() > until:
                    raise InfrastructureError(f"{self.url}{path}: the answer takes more than {_SECONDS:.0f} s", next_step="look at the DLRN server")
        return answer.status_code, bytes(body)

    def _row(self, row: dict[str, Any]) -> DlrnPromotion:
        shape = _DOOR.shape(f"a promotion of {self.url}")
        optional = {key: shape.scalar(row.get(key), key) or "" for key in ("extended_hash", "component", "aggregate_hash", "user")}
        try:
            commit, distro = shape.need(row, "commit_hash", str), shape.need(row, "distro_hash", str)
            trunk = TrunkHash(commit, distro, optional["extended_hash"], component=optional["component"])
        except UsageError as error:
            raise InfrastructureError(f"{self.url}: {error.what}", retriable=False, next_step=_DOOR.next_step) from error
        moment = shape.moment(row.get("timestamp"), "timestamp")
        return DlrnPromotion(trunk, shape.need(row, "promote_name", str), moment, optional["aggregate_hash"], optional["user"])

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def _names(trunk: TrunkHash) -> dict[str, str]:
    if not trunk.whole:
        raise UsageError(
            f"{trunk.tag} is shortened, the DLRN API wants the whole distro hash", next_step="give the trunk repository, or the candidate's name"
        )
    names = {"commit_hash": trunk.commit, "distro_hash": trunk.distro}
    return {**names, "extended_hash": trunk.extended} if trunk.extended else names


def _said(body: bytes) -> str:
    """The server's own words, one line."""
    text = body[:_MOST_SAID].decode("utf-8", "replace")
    try:
        text = _DOOR.shape("").need(_DOOR.json_object(text, ""), "message", str)
    except InfrastructureError:
        text = "" if "<html" in text.lower() else text
    return " ".join(text.split())[:300]
