"""Who we are to a registry: passwords from an auth file, and the Basic or Bearer header that a challenge asks for.

This module must never show a password or a token: not in a repr, not in an error, not in a URL.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import UsageError
from topcoat.registry.errors import AccessError
from topcoat.registry.scopes import stand_ins

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# RFC 9110, 11.6.1: schemes and their parameters stand in one list; a word with "=" belongs to the scheme before it.
_PART = re.compile(
    rf"""(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s",]+))"""
    rf"|(?P<scheme>{_TOKEN})(?:\s+[A-Za-z0-9\-._~+/]+=*(?=\s*(?:,|$)))?"
)
_EARLY_SECONDS = 5.0
_LONGEST_LIFE = 86400.0
_LONGEST = 8192
"""Letters of a header that are read; web servers send no longer ones."""
_TOKEN_VALUE = re.compile(r"[!-~]+")  # it becomes a header
_AUTHFILE = Door(UsageError, "make one with 'podman login --authfile'")


@dataclass(frozen=True)
class Login:
    """User name and password of one registry."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """Value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Credentials:
    """The logins of an auth file, by registry or by a path in it (containers-auth.json(5))."""

    def __init__(self, logins: Mapping[str, Login] | None = None) -> None:
        self._logins = dict(logins or {})

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._logins)})"

    @classmethod
    def from_authfile(cls, path: Path | str) -> Credentials:
        """Read a containers-auth.json file.

        :raises UsageError: it cannot be read, is not such a file, or others than its owner may read it.
        """
        path = Path(path)
        try:
            if path.stat().st_mode & 0o077:
                raise UsageError(f"{path} holds passwords and can be read by others than its owner", next_step=f"chmod 600 {path}")
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the auth file {path}: {error.strerror}", next_step="check --authfile") from error
        shape = _AUTHFILE.shape(str(path))
        logins = {}
        try:
            for key, value in shape.need(_AUTHFILE.json_object(data, "auth file"), "auths", dict).items():
                entry = shape.texts(value, key)
                if entry.get("auth"):
                    user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
                elif entry.get("username"):
                    user, password = entry["username"], entry.get("password", "")
                else:
                    continue
                logins[_normal(key)] = Login(user, password)
        except (ValueError, UsageError):
            # the cause is cut off on purpose: its text may quote the file
            raise UsageError(f"{path} is not an auth file (containers-auth.json)", next_step=_AUTHFILE.next_step) from None
        return cls(logins)

    def find(self, host: str, repository: str = "") -> Login | None:
        """The login whose key is the longest prefix of ``host/repository``, or None."""
        path = f"{host}/{repository}".rstrip("/")
        while path:
            if path in self._logins:
                return self._logins[path]
            path = path.rpartition("/")[0]
        return None


def _normal(key: str) -> str:
    key = key.split("://", 1)[-1].rstrip("/")
    for ending in ("/v1", "/v2"):
        key = key.removesuffix(ending)
    return "docker.io" if key == "index.docker.io" else key


def parse_challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """(scheme in lower case, parameters) of each challenge of a WWW-Authenticate header (RFC 9110, 11.6.1), in its order."""
    found: list[tuple[str, dict[str, str]]] = []
    for part in _PART.finditer(header[:_LONGEST]):
        if part["scheme"]:
            found.append((part["scheme"].lower(), {}))
        elif found:
            quoted = part["quoted"]
            found[-1][1].setdefault(part["name"].lower(), part["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return found


def choose_challenge(header: str) -> tuple[str, dict[str, str]]:
    """The challenge to answer: Bearer where it names its token server, else Basic; ("", {}) where there is neither."""
    challenges = parse_challenges(header)
    for scheme, parameters in challenges:
        if scheme == "bearer" and parameters.get("realm"):
            return scheme, parameters
    return next((entry for entry in challenges if entry[0] == "basic"), ("", {}))


@dataclass
class _Token:
    value: str = field(repr=False)
    expires: float


class Authenticator:
    """Makes the Authorization header of each request to one registry; learns the scheme from challenges, keeps tokens by scope."""

    def __init__(
        self,
        host: str,
        credentials: Credentials | None,
        fetch_token: Callable[[str, Mapping[str, str], tuple[str, ...], str | None], dict[str, object]],
    ) -> None:
        """:param fetch_token: (realm, {"service": ...}, scopes, Basic header or None) -> the token server's JSON answer."""
        self._host = host
        self._credentials = credentials or Credentials()
        self._fetch_token = fetch_token
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()
        self._scheme: str | None = None
        self._parameters: dict[str, str] = {}
        self._too_much: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        """What a call needs -> scopes asked for it that the token server did not give, or that did not help."""

    def header(self, scopes: tuple[str, ...], *, refused: str | None = None) -> str | None:
        """The header for a request that needs these scopes; None before the first challenge or for an open registry.

        :param refused: the header that the registry has just answered 401 to; a token equal to it is not used again.
        """
        login = self._login(scopes)
        if self._scheme == "basic":
            return login.header if login else None
        if self._scheme != "bearer":
            return None
        with self._lock:
            lock = self._locks.setdefault(scopes, threading.Lock())
        with lock:
            token = self._tokens.get(scopes)
            if token is None or token.expires <= time.monotonic() or refused == f"Bearer {token.value}":
                token = self._fetch_least(scopes, login)
                self._tokens[scopes] = token
            return f"Bearer {token.value}"

    def _login(self, scopes: tuple[str, ...]) -> Login | None:
        return self._credentials.find(self._host, scopes[0].split(":")[1] if scopes and scopes[0].startswith("repository:") else "")

    def _fetch_least(self, scopes: tuple[str, ...], login: Login | None) -> _Token:
        """A token for these scopes, or for what stands in for them where a token server knows or grants no such scope."""
        *others, last = (scopes, *stand_ins(scopes))
        too_much = self._too_much.setdefault(scopes, set())
        for wanted in others:
            if wanted not in too_much:
                try:
                    return self._fetch(wanted, login)
                except AccessError:
                    too_much.add(wanted)
        try:
            return self._fetch(last, login)
        except AccessError:
            too_much.clear()  # a right that is given later is seen then
            raise

    def give_up(self, scopes: tuple[str, ...]) -> bool:
        """The registry refused a token for these scopes: ask for what stands in for them from now on; False when nothing does."""
        too_much = self._too_much.setdefault(scopes, set())
        left = [one for one in (scopes, *stand_ins(scopes))[:-1] if one not in too_much]
        if self._scheme != "bearer" or not left:
            return False
        too_much.add(left[0])
        self._tokens.pop(scopes, None)
        return True

    def _fetch(self, scopes: tuple[str, ...], login: Login | None) -> _Token:
        realm = self._parameters.get("realm", "")
        service = {"service": self._parameters["service"]} if "service" in self._parameters else {}
        answer = self._fetch_token(realm, service, scopes, login.header if login else None)
        value = answer.get("token") or answer.get("access_token")
        if not isinstance(value, str) or not _TOKEN_VALUE.fullmatch(value):
            raise UsageError(f"the token server of {self._host} answered without a token", next_step="check the registry's auth configuration")
        seconds = answer.get("expires_in")
        if not isinstance(seconds, int | float) or not seconds > 0:
            seconds = 60  # the token specification's default
        # a token that lives shorter than the safety margin is still good for the request at hand
        return _Token(value, time.monotonic() + max(min(seconds, _LONGEST_LIFE) - _EARLY_SECONDS, 1.0))

    def learn(self, challenge: str) -> None:
        """Take over what a 401 answer asks for.

        :raises AccessError: only for what this client does not speak, such as Negotiate.
        """
        scheme, parameters = choose_challenge(challenge)
        if not scheme and parse_challenges(challenge):
            offered = ", ".join(sorted({name for name, _ in parse_challenges(challenge)}))
            raise AccessError(
                f"{self._host} asks for a login by {offered}; only Basic and Bearer with a realm are known here",
                next_step="switch Basic or token authentication on for this registry",
            )
        # a 401 that says nothing about how: a password is all we have
        self._scheme, self._parameters = scheme or "basic", parameters

    def try_basic(self) -> None:
        """Send the password unasked: some registries show a stranger less instead of asking who he is."""
        self._scheme = "basic"

    @property
    def knows_scheme(self) -> bool:
        """Whether a challenge told how to log in."""
        return self._scheme is not None

    def has_login(self, scopes: tuple[str, ...] = ()) -> bool:
        """Whether the auth file has an entry for this registry, or for the repository that the scopes name."""
        return self._login(scopes) is not None
