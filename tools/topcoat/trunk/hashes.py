"""Trunk hashes: the name under which DLRN keeps one state of the packages, and the image tag that is made from it.

This module must never read files or ask a server.
"""

from __future__ import annotations

import configparser
import hashlib
import re
from dataclasses import dataclass

from topcoat.documents import Door
from topcoat.errors import ContentError, UsageError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = re.compile(r"[0-9A-Za-z]{1,8}")
_COMMITS = Door(ContentError, "check the trunk repository")
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class TrunkHash:
    """One state of the packages. Either ``aggregate`` is set (several components), or ``commit`` and ``distro``.

    ``distro`` and ``extended`` are as long as the source gave them: a tag shows 8 characters, an API wants them whole.
    """

    commit: str = ""
    distro: str = ""
    extended: str = ""
    aggregate: str = ""
    component: str = ""

    def __post_init__(self) -> None:
        if self.aggregate:
            if not _MD5.fullmatch(self.aggregate):
                raise UsageError(f"not an aggregate hash: {self.aggregate!r}", next_step="it is the 32 digits of delorean.repo.md5")
        elif not _COMMIT.fullmatch(self.commit) or len(self.distro) < 8 or not _PART.fullmatch(self.distro[:8]):
            raise UsageError(
                f"not a trunk hash: commit {self.commit!r}, distro {self.distro!r}", next_step="it is <commit, 40 digits>_<distro, 8 digits>"
            )

    @property
    def tag(self) -> str:
        """The image tag: the aggregate hash, or ``<commit>_<distro 8>[_<extended 8>[_<8>]]``, which is also DLRN's directory name."""
        if self.aggregate:
            return self.aggregate
        return f"{self.commit}_{self.distro[:8]}{_extension(self.extended)}"

    @property
    def directory(self) -> str:
        """Where DLRN keeps it below the repository's root: ``ab/cd/<tag>``."""
        return f"{self.tag[:2]}/{self.tag[2:4]}/{self.tag}"

    @property
    def whole(self) -> bool:
        """Whether the hashes are long enough for the API of DLRN."""
        return bool(self.aggregate) or len(self.distro) == 40

    @classmethod
    def parse(cls, tag: str) -> TrunkHash:
        """From a tag or directory name.

        :raises UsageError: it is none.
        """
        if _MD5.fullmatch(tag):
            return cls(aggregate=tag)
        commit, _, rest = tag.partition("_")
        distro, _, extended = rest.partition("_")
        return cls(commit, distro, extended)

    def matches(self, other: TrunkHash) -> bool:
        """Whether both are the same state, one of them possibly shortened."""
        return self.tag == other.tag


def _extension(extended: str) -> str:
    """The short form of an extended hash: one hash, or two joined by ``_`` (DLRN, ``Commit.getshardedcommitdir``)."""
    if not extended:
        return ""
    parts = extended.split("_") if "_" in extended else [extended[:40], extended[41:]] if len(extended) >= 49 else [extended]
    return "".join(f"_{part[:8]}" for part in parts[:2] if part)


def from_repo_file(text: str) -> TrunkHash:
    """The hash behind a ``delorean.repo`` file.

    One repository section: the last element of its baseurl. Several: the md5 of the file as the server sent it, which is how DLRN makes aggregate
    hashes. A file that was edited (a mirror put in) gives another md5, so read it before anything edits it.

    :raises ContentError: the file has no repository, or its baseurl no hash.
    """
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
        urls = [parser.get(section, "baseurl").split(",")[0].strip().rstrip("/") for section in parser.sections()]
    except configparser.Error as error:
        raise ContentError(f"not a repository file: {str(error).splitlines()[0]}", next_step="check the trunk repository") from error
    if not urls:
        raise ContentError("the repository file names no repository", next_step="check the trunk repository")
    if len(urls) > 1:
        return TrunkHash(aggregate=hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
    try:
        return TrunkHash.parse(urls[0].rsplit("/", 1)[-1])
    except UsageError as error:
        raise ContentError(
            f"the baseurl {urls[0]} does not end with a trunk hash", next_step="use the repository's delorean.repo, not a moving link"
        ) from error


def from_commit_yaml(text: str) -> TrunkHash:
    """The hash in a ``commit.yaml``: the first commit, with its whole hashes.

    :raises ContentError: it holds none.
    """
    shape = _COMMITS.shape("commit.yaml")
    commits = shape.items(shape.table(_COMMITS.yaml(text, "commit.yaml"), "it").get("commits"), "commits", dict, "objects")
    if not commits:
        raise ContentError("commit.yaml holds no commit", next_step=_COMMITS.next_step)
    found = {key: shape.scalar(commits[0].get(key), key) for key in ("commit_hash", "distro_hash", "extended_hash", "component")}
    words = {key: "" if value in (None, "None") else str(value) for key, value in found.items()}
    try:
        return TrunkHash(words["commit_hash"], words["distro_hash"], words["extended_hash"], component=words["component"])
    except UsageError as error:
        raise ContentError(f"commit.yaml holds no commit: {error.what}", next_step=_COMMITS.next_step) from error
