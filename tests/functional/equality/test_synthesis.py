"""Updates that were composed without their image, beside real transactions on it, as buildah and podman pull both."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.functional.equality.storage import StorageCase
from tests.functional.equality.synthesis_zoo import COMPOSED, REFUSED, Case
from tests.functional.layers.others import TOOLS, differences, tree
from tests.functional.updater.world import Base, rpm
from topcoat.builder import Known, Synthesiser
from topcoat.errors import ContentError
from topcoat.layers import BuiltImage
from topcoat.model import ImageRepository, Repository
from topcoat.registry.streams import open_blob
from topcoat.synthesis import Refusal, merge, read_listing
from topcoat.transactions import Options, Transactions
from topcoat_demo.rpms import File, RpmSpec, make_repository

FRESH = RpmSpec("fresh", "1", files=(File("/opt/fresh", "f"),))


class SynthesisCase(StorageCase):
    """A world that can compose updates."""

    @classmethod
    def known(cls, base: Base) -> Known:
        """What is known of a published image, read from its layers as a stream."""
        listings = []
        for layer in base.image.layers:
            with open_blob(cls.world.client, base.repository, layer) as stream:
                listings.append(read_listing(stream))
        return Known.of(merge(listings))

    def composed(self, base: Base, *repositories: Repository) -> BuiltImage:
        """The composed update of an image."""
        snapshot = self.world.snapshot(*repositories)
        planned, request = self.world.plan(base, snapshot)
        scratch = self.world.path("scratch")
        scratch.mkdir()
        with snapshot, Transactions(snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1) as transactions:
            synthesiser = Synthesiser(snapshot, transactions, scratch)
            return synthesiser.update(planned, base.image, self.known(base), base_digest=base.digest, request=request)

    def publish(self, composed: BuiltImage, name: str) -> str:
        """Publish it; its digest."""
        blobs = {layer.digest: ImageRepository(self.world.server.host, name) for layer in composed.image.layers}
        blobs |= {layer.digest: layer.path for layer in composed.layers}
        return self.world.publisher.publish(f"{self.world.server.host}/{name}", composed.image, blobs, ["composed"]).digest

    @contextlib.contextmanager
    def unpacked(self, tool: str, name: str, digest: str) -> Iterator[Path]:
        """The files of a published image as a tool of others unpacks it."""
        with self.storage.unpacked(tool, f"docker://{self.world.server.host}/{name}@{digest}", *self.access()) as root:
            yield root

    def base(self, name: str, *cases: Case) -> Base:
        """An image with the old packages of these cases."""
        root = self.world.root([*(spec for case in cases for spec in case.old), RpmSpec("stays", "1", files=(File("/opt/stays", "s"),))])
        for path, text in (change for case in cases for change in case.changed):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return self.world.publish_root(root, name)


def case(name: str) -> Case:
    """A case that can be composed."""
    return next(case for case in COMPOSED if case.name == name)


class Synthesis(SynthesisCase):
    def test_composed_equals_the_transaction(self) -> None:
        self.maxDiff = None
        base = self.base("composed", *COMPOSED)
        repository = self.world.repository("composed", [*(spec for case in COMPOSED for spec in case.new), FRESH])
        done = self.world.update(base, repository)
        composed = self.composed(base, repository)
        self.assertEqual(done.changes, composed.changes)
        self.assertEqual(done.inventory, composed.inventory)
        self.compare("composed", self.world.publish(done, "composed"), self.publish(composed, "composed"))

    def compare(self, name: str, done: str, composed: str) -> None:
        for tool in TOOLS:
            found = []
            for digest in (done, composed):
                with self.unpacked(tool, name, digest) as root:
                    database = (root / "var/lib/rpm/rpmdb.sqlite").read_bytes()
                    found.append((dated(root), database, self.facts(root) if tool == "buildah" else None))
            self.assertEqual(differences(found[0][0], found[1][0]), {}, tool)
            self.assertEqual(found[0][1:], found[1][1:], f"{tool}: package database")

    def facts(self, root: Path) -> dict[str, object]:
        """What rpm says of an image, and that it goes on from there."""
        rpm(root, "--verifydb")
        facts = {
            "headers": sorted(rpm(root, "-qa", "--qf", "%{nevra} %{sha256header} %{sigmd5} %{installtime} [%{filestates},]\n").splitlines()),
            "verified": sorted(rpm(root, "-Va", check=False).splitlines()),
        }
        later = make_repository(self.world.path("later"), [RpmSpec("stays", "2", files=(File("/opt/stays", "t"),))])
        rpm(root, "-U", "--nosignature", *map(str, later.glob("*.rpm")))
        self.assertIn("stays-2-1.el9.noarch", rpm(root, "-qa"))
        return facts

    def test_what_cannot_be_composed_says_why(self) -> None:
        base = self.base("refused", *REFUSED)
        for refused in REFUSED:
            with self.subTest(refused.name):
                with self.assertRaises(Refusal) as caught:
                    self.composed(base, self.world.repository(refused.name, refused.new))
                self.assertIn(refused.refused, caught.exception.reason)

    def test_images_that_take_the_same_packages_share_the_payload(self) -> None:
        deep = case("folders-new")
        one = self.base("one", deep)
        other = self.base("other", deep, case("ghosts"))
        repository = self.world.repository("shared", deep.new)
        first, second, again = self.composed(one, repository), self.composed(other, repository), self.composed(one, repository)
        self.assertEqual(first.layers[0].digest, second.layers[0].digest)
        self.assertNotEqual(first.layers[1].digest, second.layers[1].digest)
        self.assertEqual([layer.digest for layer in first.layers], [layer.digest for layer in again.layers])
        self.assertEqual(first.image, again.image)

    def test_the_package_database_is_the_last_layer_alone(self) -> None:
        composed = self.composed(self.base("last", case("kinds")), self.world.repository("last", case("kinds").new))
        with composed.layers[-1].path.open("rb") as stream:
            listing = read_listing(stream)
        self.assertEqual([path for path, node in listing.entries.items() if node.kind != "d"], ["var/lib/rpm/rpmdb.sqlite"])
        with sqlite3.connect(":memory:") as memory:
            memory.deserialize(listing.contents["var/lib/rpm/rpmdb.sqlite"])
            self.assertEqual(memory.execute("PRAGMA integrity_check").fetchone(), ("ok",))

    def test_a_plan_that_dnf_does_not_share_is_no_update(self) -> None:
        with self.assertRaises(ContentError):
            self.composed(self.base("lonely", case("requires")), self.world.repository("lonely", case("requires").new))


def dated(root: Path) -> dict[str, tuple]:
    """A tree without its package database, with the times of directories, too."""
    found = tree(root, without=("var/lib/rpm",))
    return {path: (*facts, os.lstat(root / path).st_mtime_ns if stat.S_ISDIR(os.lstat(root / path).st_mode) else 0) for path, facts in found.items()}
