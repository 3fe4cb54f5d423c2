"""Reads a registry, decides by ``rules``, removes, and checks that everything kept is still there.

This module must never delete a manifest that it has not just seen to be unneeded, and never write in a dry run.

How old a tag is cannot be asked of a registry, and the date inside an image is that of its making, not of the tag: a review's tag on an unchanged
image would look months old. So the collection writes down, in the registry, when it first saw each tag; a tag that appears while it works is new.

A registry deletes a manifest together with every tag on it, also one that was pushed a moment before. So a collection only takes tags off, and
writes down which manifests nothing names now; a later one, when the time of grace is over and still nothing names them, deletes them.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.garbage.rules import KeepRules, RepositoryPlan, RepositoryState, decide, subject_of
from topcoat.model import Digest
from topcoat.model.image import check_digest
from topcoat.model.labels import GC_CONDEMNED, GC_SEEN, UPDATE_BASE
from topcoat.process.each import each
from topcoat.promotion import Control
from topcoat.promotion.control import PENDING, PREVIOUS, SEEN, Lock
from topcoat.registry import Manifest, NotFoundError, RegistryClient
from topcoat.registry.oci import CONFIG_TYPES, DOOR, Descriptor, read_json

_SEEN_TYPE = "application/vnd.topcoat.gc-seen.v1+json"


@dataclass
class Collected:
    """What was found and done."""

    repositories: int = 0
    tags: int = 0
    kept: int = 0
    untagged: list[str] = field(default_factory=list)
    """``repository:tag``."""
    condemned: list[str] = field(default_factory=list)
    """``repository@digest`` that have no tag any more; a later collection deletes them."""
    deleted: list[str] = field(default_factory=list)
    """``repository@digest`` that an earlier collection condemned."""
    spared: list[str] = field(default_factory=list)
    """``repository@digest`` that were to go, but somebody gave them a tag meanwhile."""
    checked: int = 0
    """Kept references that still answer, with their blobs."""
    seconds: float = 0.0
    dry_run: bool = True

    def as_dict(self) -> dict[str, object]:
        """For output."""
        return {**self.__dict__, "seconds": round(self.seconds, 3)}


class Collector:
    """Collects in one registry and namespace."""

    def __init__(self, client: RegistryClient, namespace: str, *, workers: int = 8, say: Callable[[str], None] = lambda line: None) -> None:
        self._client = client
        self._control = Control(client, namespace)
        self._workers = workers
        self._say = say
        self._locks: list[Lock] = []

    def collect(
        self,
        repositories: Sequence[str],
        rules: KeepRules,
        *,
        dry_run: bool = True,
        now: float | None = None,
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> Collected:
        """Collect in these repositories.

        :param repositories: paths; those that do not exist are nothing to collect.
        :param aliases: repository of an image's old name -> repository of the image: what records name in the one is kept in the other.
        :raises ContentError: a kept reference does not answer afterwards (it names it).
        """
        with contextlib.ExitStack() as stack:
            if not dry_run:  # no set may be promoted onto manifests that are about to go
                self._locks = [stack.enter_context(self._control.lock(name, wait=30.0, say=self._say)) for name in self._control.floating_names()]
            return self._collect(repositories, rules, dry_run, time.time() if now is None else now, aliases)

    def _collect(self, repositories: Sequence[str], rules: KeepRules, dry_run: bool, moment: float, aliases: Mapping[str, str]) -> Collected:
        begin = time.monotonic()
        result = Collected(dry_run=dry_run)
        recorded = self._recorded(rules)
        recorded |= {alias: recorded[name] for alias, name in aliases.items() if name in recorded}
        seen, condemned = self._first_seen(), self._condemned()
        states = each(repositories, lambda name: self._read(name, rules, recorded), workers=self._workers)
        states = [state for state in states if state.tags]
        first_seen = {tag: seen.get(tag, moment) for state in states for tag in state.tags if not subject_of(tag)}
        old = {entry for entry, when in condemned.items() if moment - when >= rules.grace}
        plans = [
            decide(
                state,
                rules,
                recorded=recorded.get(state.name, frozenset()),
                first_seen=first_seen,
                now=moment,
                due=frozenset(Digest(digest) for name, _, digest in (entry.partition("@") for entry in old) if name == state.name),
            )
            for state in states
        ]
        result.repositories, result.tags = len(states), sum(len(state.tags) for state in states)
        result.kept = sum(len(plan.kept) for plan in plans)
        result.condemned = [f"{plan.name}@{digest}" for plan in plans for digest in plan.delete]
        alive = {f"{plan.name}@{digest}" for plan in plans for digest in plan.kept_digests}
        due = sorted(old - alive)
        if dry_run:
            result.untagged = [f"{plan.name}:{tag}" for plan in plans for tag in plan.untag]
            result.deleted = due
        else:
            kept_since = {tag: when for tag, when in first_seen.items() if any(tag in plan.kept or tag in plan.untag for plan in plans)}
            # Written down before it is done: a manifest that lost its tags in a collection that was cut off is found again by the next.
            waiting = {entry: when for entry, when in condemned.items() if entry not in alive} | dict.fromkeys(result.condemned, moment)
            self._remember(kept_since, waiting)
            ready = set(due)
            for lock in self._locks:
                lock.require()
            self._untag_all(states, plans, lambda name, subject: f"{name}@{subject}" not in ready, result)
            for lock in self._locks:
                lock.require()
            # One after the other in a repository: what a deletion takes away may still be listed for a moment, and that contradiction is our own.
            by_repository = [[entry for entry in due if entry.startswith(f"{name}@")] for name in sorted({entry.partition("@")[0] for entry in due})]
            for done in each(by_repository, lambda entries: [(entry, self._delete_entry(entry)) for entry in entries], workers=self._workers):
                for entry, gone in done:
                    (result.deleted if gone else result.spared).append(entry)
            # what is attached to a manifest that was spared after all stays with it
            deleted = set(result.deleted)
            self._untag_all(states, plans, lambda name, subject: f"{name}@{subject}" in deleted, result)
            waiting = {entry: when for entry, when in waiting.items() if entry not in ready}
            self._remember({tag: when for tag, when in kept_since.items() if any(tag in plan.kept for plan in plans)}, waiting)
            result.checked = self._check(states, plans)
        result.seconds = time.monotonic() - begin
        return result

    # ---- reading ------------------------------------------------------------------------------------------------------------------------------

    def _recorded(self, rules: KeepRules) -> dict[str, frozenset[Digest]]:
        """Repository -> digests that any record names: the current, the previous and the begun set of every floating name.

        :raises InfrastructureError: what the registry lists and what it sends contradict each other.
        """
        found: dict[str, set[Digest]] = {}
        records = self._control.records()
        for name in sorted(rules.tags):
            for tag in (name, name + PREVIOUS, name + PENDING):
                if tag not in records and self._control.read(tag) is not None:
                    raise InfrastructureError(
                        f"the registry holds the record {tag} of a promoted set and does not list it",
                        next_step="nothing was removed; look at the registry: its answers contradict each other",
                    )
        for tag, record in records.items():
            # the set before the previous one is history: nothing can go back to it
            for images in (record.images,) if tag.endswith(PREVIOUS) else (record.images, record.previous):
                for image, digest in images.digests:
                    found.setdefault(record.repository_of(image), set()).add(digest)
        return {name: frozenset(digests) for name, digests in found.items()}

    def _read(self, name: str, rules: KeepRules, recorded: dict[str, frozenset[Digest]]) -> RepositoryState:
        """Tags with digests, and what manifests need.

        :raises InfrastructureError: a tag that is listed cannot be had, or a manifest that a tag shows: nothing may be removed on such answers.
        """
        tags: dict[str, Digest] = {}
        for tag in self._client.tags(name):
            digest = self._client.shown(name, tag)
            if digest:
                tags[tag] = digest
        needed: dict[Digest, tuple[Digest, ...]] = {}
        absent: set[Digest] = set()
        tagged = set(tags.values())
        todo = list(tagged | set(recorded.get(name, ())))
        while todo:
            digest = todo.pop()
            if digest in needed:
                continue
            if digest not in tagged and self._backup(name, digest) is None:
                absent.add(digest)  # such as a base in another repository
                needed[digest] = ()
                continue
            needed[digest] = tuple(self._needs(name, digest, must_be=digest in tagged))
            todo.extend(needed[digest])
        return RepositoryState(name, tags, needed, frozenset(absent))

    def _needs(self, name: str, digest: Digest, *, must_be: bool = False) -> Iterable[Digest]:
        """Manifests of the same repository that this one cannot do without.

        :param must_be: a tag shows it, so an answer that it does not exist is no answer.
        """
        try:
            manifest = self._client.manifest(name, digest)
            if manifest.is_index:
                return [child.digest for child in manifest.children]
            if manifest.document.get("artifactType"):
                return []
            if manifest.config.media_type not in CONFIG_TYPES:
                return []
            config = self._client.blob(name, manifest.config.digest)
        except NotFoundError as error:
            if must_be:
                raise InfrastructureError(
                    f"{name}@{digest} has a tag, and it or its configuration cannot be had: {error.what}",
                    next_step="nothing was removed here; push this image again, or delete its tag",
                ) from error
            return []
        try:
            document, shape = read_json(config, "configuration"), DOOR.shape("configuration")
            base = shape.texts(shape.table(document.get("config"), "config").get("Labels"), "config.Labels").get(UPDATE_BASE)
            return [check_digest(base)] if base else []
        except (ContentError, UsageError):
            return []  # its bytes are what its digest says: nobody can run this, so it needs nothing

    def _first_seen(self) -> dict[str, float]:
        return self._note(GC_SEEN)

    def _condemned(self) -> dict[str, float]:
        return self._note(GC_CONDEMNED)

    def _note(self, name: str) -> dict[str, float]:
        """What an earlier collection wrote down; empty where there was none.

        :raises InfrastructureError: the note is listed and cannot be had: to write a new one over it would forget what has to be deleted.
        """
        if self._client.shown(self._control.repository, SEEN) is None:
            return {}
        note = self._control.documents.read(SEEN, name)
        if note is None:
            return {}
        what = f"the note {name} of an earlier collection"
        shape = DOOR.shape(what)
        return {entry: shape.moment(when, entry) for entry, when in read_json(note.encode(), what).items()}

    def _remember(self, seen: dict[str, float], condemned: dict[str, float]) -> None:
        text = json.dumps({tag: round(when) for tag, when in sorted(seen.items())}, separators=(",", ":"))
        notes = {GC_SEEN: text, GC_CONDEMNED: json.dumps({entry: round(when) for entry, when in sorted(condemned.items())}, separators=(",", ":"))}
        self._control.documents.write(SEEN, _SEEN_TYPE, notes)

    # ---- removing -----------------------------------------------------------------------------------------------------------------------------

    def _untag_all(
        self, states: Sequence[RepositoryState], plans: Sequence[RepositoryPlan], may: Callable[[str, Digest | None], bool], result: Collected
    ) -> None:
        """Take tags off in every repository.

        :param may: whether a tag of a repository goes now, by what it is attached to (None: it is no such tag).
        """

        def one(pair: tuple[RepositoryState, RepositoryPlan]) -> list[str]:
            return self._untag(*pair, [tag for tag in pair[1].untag if may(pair[1].name, subject_of(tag))])

        for done in each(zip(states, plans, strict=True), one, workers=self._workers):
            result.untagged += done

    def _untag(self, state: RepositoryState, plan: RepositoryPlan, tags: Iterable[str]) -> list[str]:
        """Take the tags off, one by one: each removal names one tag only, so a tag that is pushed meanwhile cannot go with it."""
        untagged = []
        for tag in tags:
            # a tag that moved since it was read is someone's new tag
            if self._client.head(plan.name, tag) == state.tags[tag] and self._client.delete_tag(plan.name, tag):
                untagged.append(f"{plan.name}:{tag}")
        return untagged

    def _delete_entry(self, entry: str) -> bool:
        name, _, digest = entry.partition("@")
        return self._delete(name, Digest(digest))

    def _delete(self, name: str, digest: Digest) -> bool:
        """Delete a manifest that lost its tags in an earlier collection, when still nothing names it; False when something does."""
        looked: set[Digest] = set()
        for tag in self._client.tags(name):
            shown = self._client.shown(name, tag)
            todo = [shown] if shown else []
            while todo:  # an index needs its images, and these what lies below their update layers
                one = todo.pop()
                if one == digest:
                    return False
                if one not in looked:
                    looked.add(one)
                    todo.extend(self._needs(name, one))
        if self._backup(name, digest) is not None:
            self._client.delete_manifest(name, digest)
        return True

    def _backup(self, name: str, digest: Digest) -> Manifest | None:
        try:
            return self._client.manifest(name, digest)
        except NotFoundError:
            return None

    # ---- the check afterwards -------------------------------------------------------------------------------------------------------------------

    def _check(self, states: Sequence[RepositoryState], plans: Sequence[RepositoryPlan]) -> int:
        """Every kept tag shows what it showed, unless it was moved on purpose meanwhile, and every kept manifest and blob answers."""
        problems: list[str] = []
        blobs: dict[Descriptor, str] = {}
        count = 0
        for state, plan in zip(states, plans, strict=True):
            for tag in plan.kept:
                count += 1
                if self._client.shown(plan.name, tag) is None:
                    problems.append(f"{plan.name}:{tag}")
            for digest in plan.kept_digests:
                if digest in state.absent:
                    continue
                try:
                    manifest = self._client.manifest(plan.name, digest, cached=False)
                except NotFoundError:
                    problems.append(f"{plan.name}@{digest}")
                    continue
                blobs.update(dict.fromkeys(manifest.blobs, plan.name))
        looked = each(blobs.items(), lambda item: (item[1], self._client.blob_problem(item[1], item[0])), workers=self._workers)
        missing = [f"{name}@{problem}" for name, problem in looked if problem]
        problems += [problem for problem in missing if problem]
        if problems:
            raise ContentError(
                f"after the collection {len(problems)} kept reference(s) do not answer: {', '.join(problems[:10])}",
                next_step="push these images again and look who else deletes",
            )
        return count
