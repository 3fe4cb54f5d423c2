"""Folders of kept repositories in a registry: there and back, cut off, spoiled, and what is no such folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.functional.registry.base import RegistryCase
from topcoat.errors import ContentError, UsageError
from topcoat.model import ImageReference, labels
from topcoat.publisher import kept
from topcoat.registry import Descriptor
from topcoat.registry.tagged import TaggedDocuments

FILES = {"kept.json": b"{}", "base-1/repodata/repomd.xml": b"<repomd/>", "base-1/Packages/a%20b~1.rpm": b"a" * 3_000_000, "keys/0": b"<repomd/>"}


class InRegistry(RegistryCase):
    def setUp(self) -> None:
        self.local = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.remote = self.client()
        self.fill("one", FILES)
        name = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.where = ImageReference(self.server.host, f"kept/{name}", tag="november")

    def fill(self, folder: str, files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            (self.local / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.local / folder / name).write_bytes(content)
        return self.local / folder

    def fetched(self, where: ImageReference | None = None) -> dict[str, bytes]:
        folder = self.local / "fetched"
        kept.fetch(self.remote, where or self.where, folder, last="kept.json")
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_there_and_back_by_tag_and_by_digest(self) -> None:
        digest = kept.store(self.remote, self.where, self.local / "one")
        self.assertEqual(FILES, self.fetched())
        self.assertEqual(FILES, self.fetched(self.where.with_digest(digest)))

    def test_a_blob_that_is_there_goes_neither_way_again(self) -> None:
        kept.store(self.remote, self.where, self.local / "one")
        self.fetched()
        before = self.remote.traffic.as_dict()
        digest = kept.store(self.remote, self.where, self.fill("two", {"kept.json": b"{}", "base-1/Packages/c.rpm": b"c" * 1000}))
        self.assertEqual(1000, self.remote.traffic.as_dict()["blob_bytes_sent"] - before["blob_bytes_sent"])
        # and the tag names both
        self.assertEqual(FILES | {"base-1/Packages/c.rpm": b"c" * 1000}, self.fetched(self.where.with_digest(digest)))
        self.assertEqual(1000, self.remote.traffic.as_dict()["blob_bytes_received"] - before["blob_bytes_received"])

    def test_what_was_spoiled_on_our_own_disk_is_fetched_again(self) -> None:
        kept.store(self.remote, self.where, self.local / "one")
        self.fetched()
        self.fill("fetched", {"base-1/repodata/repomd.xml": b"<repomD/>"})
        self.assertEqual(FILES, self.fetched())

    def test_a_name_outside_the_folder_is_refused(self) -> None:
        documents = TaggedDocuments(self.remote, self.where.repository)
        blob = documents.keep(b"x", "application/x-rpm")
        for name in ("../x", "/x", "a/../../x", "", ".", "a//b", "a\0b"):
            with self.subTest(name):
                named = Descriptor(blob.media_type, blob.digest, blob.size, ((labels.TITLE, name),))
                documents.write("november", kept.KEPT_TYPE, {}, [named], read_back=False)
                with self.assertRaisesRegex(ContentError, "names a file"):
                    self.fetched()

    def test_what_keeps_no_repositories(self) -> None:
        with self.assertRaisesRegex(UsageError, "keeps no repositories"):
            self.fetched()
        TaggedDocuments(self.remote, self.where.repository).write("november", "application/vnd.topcoat.receipt.v1+json", {})
        for call in (self.fetched, lambda: kept.store(self.remote, self.where, self.local / "one")):
            with self.assertRaisesRegex(ContentError, "something else"):
                call()

    def test_a_tag_is_needed(self) -> None:
        with self.assertRaisesRegex(UsageError, "names no tag"):
            kept.store(self.remote, ImageReference(self.server.host, "kept/x"), self.local / "one")
