"""What a registry lists: tags of a repository, repositories of a catalog.

This module must never leave a page out, and never follow one to another host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.model.image import check_repository, check_tag
from topcoat.registry import oci, scopes
from topcoat.registry.connection import Deadline
from topcoat.registry.errors import AccessError, HiddenError, NotFoundError, RefusedError
from topcoat.registry.links import Pages
from topcoat.registry.transport import Response, Transport


class Listing:
    """The lists of one registry."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def tags(self, repository: str) -> tuple[str, ...]:
        """Every tag of a repository, all pages, sorted; empty for a repository that does not exist."""
        path = f"/v2/{check_repository(repository)}/tags/list"
        for query in ("?n=1000", ""):  # a registry without pages may know no such parameter and answer 404
            try:
                found = self.pages(f"{path}{query}", "tags", scopes.pull(repository))
            except (NotFoundError, HiddenError):
                continue
            return self._checked(check_tag, (tag for tag in found if ":" not in tag), f"the list of tags of {repository}")  # some list digests too
        return ()

    def catalog(self) -> tuple[str, ...]:
        """Every repository, all pages, sorted.

        :raises RefusedError: the registry has no catalog, as many have not; work with an image list instead.
        """
        try:
            names = self.pages("/v2/_catalog?n=1000", "repositories", scopes.CATALOG)
        except (NotFoundError, AccessError) as error:
            raise RefusedError(
                f"{self._transport.host} shows no catalog of its repositories", next_step="name the images, or give an image list"
            ) from error
        return self._checked(check_repository, names, "its catalog")

    def _checked(self, check: Callable[[str], str], names: Iterable[str], what: str) -> tuple[str, ...]:
        """The names of a list, sorted, each proved: they end in paths and on screens."""
        try:
            return tuple(sorted(map(check, names)))
        except UsageError as error:
            raise InfrastructureError(
                f"{self._transport.host}: {what} names what is {error.what}", retriable=False, next_step="look at the registry"
            ) from error

    def pages(self, path: str, key: str, needed: tuple[str, ...]) -> set[str]:
        """All entries of a list that comes in pages (Link header, rel="next").

        :raises InfrastructureError: a page is no such list, or the pages have no end.
        """
        found: set[str] = set()
        turning = Pages(path, f"{self._transport.host}: the list at {path.partition('?')[0]}")
        while turning.path is not None:
            path = turning.path

            def work(deadline: Deadline, path: str = path) -> Response:
                return self._transport.request("GET", path, deadline, scopes=needed)

            answer = self._transport.operation(f"list {path.split('?')[0]}", work)
            try:
                document = oci.read_json(answer.body, f"the list at {path}")
            except ContentError as error:
                raise InfrastructureError(f"{self._transport.host}: {error.what}", retriable=False, next_step="look at the registry") from error
            entries = document.get(key) or []
            if "errors" in document or not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
                raise InfrastructureError(
                    f"{self._transport.host}: the list at {path} holds no list of {key}", retriable=False, next_step="look at the registry"
                )
            found.update(entries)
            turning.turn(answer.headers.get("link", ""), len(found))
        return found
