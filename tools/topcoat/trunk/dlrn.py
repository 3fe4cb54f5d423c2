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

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.trunk.hashes import TrunkHash

_SECONDS = 60.0
_ATTEMPTS = 4
_PAGE = 100


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
        """:param url: root of the API, without ``/api``. :param login: user and password, needed to promote or vote."""
        import httpx

        self._httpx = httpx
        self.url = url.rstrip("/")
        self._first_wait = first_wait
        self._page = page
        trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._client = httpx.Client(base_url=self.url, auth=login, timeout=_SECONDS, verify=trusted)

    def __repr__(self) -> str:
        return f"DlrnApi({self.url!r})"

    def votes(self, trunk: TrunkHash) -> tuple[Vote, ...]:
        """Every vote on a hash, oldest first."""
        path, query = ("/api/agg_status", {"aggregate_hash": trunk.aggregate}) if trunk.aggregate else ("/api/repo_status", _names(trunk))
        rows = self._get(path, query)
        found = [Vote(str(row["job_id"]), bool(row["success"]), float(row["timestamp"]), str(row.get("url") or "")) for row in rows]
        return tuple(sorted(found, key=lambda vote: (vote.time, vote.job)))

    def promotions(self, name: str, *, limit: int = _PAGE, component: str = "") -> tuple[DlrnPromotion, ...]:
        """The last hashes that got this name, newest first."""
        return tuple(itertools.islice(self.history(name, component=component, at_once=limit), limit))

    def history(self, name: str, *, component: str = "", at_once: int = _PAGE) -> Iterator[DlrnPromotion]:
        """Every hash that ever got this name, newest first, a page at a time as it is asked for.

        What is promoted meanwhile moves the pages: a row that was seen comes again then, and is not given twice.
        """
        seen: set[tuple[object, ...]] = set()
        offset = 0
        while True:
            query = {"promote_name": name, "limit": str(min(at_once, self._page)), "offset": str(offset)}
            rows = self._get("/api/promotions", {**query, **({"component": component} if component else {})})
            for found in map(_row, rows):
                key = (found.hash, found.aggregate, found.time)
                if key not in seen:
                    seen.add(key)
                    yield found
            offset += len(rows)
            if not rows:  # a server may give fewer at a time than were asked for: only an empty page is the end
                return

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
        rows = self._call("GET", path, params=params, expected=(200,))
        if not isinstance(rows, list):
            raise InfrastructureError(f"{self.url}{path}: not a list", retriable=False, next_step="check that this is a DLRN API")
        return rows

    def _call(self, verb: str, path: str, *, expected: tuple[int, ...], **options: object) -> object:
        """One call; a GET is repeated while it may help, a POST never (votes and promotions are rows, each call adds one)."""
        attempts = _ATTEMPTS if verb == "GET" else 1
        for attempt in range(1, attempts + 1):
            try:
                answer = self._client.request(verb, path, **options)  # type: ignore[arg-type]
            except self._httpx.HTTPError as error:
                problem: Exception = InfrastructureError(f"{self.url}{path}: {error}", next_step="check that the DLRN API can be reached")
            else:
                if answer.status_code in expected:
                    try:
                        return answer.json()
                    except ValueError as error:
                        raise InfrastructureError(
                            f"{self.url}{path}: not JSON", retriable=False, next_step="check that this is a DLRN API"
                        ) from error
                said = _said(answer)
                if answer.status_code in (401, 403):
                    raise UsageError(f"{self.url}{path} refuses the login: {said}", next_step="add the DLRN server to the auth file")
                if answer.status_code < 500 and answer.status_code != 429:
                    raise ContentError(f"{self.url}{path} answered {answer.status_code}: {said}", next_step="check the hash and the name")
                problem = InfrastructureError(f"{self.url}{path} answered {answer.status_code}: {said}", next_step="look at the DLRN server")
            if attempt < attempts:
                time.sleep(self._first_wait * 2 ** (attempt - 1))
        raise problem

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


def _row(row: dict[str, Any]) -> DlrnPromotion:
    trunk = TrunkHash(
        str(row["commit_hash"]), str(row["distro_hash"]), str(row.get("extended_hash") or ""), component=str(row.get("component") or "")
    )
    return DlrnPromotion(trunk, str(row["promote_name"]), float(row["timestamp"]), str(row.get("aggregate_hash") or ""), str(row.get("user") or ""))


def _said(answer) -> str:  # type: ignore[no-untyped-def]
    """The server's own words, one line."""
    try:
        text = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = "" if "<html" in answer.text.lower() else answer.text
    return " ".join(text.split())[:300]
