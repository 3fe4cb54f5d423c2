"""Read a repository tree as DLRN lays it out, from disk or over HTTP.

This module must never guess a hash: what cannot be read is an error.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.trunk.hashes import TrunkHash, from_commit_yaml, from_repo_file

_SECONDS = 30.0
_ATTEMPTS = 3
_FIRST_WAIT = 0.25


@dataclass(frozen=True)
class Trunk:
    """One repository of a trunk."""

    location: str
    hash: TrunkHash
    name: str
    """Last element of the location, ``current`` or ``current-passed-ci``: the moving tag of images made from it."""


def read_trunk(location: str, *, ca_file: Path | None = None) -> Trunk:
    """The trunk hash of a repository.

    Looked for in this order: ``delorean.repo.md5`` (aggregate hash), ``commit.yaml`` (whole hashes), ``delorean.repo``, and, on disk, the name of
    the directory that a link like ``current`` leads to.

    :param location: directory, ``file://`` or ``http(s)://`` URL of e.g. ``.../current``.
    :raises ContentError: no hash there. :raises InfrastructureError: the server cannot be reached.
    """
    location = location.rstrip("/")
    name = location.rsplit("/", 1)[-1]
    read = _reader(location, ca_file)
    aggregate = read("delorean.repo.md5")
    if aggregate is not None:
        return Trunk(location, TrunkHash(aggregate=aggregate.split()[0] if aggregate.split() else ""), name)
    commit = read("commit.yaml")
    if commit is not None:
        return Trunk(location, from_commit_yaml(commit), name)
    repo = read("delorean.repo")
    if repo is not None:
        return Trunk(location, from_repo_file(repo), name)
    path = _local(location)
    if path is not None and path.is_dir():
        try:
            return Trunk(location, TrunkHash.parse(path.resolve().name), name)
        except UsageError:
            pass
    raise ContentError(
        f"{location} has no delorean.repo.md5, commit.yaml or delorean.repo", next_step="give the URL of a trunk repository, e.g. .../current"
    )


def _local(location: str) -> Path | None:
    scheme = urlsplit(location).scheme
    if scheme == "file":
        return Path(urlsplit(location).path)
    return None if scheme in ("http", "https") else Path(location)


def _reader(location: str, ca_file: Path | None):  # type: ignore[no-untyped-def]
    path = _local(location)
    if path is not None:
        return lambda name: _read_file(path / name)
    import httpx  # late: a quarter of a second that no other command shall pay

    trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True

    def fetch(name: str) -> str | None:
        url = f"{location}/{name}"
        last: Exception | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_WAIT * 2 ** (attempt - 1))
            try:
                answer = httpx.get(url, timeout=_SECONDS, follow_redirects=True, verify=trusted)
            except httpx.HTTPError as error:
                last = error
                continue
            if answer.status_code == 404:
                return None
            if answer.status_code == 200:
                return answer.text
            last = InfrastructureError(f"answered {answer.status_code}")
        raise InfrastructureError(f"cannot read {url}: {last}", next_step="check that the trunk repository can be reached")

    return fetch


def _read_file(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"cannot read {path}: {error}", next_step="check the repository tree") from error
