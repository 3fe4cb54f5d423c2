"""The control repository: records of promoted sets, and the lock, as manifests in the registry itself.

This module must never store anything outside the registry: whoever comes next, from whatever machine, must see the same state.

Layout of the repository ``<namespace>/topcoat-promotions``, tags by floating name:

``<name>``           record of the set that the floating tag shows
``<name>.previous``  record of the set before it
``<name>.pending``   a promotion that has begun to move tags: what it moves from and to
``<name>.lock-<id>`` a promoter that is at work
``<name>.history-…``, ``<name>.hold``: see ``history``
``topcoat-gc.seen``  what the garbage collection wrote down
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import ContentError, InfrastructureError, TopcoatError, UsageError
from topcoat.model import Digest, beside, labels
from topcoat.model.image import check_tag
from topcoat.promotion.sets import SetRecord
from topcoat.registry import AccessError, RefusedError, RegistryClient, digest_of
from topcoat.registry.tagged import TaggedDocuments, annotation, body_of

LOCKED, HISTORY, HOLD = ".lock-", ".history-", ".hold"
PREVIOUS, PENDING = ".previous", ".pending"
SEEN = "topcoat-gc.seen"
"""Where the garbage collection writes down what it saw."""
_ASIDE = re.compile(rf".*({re.escape(LOCKED)}|{re.escape(HISTORY)}).+|.+{re.escape(HOLD)}|sha[0-9]+-.*")
"""Tags that are no records."""
RECORD_TYPE = "application/vnd.topcoat.promotion.v1+json"
LOCK_TYPE = "application/vnd.topcoat.promotion-lock.v1+json"
LOCK_SECONDS = 900.0
_LONGEST_NAME = 80
"""Letters of a floating name: the tags of its history are some forty letters longer, and no tag has more than 128."""
_DOOR = Door(InfrastructureError, "delete its tag in the control repository, if nobody promotes", limit=4096)


@dataclass(frozen=True)
class Owner:
    """Who holds a lock. ``expires`` is seconds since the epoch."""

    id: str
    host: str
    pid: int
    boot: str
    expires: float

    def notes(self) -> dict[str, str]:
        """As it lies in the registry."""
        shape = {"id": self.id, "host": self.host, "pid": self.pid, "boot": self.boot, "expires": self.expires}
        return {labels.LOCK: json.dumps(shape, sort_keys=True)}

    def is_dead(self, now: float) -> bool:
        """Its time is up, or it was a process of this machine, and of this container of it, that runs no more."""
        if self.expires < now:
            return True
        return (self.host, self.boot) == (socket.gethostname(), _boot_id()) and not Path(f"/proc/{self.pid}").exists()


def check_name(name: str) -> str:
    """A floating name whose records can be told from everything else that lies beside them.

    :raises UsageError: it could be the name of a lock, a hold or another name's record, is too long for such beside it, or is no tag.
    """
    check_tag(name)
    if _ASIDE.fullmatch(name) or name.endswith((PREVIOUS, PENDING)) or name == SEEN:
        raise UsageError(f"{name!r} cannot be promoted to: names like it are kept for records", next_step="choose another floating tag")
    if len(name) > _LONGEST_NAME:
        raise UsageError(f"{name!r} cannot be promoted to: it has more than {_LONGEST_NAME} letters", next_step="choose a shorter floating tag")
    return name


@dataclass(frozen=True)
class _Hidden:
    """A lock that is listed and not sent: whose it is and until when is not known, so it is held."""

    tag: str


class Control:
    """The control repository of one registry and namespace."""

    def __init__(self, client: RegistryClient, namespace: str, *, pid: int | None = None) -> None:
        """:param pid: the process that locks are taken for; None: this one."""
        self.client = client
        self.repository = beside.within(namespace, beside.CONTROL)
        self.documents = TaggedDocuments(client, self.repository)
        self._pid = pid or os.getpid()

    # ---- records ----------------------------------------------------------------------------------------------------------------------------

    def read(self, tag: str) -> SetRecord | None:
        """The record under a tag, or None.

        :raises ContentError: it cannot be read, or is that of another name: going by a copy would move tags that nobody holds a lock on.
        """
        text = self.documents.read(tag, labels.PROMOTION)
        if text is None:
            return None
        record = SetRecord.from_json(text)
        if tag not in (record.name, record.name + PREVIOUS, record.name + PENDING):
            raise ContentError(
                f"{self.client.host}/{self.repository}:{tag} is a record of {record.name[:_LONGEST_NAME]!r}, copied there by somebody",
                next_step="delete that tag; what its name shows is promoted again by 'topcoat promote'",
            )
        return record

    def write(self, tag: str, record: SetRecord) -> None:
        """Store a record under a tag: one manifest, so a reader sees all of it or the one before."""
        self.documents.write(tag, RECORD_TYPE, {labels.PROMOTION: record.to_json()})

    def clear(self, tag: str) -> None:
        """From now on there is no record under a tag."""
        if self.documents.manifest(tag) is not None:
            self.documents.clear(tag, RECORD_TYPE)

    def records(self) -> dict[str, SetRecord]:
        """Every record by tag, ``.previous`` and ``.pending`` ones too.

        :raises InfrastructureError: the registry lists a record that it does not send: who goes by the records may not go on without it.
        """
        found = {}
        for tag in self.client.tags(self.repository):
            record = None if _ASIDE.fullmatch(tag) else self.read(tag)
            if record:
                found[tag] = record
        return found

    def floating_names(self) -> tuple[str, ...]:
        """Every floating name that was ever promoted here."""
        found = set()
        for tag, record in self.records().items():
            if tag in (record.name, record.name + PREVIOUS, record.name + PENDING):
                found.add(record.name)
        return tuple(sorted(found))

    # ---- the lock -----------------------------------------------------------------------------------------------------------------------------

    def lock(self, name: str, *, wait: float = 0.0, say: Callable[[str], None] = lambda line: None) -> Lock:
        """Be the only promoter of a floating name.

        A registry has no compare-and-swap, but its list of tags is one truth: each promoter first announces itself under a tag of its own, then
        looks for others. Of two that come at the same time at least one sees the other and steps back, so never both go on. Both may step back:
        then each tries again after a random pause, until ``wait`` seconds are over.

        :raises InfrastructureError: someone else is at work; it says who.
        """
        until = time.monotonic() + wait
        while True:
            mine = self._announce(name)
            try:
                others = self._others(name, mine)
            except BaseException:
                mine.release()
                raise
            if not others:
                mine.keep()
                return mine
            mine.release()
            other = others[0]
            if time.monotonic() >= until:
                raise self._held(name, other)
            if isinstance(other, Owner):
                say(f"waiting for the promotion by process {other.pid} on {other.host}")
            else:
                say(f"waiting for the lock {other.tag}, which is listed and not sent")
            time.sleep(min(0.1 + secrets.randbelow(400) / 1000, max(until - time.monotonic(), 0.01)))

    def _held(self, name: str, other: Owner | _Hidden) -> InfrastructureError:
        if isinstance(other, Owner):
            left = max(other.expires - time.time(), 0)
            ends = f"its lock ends by itself in {left:.0f} s"
            if left > 2 * LOCK_SECONDS:  # no clock of a promoter is that wrong, and nobody can wait for it
                tag = f"{self.client.host}/{self.repository}:{name}{LOCKED}{other.id}"
                ends = f"its lock ends later than any does: if nobody promotes, delete the tag {tag}"
            return InfrastructureError(f"{name} is being promoted by process {other.pid} on {other.host}", next_step=f"wait for it; {ends}")
        return InfrastructureError(
            f"somebody may be promoting {name}: {self.client.host}/{self.repository} lists the lock {other.tag} and answers 404 for it",
            next_step="try again; if nobody promotes, delete that tag",
        )

    def _announce(self, name: str) -> Lock:
        owner = Owner(secrets.token_hex(8), socket.gethostname(), self._pid, _boot_id(), time.time() + LOCK_SECONDS)
        lock = Lock(self, f"{name}{LOCKED}{owner.id}", digest_of(body_of(LOCK_TYPE, owner.notes())), owner)
        try:
            self.documents.write(lock.tag, LOCK_TYPE, owner.notes())
        except BaseException:
            lock.release()
            raise
        return lock

    def _others(self, name: str, mine: Lock) -> list[Owner | _Hidden]:
        """Living promoters of the same name; the tags of dead ones are removed on the way."""
        found: list[Owner | _Hidden] = []
        for tag in self.client.tags(self.repository):
            if not tag.startswith(f"{name}{LOCKED}") or tag == mine.tag:
                continue
            manifest = self.documents.manifest(tag)
            if manifest is None:
                if not self._released(tag):
                    found.append(_Hidden(tag))
                continue
            owner = _owner(annotation(manifest, labels.LOCK))
            if owner is None:
                continue  # released on a registry that deletes nothing
            if owner.is_dead(time.time()):
                Lock(self, tag, manifest.digest).release()
            else:
                found.append(owner)
        return found

    def _released(self, tag: str) -> bool:
        """Whether a lock that was listed and not sent is gone from the list as well, a moment later at most."""
        for pause in (0.0, 0.2, 1.0):  # some registries take the tag of a manifest that was deleted from the list by another request
            time.sleep(pause)
            if tag not in self.client.tags(self.repository):
                return True
        return False


@dataclass
class Lock:
    """A held lock. Release it; a process that dies releases it too (see ``Owner.is_dead``)."""

    control: Control
    tag: str
    digest: Digest
    owner: Owner | None = None
    """None: somebody else's."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def keep(self) -> None:
        """Hold it for as long as this process works: what takes longer than a lock lasts (sets that are copied, collections) would lose it unseen."""

        def renew() -> None:
            while not self._ended.wait(LOCK_SECONDS / 3):
                with contextlib.suppress(TopcoatError):  # a registry that is away; ``require`` says what came of it
                    self.renew()

        threading.Thread(target=renew, name=f"keeps {self.tag}", daemon=True).start()

    def renew(self) -> None:
        """Let it end later, unless it was given up or somebody took it for one of the dead."""
        with self._writing:
            if self._ended.is_set() or self.owner is None or self.control.client.shown(self.control.repository, self.tag) != self.digest:
                return
            owner = replace(self.owner, expires=time.time() + LOCK_SECONDS)
            self.digest = self.control.documents.write(self.tag, LOCK_TYPE, owner.notes())
            self.owner = owner

    def require(self) -> None:
        """It is still held: asked before the first thing that others must not do meanwhile.

        :raises InfrastructureError: it ended, or somebody else took it away.
        """
        with self._writing:
            if self.control.client.shown(self.control.repository, self.tag) != self.digest:
                name = self.tag.partition(LOCKED)[0]
                raise InfrastructureError(
                    f"the lock on {name} was lost: another process took this one for dead; nothing was moved",
                    next_step="look that clocks are right and nobody else promotes, and run again",
                )

    def release(self) -> None:
        """Give the lock up; never raises, a lock that stays ends by its time."""
        self._ended.set()
        with self._writing:
            self._release()

    def _release(self) -> None:
        try:
            self.control.client.delete_manifest(self.control.repository, self.digest)
            client, repository = self.control.client, self.control.repository
            # Some leave the tags of a manifest that is gone.
            if client.head(repository, self.tag) == self.digest and not client.manifests.delete_by_tag(repository, self.tag):
                self._overwrite()
        except (RefusedError, AccessError):  # it deletes nothing, or not for us
            self._overwrite()
        except TopcoatError:
            pass

    def _overwrite(self) -> None:
        """On a registry that deletes nothing a released lock is a manifest without owner."""
        try:
            self.control.documents.clear(self.tag, LOCK_TYPE)
        except TopcoatError:
            pass

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()


def _owner(text: str | None) -> Owner | None:
    """Who a lock names; None where it names nobody.

    :raises InfrastructureError: it names somebody in words that are none of ours: whoever that is, he holds it.
    """
    if text is None:
        return None
    document, shape = _DOOR.json_object(text, "a promotion lock"), _DOOR.shape("a promotion lock")
    names = [shape.need(document, key, str) for key in ("id", "host", "boot")]
    pid = shape.number(document.get("pid"), "pid", most=1 << 31)
    return Owner(names[0], names[1], pid, names[2], shape.moment(document.get("expires"), "expires"))


def _boot_id() -> str:
    """Where process ids mean the same: one start of one kernel, and in it one name space of them. Containers of a machine may share its name."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return secrets.token_hex(8)
