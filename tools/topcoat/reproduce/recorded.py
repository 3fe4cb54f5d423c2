"""Finds a recorded merge commit again: a git commit is its content, so the right parents, tree, identity and time give the recorded hash.

This module must never accept a commit whose hash is not the recorded one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topcoat.reproduce.git import WorkGit

_BASES = 12
"""How far back the tip of the branch may lie: it may have moved since the recorded job."""
_SPAN_SECONDS = 7 * 24 * 3600
"""How long after the change was committed its job ran, at most, where no time was recorded."""


@dataclass(frozen=True)
class Committer:
    """Name and mail address that a site's merger commits as (``git_user_name`` and ``git_user_email`` of its zuul.conf)."""

    name: str
    mail: str

    @classmethod
    def parse(cls, text: str) -> Committer | None:
        """``Name <mail>``; None when it is not of that form."""
        name, less, rest = text.partition("<")
        return cls(name.strip(), rest.rstrip(">").strip()) if less and rest.endswith(">") else None


def commit_body(tree: str, parents: Sequence[str], identity: Committer, seconds: object, message: str) -> bytes:
    """Content of a commit object (gitformat: headers, blank line, message) of a merge at a time in UTC."""
    person = f"{identity.name} <{identity.mail}> {seconds} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {person}", f"committer {person}", "", message, ""]
    return "\n".join(lines).encode()


def search(wanted: str, tree: str, parents: Sequence[str], identity: Committer, times: Iterable[int], message: str) -> bytes | None:
    """The commit object with the wanted hash, over the times given; None when no time gives it. About 600,000 times a second."""
    marker = "\0TIME\0"
    first, second, third = commit_body(tree, parents, identity, marker, message).split(marker.encode())
    length = len(first) + len(second) + len(third)
    heads: dict[int, hashlib._Hash] = {}
    goal = bytes.fromhex(wanted)
    for seconds in times:
        text = b"%d" % seconds
        head = heads.get(len(text))
        if head is None:
            head = heads[len(text)] = hashlib.sha1(b"commit %d\0" % (length + 2 * len(text)) + first, usedforsecurity=False)
        digest = head.copy()
        digest.update(text + second + text + third)
        if digest.digest() == goal:
            return first + text + second + text + third
    return None


def find(git: WorkGit, wanted: str, *, branch_tip: str, merge: str, ref: str, times: Sequence[int], identities: Sequence[Committer]) -> str | None:
    """Make the recorded merge commit again and return it; None when it cannot be found.

    :param merge: commit of the change. :param times: recorded times of the merge; none: every second of the days after the change is tried.
    """
    bases = git("rev-list", "--first-parent", f"--max-count={_BASES}", branch_tip).split()
    committed = git.seconds_of(merge)
    for base in bases:
        tree = git.run("merge-tree", "--write-tree", base, merge, check=False)
        if tree.code:
            continue
        for identity in identities:
            candidates: Iterable[int] = times or range(committed, committed + _SPAN_SECONDS)
            body = search(wanted, tree.output.split()[0], (base, merge), identity, candidates, f"Merge '{ref}'")
            if body is not None:
                return git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=body.decode()).output.strip()
    return None
