"""The order in which Zuul would test changes: what they depend on first, circles as one bundle, the change under review last.

This module must never ask a server: the caller passes what each change needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from topcoat.errors import ContentError

# As Zuul reads it: at the start of a line, case does not matter, one URL a line.
_DEPENDS_ON = re.compile(r"^Depends-On:[ \t]*(?P<url>\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """A change at one patchset. ``host`` is the canonical host name, ``git_url`` where its project is fetched from."""

    host: str
    project: str
    number: str
    patchset: str
    branch: str
    ref: str
    commit: str
    message: str
    url: str
    git_url: str
    status: str = "NEW"
    topic: str | None = None
    parents: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What tells changes apart."""
        return self.host, self.number

    @property
    def canonical_name(self) -> str:
        """``host/project``."""
        return f"{self.host}/{self.project}"

    @property
    def depends_on(self) -> tuple[str, ...]:
        """URLs of the ``Depends-On`` footers, in their order."""
        return tuple(match["url"] for match in _DEPENDS_ON.finditer(self.message))


def bundles(starts: Sequence[Change], needs: Callable[[Change], Sequence[Change]]) -> list[tuple[Change, ...]]:
    """Strongly connected groups of changes, what is needed first (Tarjan, without recursion: chains of changes get long).

    :param needs: direct dependencies that are not merged yet, in the order they are named.
    :returns: groups; more than one change in a group is a circle, in the order it was found from the change under review.
    """
    index: dict[tuple[str, str], int] = {}
    low: dict[tuple[str, str], int] = {}
    stack: list[Change] = []
    on_stack: set[tuple[str, str]] = set()
    groups: list[tuple[Change, ...]] = []
    for start in starts:
        if start.key in index:
            continue
        work: list[tuple[Change, list[Change], int]] = []

        def enter(change: Change, work: list[tuple[Change, list[Change], int]] = work) -> None:
            index[change.key] = low[change.key] = len(index)
            stack.append(change)
            on_stack.add(change.key)
            work.append((change, list(needs(change)), 0))

        enter(start)
        while work:
            change, wanted, position = work.pop()
            if position < len(wanted):
                work.append((change, wanted, position + 1))
                other = wanted[position]
                if other.key not in index:
                    enter(other)
                elif other.key in on_stack:
                    low[change.key] = min(low[change.key], index[other.key])
                continue
            if work:
                above = work[-1][0]
                low[above.key] = min(low[above.key], low[change.key])
            if low[change.key] == index[change.key]:
                group = []
                while True:
                    member = stack.pop()
                    on_stack.discard(member.key)
                    group.append(member)
                    if member.key == change.key:
                        break
                groups.append(tuple(group))
    return groups


def require_open(change: Change, needed_by: Change) -> bool:
    """Whether a dependency still has to be put ahead: False when it is merged.

    :raises ContentError: it is abandoned; Zuul would not test the change either.
    """
    if change.status == "MERGED":
        return False
    if change.status == "ABANDONED":
        raise ContentError(f"{needed_by.url} depends on {change.url}, which is abandoned", next_step="restore it, or take the Depends-On out")
    return True


def as_item(change: Change, bundle: str | None) -> dict[str, object]:
    """One entry of ``zuul['items']``."""
    item: dict[str, object] = {
        "project": project_of(change.canonical_name),
        "branch": change.branch,
        "change": change.number,
        "patchset": change.patchset,
        "commit_id": change.commit,
        "ref": change.ref,
        "change_url": change.url,
        "change_message": change.message,
        "topic": change.topic,
    }
    if bundle:
        item["bundle_id"] = bundle
    return item


def project_of(canonical_name: str) -> dict[str, object]:
    """The mapping that describes a project in Zuul's variables (workspace scheme ``golang``)."""
    host, _, name = canonical_name.partition("/")
    return {
        "name": name,
        "short_name": name.rpartition("/")[2],
        "canonical_hostname": host,
        "canonical_name": canonical_name,
        "src_dir": f"src/{canonical_name}",
    }


def as_items(groups: Sequence[Sequence[Change]]) -> list[dict[str, object]]:
    """``zuul['items']`` of resolved groups, oldest first."""
    items = []
    for number, group in enumerate(groups):
        bundle = f"{number:032x}" if len(group) > 1 else None
        items += [as_item(change, bundle) for change in group]
    return items


def variables(items: Sequence[Mapping[str, object]], *, job: str, pipeline: str, projects: Mapping[str, object], buildset: str) -> dict[str, object]:
    """The variable ``zuul`` for changes that no Zuul has seen; the last item is the change under review."""
    last = items[-1]
    return {
        **{name: last[name] for name in ("project", "branch", "change", "patchset", "commit_id", "ref", "change_url", "change_message", "topic")},
        "build": buildset,
        "buildset": buildset,
        "job": job,
        "pipeline": pipeline,
        "post_review": False,
        "voting": True,
        "tenant": "local",
        "items": list(items),
        "projects": dict(projects),
        "child_jobs": [],
    }
