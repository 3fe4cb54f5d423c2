"""The control repository: records of promoted sets, and the lock, as manifests in the registry itself.

This module must never store anything outside the registry: whoever comes next, from whatever machine, must see the same state.

Layout of the repository ``<namespace>/topcoat-promotions``, tags by floating name:

``<name>``           record of the set that the floating tag shows
``<name>.previous``  record of the set before it
``<name>.pending``   a promotion that has begun to move tags: what it moves from and to
``<name>.lock-<id>`` a promoter that is at work
``<name>.history-…``, ``<name>.hold``: see ``history``
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from topcoat.documents import Door
from topcoat.errors import InfrastructureError, TopcoatError, UsageError
from topcoat.model import Digest, beside, labels
from topcoat.model.image import check_tag
from topcoat.promotion.sets import SetRecord
from topcoat.registry import AccessError, RefusedError, RegistryClient, digest_of
from topcoat.registry.tagged import TaggedDocuments, annotation, body_of

LOCKED, HISTORY, HOLD = ".lock-", ".history-", ".hold"
_ASIDE = re.compile(rf".*({re.escape(LOCKED)}|{re.escape(HISTORY)}).+|.+{re.escape(HOLD)}|sha256-.*")
"""Tags that are no records."""
RECORD_TYPE = "application/vnd.topcoat.promotion.v1+json"
LOCK_TYPE = "application/vnd.topcoat.promotion-lock.v1+json"
LOCK_SECONDS = 900.0
_DOOR = Door(InfrastructureError, "delete its tag in the control repository, if nobody promotes", limit=4096)


@dataclass(frozen=True)
class Owner:
    """Who holds a lock. ``expires`` is seconds since the epoch."""

    id: str
    host: str
    pid: int
    boot: str
    expires: float

    def is_dead(self, now: float) -> bool:
        """Its time is up, or it was a process of this machine that runs no more."""
        if self.expires < now:
            return True
        return (self.host, self.boot) == (socket.gethostname(), _boot_id()) and not Path(f"/proc/{self.pid}").exists()


def check_name(name: str) -> str:
    """A floating name whose records can be told from everything else that lies beside them.

    :raises UsageError: it could be the name of a lock or a hold, or is no tag.
    """
    check_tag(name)
    if _ASIDE.fullmatch(name):
        raise UsageError(f"{name!r} cannot be promoted to: names like it are kept for records", next_step="choose another floating tag")
    return name


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
        """The record under a tag, or None."""
        text = self.documents.read(tag, labels.PROMOTION)
        return SetRecord.from_json(text) if text is not None else None

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
            if _ASIDE.fullmatch(tag):
                continue
            if self.client.shown(self.repository, tag) is None:
                continue  # taken away since the list was made, and the list of now says so too
            record = self.read(tag)
            if record:
                found[tag] = record
        return found

    def floating_names(self) -> tuple[str, ...]:
        """Every floating name that was ever promoted here."""
        found = set()
        for tag, record in self.records().items():
            if tag in (record.name, f"{record.name}.previous", f"{record.name}.pending"):
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
                return mine
            mine.release()
            other = others[0]
            if time.monotonic() >= until:
                raise InfrastructureError(
                    f"{name} is being promoted by process {other.pid} on {other.host}",
                    next_step=f"wait for it; its lock ends by itself in {max(other.expires - time.time(), 0):.0f} s",
                )
            say(f"waiting for the promotion by process {other.pid} on {other.host}")
            time.sleep(min(0.1 + secrets.randbelow(400) / 1000, max(until - time.monotonic(), 0.01)))

    def _announce(self, name: str) -> Lock:
        owner = Owner(secrets.token_hex(8), socket.gethostname(), self._pid, _boot_id(), time.time() + LOCK_SECONDS)
        text = json.dumps({"id": owner.id, "host": owner.host, "pid": owner.pid, "boot": owner.boot, "expires": owner.expires}, sort_keys=True)
        notes = {labels.LOCK: text}
        lock = Lock(self, f"{name}{LOCKED}{owner.id}", digest_of(body_of(LOCK_TYPE, notes)))
        try:
            self.documents.write(lock.tag, LOCK_TYPE, notes)
        except BaseException:
            lock.release()
            raise
        return lock

    def _others(self, name: str, mine: Lock) -> list[Owner]:
        """Living promoters of the same name; the tags of dead ones are removed on the way."""
        found = []
        for tag in self.client.tags(self.repository):
            if not tag.startswith(f"{name}{LOCKED}") or tag == mine.tag:
                continue
            manifest = self.documents.manifest(tag)
            if manifest is None:
                continue  # released between list and look
            owner = _owner(annotation(manifest, labels.LOCK))
            if owner is None:
                continue  # released on a registry that deletes nothing
            if owner.is_dead(time.time()):
                Lock(self, tag, manifest.digest).release()
            else:
                found.append(owner)
        return found


@dataclass
class Lock:
    """A held lock. Release it; a process that dies releases it too (see ``Owner.is_dead``)."""

    control: Control
    tag: str
    digest: Digest

    def release(self) -> None:
        """Give the lock up; never raises, a lock that stays ends by its time."""
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
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
