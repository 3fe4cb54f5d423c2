"""Random histories of a registry under collection, with deaths in the middle: nothing kept is ever lost, nothing unneeded stays for ever."""

from __future__ import annotations

import hashlib
import json
import os
import random
import unittest

from topcoat.garbage import Collector, KeepRules
from topcoat.garbage.rules import subject_of
from topcoat.promotion import Control, ImageSet, SetRecord
from topcoat.registry import Manifest, NotFoundError, digest_of
from topcoat.registry.oci import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    artifact_manifest,
    index_manifest,
    referrers_tag,
    to_json,
)

HISTORIES = int(os.environ.get("TOPCOAT_GC_HISTORIES", "300"))
STEPS = 30
NOBODY = 2**22 + 1
"""No process has this id."""
SPACE = "site"
PATHS = (f"{SPACE}/api", f"{SPACE}/base")
DAY = 86400.0
RULES = KeepRules(tags=frozenset({"floating", "open"}), younger_than=14 * DAY, newest=1)


class Death(Exception):
    """The collector's process dies."""


class Registry:
    """What a registry is to a collection: names of manifests, and manifests; deleting one takes every tag on it. Dies at a given write."""

    host = "r.example.org"

    def __init__(self) -> None:
        self.named: dict[str, dict[str, str]] = {}
        self.held: dict[str, dict[str, Manifest]] = {}
        self.content: dict[str, bytes] = {}
        self.writes_left = -1

    def _write(self) -> None:
        if self.writes_left == 0:
            raise Death
        self.writes_left -= 1

    def tags(self, repository: str) -> tuple[str, ...]:
        return tuple(sorted(self.named.get(repository, ())))

    def shown(self, repository: str, tag: str) -> str | None:
        return self.named.get(repository, {}).get(tag)

    def head(self, repository: str, target: str) -> str | None:
        if ":" in target:
            return target if target in self.held.get(repository, ()) else None
        return self.shown(repository, target)

    def manifest(self, repository: str, target: str, *, cached: bool = True) -> Manifest:
        digest = target if ":" in target else self.shown(repository, target)
        if digest not in self.held.get(repository, ()):
            raise NotFoundError(f"{repository} {target}")
        return self.held[repository][str(digest)]

    def blob(self, repository: str, digest: str) -> bytes:
        return self.content[digest]

    def has_blob(self, repository: str, digest: str) -> bool:
        return digest in self.content

    def blob_problem(self, repository: str, blob: Descriptor) -> str:
        return "" if blob.digest in self.content else "missing"

    def put_blob(self, repository: str, digest: str, content: bytes) -> None:
        self._write()
        self.content[digest] = content

    def put_manifest(self, repository: str, target: str, body: bytes, media_type: str, *, read_back: bool = True) -> str:
        self._write()
        digest = digest_of(body)
        self.held.setdefault(repository, {})[digest] = Manifest(digest, media_type, body)
        if ":" not in target:
            self.named.setdefault(repository, {})[target] = digest
        return digest

    def delete_manifest(self, repository: str, digest: str) -> bool:
        self._write()
        self.named[repository] = {tag: shown for tag, shown in self.named.get(repository, {}).items() if shown != digest}
        return self.held.get(repository, {}).pop(digest, None) is not None

    def delete_tag(self, repository: str, tag: str) -> bool:
        """As the client does where a registry deletes digests only: a manifest of its own under the tag, and that one deleted. It can die between."""
        if tag not in self.named.get(repository, {}):
            return False
        nonce = hashlib.sha256(f"{repository}{tag}{len(self.held[repository])}".encode()).hexdigest()
        own = self.put_manifest(repository, tag, artifact_manifest("application/x-tombstone", (), annotations={"nonce": nonce}), OCI_MANIFEST)
        self.delete_manifest(repository, own)
        return True


class History:
    """One registry's life."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.registry = Registry()
        self.now = 1e9
        self.number = 0
        self.images: dict[str, list[str]] = {path: [] for path in PATHS}
        self.own: dict[str, set[str]] = {path: set() for path in PATHS}
        self.moved: dict[str, set[str]] = {path: set() for path in PATHS}
        self.pushed: dict[tuple[str, str], float] = {}
        self.control = Collector(self.registry, SPACE)._control

    def image(self, path: str, base: str | None = None) -> str:
        self.number += 1
        labels = {"io.topcoat.update-base": base} if base else {}
        config = to_json({"number": self.number, "config": {"Labels": labels}})
        layer = f"layer {self.number}".encode()
        for content in (config, layer):
            self.registry.put_blob(path, digest_of(content), content)
        body = to_json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": Descriptor(OCI_CONFIG, digest_of(config), len(config)).as_dict(),
                "layers": [Descriptor(OCI_LAYER_GZIP, digest_of(layer), len(layer)).as_dict()],
            }
        )
        return self.registry.put_manifest(path, digest_of(body), body, OCI_MANIFEST)

    def attach(self, path: str, subject: str) -> None:
        self.number += 1
        body = artifact_manifest(f"application/x-{self.number}", ())
        digest = self.registry.put_manifest(path, digest_of(body), body, OCI_MANIFEST)
        entry = Descriptor(OCI_MANIFEST, digest, len(body))
        if self.random.random() < 0.3:
            suffix = self.random.choice((".sig", ".att", ".sbom", f".{digest[7:39]}"))
            self.registry.put_manifest(path, f"{referrers_tag(subject)}{suffix}", body, OCI_MANIFEST)
            return
        known = self.registry.shown(path, referrers_tag(subject))
        before = self.registry.manifest(path, known).children if known and self.registry.manifest(path, known).is_index else ()
        self.registry.put_manifest(path, referrers_tag(subject), index_manifest([*before, entry]), OCI_INDEX)

    def push(self) -> None:
        path = self.random.choice(PATHS)
        there = [digest for digest in self.images[path] if self.registry.head(path, digest)]
        base = self.random.choice(there) if there and self.random.random() < 0.4 else None
        digest = self.image(path, base)
        self.images[path].append(digest)
        if self.random.random() < 0.7:
            self.attach(path, digest)
        if self.random.random() < 0.2:
            body = index_manifest([self.registry.manifest(path, digest).descriptor])
            digest = self.registry.put_manifest(path, digest_of(body), body, OCI_INDEX)
        tag = self.random.choice(("open", f"run-{self.number}", f"run-{self.number}", f"input-{self.number}"))
        self.tag(path, tag, digest)

    def tag(self, path: str, tag: str, digest: str) -> None:
        manifest = self.registry.manifest(path, digest)
        shown = self.registry.shown(path, tag)
        if shown:  # a registry does not list what a moved tag showed, so no collection can see it
            self.moved[path] |= self.closure(path, {shown})
        self.registry.put_manifest(path, tag, manifest.body, manifest.media_type)
        self.pushed[path, tag] = self.now
        if tag not in RULES.tags:  # such a tag never moves, so only a collection takes it off
            self.own[path].add(digest)

    def retag(self) -> None:
        path = self.random.choice(PATHS)
        tags = [tag for tag in self.registry.tags(path) if not tag.startswith("sha256-")]
        if tags:
            self.number += 1
            self.tag(path, f"again-{self.number}", str(self.registry.shown(path, self.random.choice(tags))))

    def promote(self) -> None:
        sets = {}
        for path in PATHS:
            tags = [tag for tag in self.registry.tags(path) if not tag.startswith("sha256-")]
            if not tags:
                return
            sets[path.rpartition("/")[2]] = str(self.registry.shown(path, self.random.choice(tags)))
        repositories = tuple((name, f"{SPACE}/{name}") for name in sorted(sets))
        before = self.control.read("floating")
        self.control.write("floating.pending" if self.random.random() < 0.1 else "floating", self.record(sets, repositories, before))
        if before:
            self.control.write("floating.previous", before)
        for name, digest in sets.items():
            self.tag(f"{SPACE}/{name}", "floating", digest)

    def record(self, sets: dict[str, str], repositories, before: SetRecord | None) -> SetRecord:
        previous = before.images if before else ImageSet(())
        return SetRecord("floating", f"run-{self.number}", ImageSet.of(sets), repositories, previous, "", self.now)

    def collect(self, *, dies: bool) -> bool:
        self.registry.writes_left = self.random.randrange(12) if dies else -1
        try:
            collector = Collector(self.registry, SPACE, workers=1)
            collector._control = Control(self.registry, SPACE, pid=NOBODY)  # each collection is a process that is gone afterwards
            collector.collect(PATHS, RULES, dry_run=False, now=self.now)
            return True
        except Death:
            return False
        finally:
            self.registry.writes_left = -1

    # ---- what must be there -----------------------------------------------------------------------------------------------------------------

    def needed(self) -> dict[str, set[str]]:
        """Path -> digests that must be there: by tags that are kept for their name or age, by records, and all that these need."""
        found: dict[str, set[str]] = {}
        for path in PATHS:
            roots = {
                shown
                for tag, shown in self.registry.named.get(path, {}).items()
                if tag in RULES.tags or self.now - self.pushed.get((path, tag), self.now - 1e9) < RULES.younger_than
            }
            for name in ("floating", "floating.previous", "floating.pending"):
                record = self.control.read(name)
                if record:
                    roots |= {digest for image, digest in record.images.digests if record.repository_of(image) == path}
            found[path] = self.closure(path, {root for root in roots if self.registry.head(path, root)})
        return found

    def closure(self, path: str, start: set[str]) -> set[str]:
        found: set[str] = set()
        todo = list(start)
        while todo:
            digest = todo.pop()
            if digest in found or self.registry.head(path, digest) is None:
                continue
            found.add(digest)
            manifest = self.registry.manifest(path, digest)
            todo += [child.digest for child in manifest.children]
            todo += [shown for tag, shown in self.registry.named[path].items() if tag.startswith(referrers_tag(digest))]
            if not manifest.is_index and not manifest.document.get("artifactType"):
                base = (json.loads(self.registry.content[manifest.config.digest])["config"]["Labels"] or {}).get("io.topcoat.update-base")
                todo += [base] if base else []
        return found


class Histories(unittest.TestCase):
    def test_nothing_kept_is_lost_and_nothing_unneeded_stays(self) -> None:
        deaths = 0
        for seed in range(HISTORIES):
            history = History(seed)
            for _ in range(STEPS):
                what = history.random.choice(("push", "push", "retag", "promote", "time", "time", "time", "collect", "collect", "collect"))
                if what == "time":
                    history.now += history.random.choice((60.0, 7200.0, DAY, 20 * DAY, 20 * DAY))
                elif what == "collect":
                    before = history.needed()
                    named = {path: dict(history.registry.named.get(path, {})) for path in PATHS}
                    deaths += not history.collect(dies=history.random.random() < 0.5)
                    for path in PATHS:
                        self.assertLessEqual(before[path], set(history.registry.held.get(path, ())), f"history {seed}: lost in {path}")
                        attached = {tag for tag in named[path] if subject_of(tag) in before[path]}
                        for tag in {*RULES.tags, *attached}:
                            self.assertEqual(named[path].get(tag), history.registry.shown(path, tag), f"history {seed}: {path}:{tag}")
                else:
                    getattr(history, what)()
            history.now += 40 * DAY
            for _ in range(3):
                self.assertTrue(history.collect(dies=False))
                history.now += 40 * DAY
            for path in PATHS:
                alive = history.closure(path, set(history.registry.named.get(path, {}).values()) | history.needed()[path])
                there = {digest for digest in history.own[path] if history.registry.head(path, digest)}
                self.assertEqual(set(), there - alive - history.moved[path], f"history {seed}: nobody needs this in {path}, and it stays")
                subjects = {subject_of(tag) for tag in history.registry.named.get(path, {})} - {None}
                self.assertEqual(set(), subjects - set(history.registry.held.get(path, ())), f"history {seed}: attached to nothing in {path}")
        self.assertGreater(deaths, HISTORIES // 20)
