"""What the caller names: a recorded inventory, a build of a Zuul, or changes of a Gerrit; fetched and checked.

This module must never follow a name inside the fetched data to anything but the log folder of that very build.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from topcoat.documents import Door
from topcoat.errors import InfrastructureError, UsageError

_BUILD = re.compile(r"(?P<base>https?://[^?#]+?)(?:/t/(?P<tenant>[^/?#]+))?/build/(?P<build>[0-9a-f]{32})/?(?:[?#].*)?")
_API = re.compile(r"(?P<base>https?://[^?#]+?)/api(?:/tenant/(?P<tenant>[^/?#]+))?/build/(?P<build>[0-9a-f]{32})/?(?:[?#].*)?")
_CHANGE = re.compile(
    r"(?P<base>https?://[^?#]+?)/(?:#/)?(?:c/(?:(?P<project>[^?#]+?)/\+/)?)?(?P<number>[0-9]+)(?:/(?P<patchset>[0-9]+))?/?(?:[?#].*)?"
)
_LARGEST = 32 * 1024 * 1024
_SECONDS = 300.0
_DOOR = Door(InfrastructureError, "check the address of the Zuul")
_NEXT = "name an inventory.yaml (file or URL), the page of a build, or the URLs of changes"


@dataclass(frozen=True)
class ChangeUrl:
    """A change of a Gerrit: base URL of the server, number, patchset (None: the current one)."""

    base: str
    number: str
    patchset: str | None = None

    @property
    def host(self) -> str:
        """Name of the server, without port."""
        return urlsplit(self.base).hostname or ""

    @classmethod
    def parse(cls, text: str) -> ChangeUrl | None:
        """The change that a URL names, None when it names none."""
        match = _CHANGE.fullmatch(text.strip())
        if not match or _BUILD.fullmatch(text) or _API.fullmatch(text):
            return None
        return cls(match["base"].rstrip("/"), match["number"], match["patchset"])


@dataclass(frozen=True)
class BuildUrl:
    """A build of a Zuul: where its API answers."""

    api: str

    @classmethod
    def parse(cls, text: str) -> BuildUrl | None:
        """The build that a page of the dashboard or of the API is about, None when it is none."""
        for pattern in (_API, _BUILD):
            match = pattern.fullmatch(text.strip())
            if match:
                tenant = f"/tenant/{match['tenant']}" if match["tenant"] else ""
                return cls(f"{match['base']}/api{tenant}/build/{match['build']}")
        return None


What = Path | str | BuildUrl | tuple[ChangeUrl, ...]
"""A local inventory, the URL of one, a build, or changes."""


def recognise(words: Sequence[str]) -> What:
    """Tell the kinds apart.

    :raises UsageError: none of them, or a mixture.
    """
    changes = [ChangeUrl.parse(word) for word in words]
    if words and all(changes):
        return tuple(change for change in changes if change)
    if len(words) != 1:
        raise UsageError("only changes can be named more than one at a time", next_step=_NEXT)
    word = words[0]
    build = BuildUrl.parse(word)
    if build:
        return build
    if word.startswith(("http://", "https://")):
        if not urlsplit(word).path.endswith((".yaml", ".yml", ".json")):
            raise UsageError(f"{word} is neither a build, nor a change, nor an inventory", next_step=_NEXT)
        return word
    path = Path(word)
    if not path.is_file():
        raise UsageError(f"{word} does not exist", next_step=_NEXT)
    return path


@dataclass(frozen=True)
class Recording:
    """A recorded inventory with what lies beside it: ``beside(path)`` gives the text of a file of the build's log folder, or None."""

    text: str
    where: str
    beside: Callable[[str], str | None]


def fetch(url: str, *, missing_is_none: bool = False) -> str | None:
    """Text at a URL.

    :raises UsageError: the server has nothing there (None where that is asked for).
    :raises InfrastructureError: the server does not answer, or not with 200.
    """
    try:
        with httpx.Client(follow_redirects=True, timeout=60) as client, client.stream("GET", url) as answer:
            if answer.status_code == 404 and missing_is_none:
                return None
            if answer.status_code in (404, 410):
                raise UsageError(f"there is nothing at {url}", next_step="check the address; logs of old builds expire")
            if answer.status_code != 200:
                raise InfrastructureError(f"{url} answered {answer.status_code}", retriable=False, next_step="open it in a browser")
            content = bytearray()
            until = time.monotonic() + _SECONDS
            for piece in answer.iter_bytes():
                content += piece
                if time.monotonic() > until:
                    raise InfrastructureError(
                        f"{url} takes more than {_SECONDS:.0f} s", retriable=False, next_step="fetch it by hand, and name the file"
                    )
                if len(content) > _LARGEST:
                    raise InfrastructureError(f"{url} is larger than {_LARGEST} bytes", retriable=False, next_step="look at what lies there")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InfrastructureError(f"{url} cannot be read: {error}", next_step="check the address and the network") from error
    return content.decode("utf-8", "replace")


def open_recording(what: Path | str | BuildUrl) -> Recording:
    """Read the inventory that was named.

    :raises UsageError: the build has no logs any more. :raises InfrastructureError: a server does not answer.
    """
    if isinstance(what, Path):
        folder = what.resolve().parent
        root = folder.parent if folder.name == "zuul-info" else folder

        def beside(path: str) -> str | None:
            file = root / path
            return file.read_text("utf-8", "replace") if file.is_file() else None

        return Recording(what.read_text("utf-8", "replace"), str(what), beside)
    url = what if isinstance(what, str) else _inventory_of(what)
    above = url.rpartition("/zuul-info/")[0] or url.rpartition("/")[0]
    return Recording(str(fetch(url)), url, lambda path: fetch(f"{above}/{path}", missing_is_none=True))


def _inventory_of(build: BuildUrl) -> str:
    what = f"the answer of {build.api}"
    logs = _DOOR.shape(what).text(_DOOR.json_object(str(fetch(build.api)), what).get("log_url"), "log_url")
    if not logs.startswith(("http://", "https://")):
        raise UsageError(f"the build {build.api} has no logs", next_step="name the changes instead")
    return logs.rstrip("/") + "/zuul-info/inventory.yaml"
