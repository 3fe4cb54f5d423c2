"""A promotion with a key: every image is signed in every place before one tag moves; provenance; and what collection and copies do to both."""

from __future__ import annotations

import base64
import json
import subprocess
import time

from tests.functional.signing.base import SigningCase
from topcoat.garbage import Collector, KeepRules
from topcoat.model import ImageResult, Receipt, Status
from topcoat.registry import digest_of, oci
from topcoat.registry.attached import SIGNATURE, STATEMENT_LAYER
from topcoat.registry.oci import referrers_tag
from topcoat.report import document


class Promotions(SigningCase):
    def promote(self, *words: str, code: int = 0, key: bool = True) -> str:
        return self.topcoat("promote", "--without-inventories", *(self.key_words() if key else ()), *words, code=code)

    def setUp(self) -> None:
        """Each test has tags of its own in the one repository."""
        self.name = f"t{self.id().rpartition('.')[2][:40]}".replace("_", "-")

    def tags(self, repository: str = "set/base") -> set[str]:
        return {tag for tag in self.client().tags(repository) if tag.startswith("sha256-")}

    def test_the_set_is_signed_in_every_place_under_the_name_it_gets(self) -> None:
        digest = self.push("set/base", "one-a", text="a")
        self.promote("--from", "one-a", "--to", self.name, "--also", f"{self.server.host}/mirror")
        for repository in ("set/base", "mirror/base"):
            self.assertEqual(digest, self.client().head(repository, self.name))
            self.assert_accepted(f"{repository}:{self.name}")
            self.assert_accepted(f"{repository}@{digest}")

    def test_of_an_index_every_image_is_signed_in_every_place(self) -> None:
        index, children = self.push_index("set/base", "two-arch")
        self.promote("--from", "two-arch", "--to", self.name, "--also", f"{self.server.host}/mirror")
        client = self.client()
        for repository in ("set/base", "mirror/base"):
            self.assertEqual(index, client.head(repository, self.name))
            self.assert_accepted(f"{repository}:{self.name}")
            for architecture, digest in children.items():
                self.assert_accepted(f"{repository}@{digest}", "--arch", architecture)
                self.assertIn(f"{referrers_tag(digest)}.sig", self.tags(repository))

    def test_what_cannot_be_signed_is_not_promoted(self) -> None:
        digest = self.push("set/base", "one-b", text="b")
        client = self.client()
        index = oci.index_manifest([client.manifest("set/base", digest).descriptor])
        client.put_manifest("set/base", f"{referrers_tag(digest)}.sig", index, oci.OCI_INDEX)
        said = self.promote("--from", "one-b", "--to", self.name, code=1)
        self.assertIn("is no list of signatures", said)
        self.assertIsNone(self.client().head("set/base", self.name))

    def test_nothing_is_signed_without_a_key_or_in_a_dry_run(self) -> None:
        digest = self.push("set/base", "one-c", text="c")
        self.promote("--from", "one-c", "--to", self.name, "--dry-run")
        self.promote("--from", "one-c", "--to", self.name, key=False)
        self.assertNotIn(f"{referrers_tag(digest)}.sig", self.tags())
        self.assertIn("is one-c already", self.promote("--from", "one-c", "--to", self.name))
        self.assert_accepted(f"set/base:{self.name}")
        self.assertIn("signs nothing", self.promote("--rollback", "--to", self.name, code=2))

    def test_a_key_that_cannot_be_opened_ends_it_at_once(self) -> None:
        self.push("set/base", "one-d", text="d")
        words = ("promote", "--from", "one-d", "--to", self.name, "--sign-key", str(self.private["ours"]))
        self.assertIn("is encrypted", self.topcoat(*words, code=2))
        self.assertIn("name the key", self.topcoat("promote", "--sign-passphrase-file", str(self.passphrase), code=2))
        self.assertIsNone(self.client().head("set/base", self.name))

    def test_collection_keeps_them_with_what_they_are_of_and_lets_them_go_with_it(self) -> None:
        repository = "gone/base"
        old, kept = (self.push(repository, tag, text=tag) for tag in ("old", "kept"))
        client = self.client()
        for tag, digest in (("old", old), ("kept", kept)):
            self.sign(f"{repository}:{tag}")
            self.attest(repository, digest)
            client.attach(repository, client.manifest(repository, digest).descriptor, {"application/x-test": {"file": tag.encode()}})
        before = self.tags(repository)
        said = "a signature, a statement, the list of referrers, and announcements of it and of two bundles each"
        self.assertEqual(12, len(before), said)
        rules = KeepRules(tags=frozenset({"kept"}), younger_than=1.0, grace=1.0, newest=0)
        now = time.time()
        for hours in (0, 2, 4, 6):
            Collector(client, "gone").collect([repository], rules, dry_run=False, now=now + hours * 3600)
        mine = {tag for tag in before if tag.startswith(referrers_tag(kept))}
        self.assertEqual(mine, self.tags(repository))
        self.assertEqual(6, len(mine))
        self.assert_accepted(f"{repository}:kept")
        self.assertEqual(3, len(client.referrers(repository, kept)))

    def test_copies_take_them_along_and_lose_none_that_is_there(self) -> None:
        digest = self.push("copy/from/base", "one")
        self.sign("copy/from/base:one")
        self.attest("copy/from/base", digest)
        self.topcoat("copy", f"{self.server.host}/copy/from/base:one", "--to", f"{self.server.host}/copy/to")
        self.assertEqual(self.tags("copy/from/base"), self.tags("copy/to/base"))
        self.sign("copy/to/base:one", "other")
        self.sign("copy/from/base:one", "other")
        self.topcoat("copy", f"{self.server.host}/copy/from/base:one", "--to", f"{self.server.host}/copy/to")
        layers = self.client().manifest("copy/to/base", f"{referrers_tag(digest)}.sig").document["layers"]
        self.assertEqual(3, len(layers), "two that came along, one that was there")
        self.assert_accepted("copy/to/base:one", key="other", home=self.home(key="other"))

    def attest(self, repository: str, digest: str) -> str:
        """Provenance for one image of a run."""
        image = ImageResult(
            "base",
            Status.DONE,
            "update",
            "packages",
            "one package",
            repository=f"{self.server.host}/{repository}",
            digest=digest,
            base_digest=digest_of(b"base"),
            fingerprint="f" * 64,
            method="transaction",
            inventory=digest_of(b"inventory"),
            parent="root",
        )
        reused = ImageResult("same", Status.DONE, "reuse", "same", "nothing", repository=f"{self.server.host}/{repository}", digest=digest)
        receipt = Receipt(
            "site",
            "tag-1",
            Status.DONE,
            1000.0,
            2000.0,
            (image, reused),
            repositories=(("current", "a" * 64),),
            gated=({"package": "tool-1-1.noarch", "project": "openstack/tool", "commit": "b" * 40, "committed": 5, "change_url": "https://r/1"},),
            zuul={"build": "0" * 32, "buildset": "1" * 32, "items": []},
            recipes={"commit": "c" * 40, "changed": False},
        )
        path = self.folder / "receipt.json"
        document.save(receipt, path)
        return self.topcoat("attest", "--receipt", str(path), "--builder", "https://zuul.example.org/t/main", *self.key_words())

    def test_provenance_says_what_the_receipt_says_under_a_signature_that_openssl_checks(self) -> None:
        digest = self.push("p/base", "one")
        self.assertIn("attested base", self.attest("p/base", digest))
        self.assertIn("as it is base", self.attest("p/base", digest))
        client = self.client()
        manifest = client.manifest("p/base", f"{referrers_tag(digest)}.att")
        (layer,) = manifest.document["layers"]
        self.assertEqual(
            (STATEMENT_LAYER, {SIGNATURE: "", "predicateType": "https://slsa.dev/provenance/v1"}), (layer["mediaType"], layer["annotations"])
        )
        envelope = json.loads(client.blob("p/base", layer["digest"]))
        payload, signature = (base64.b64decode(text) for text in (envelope["payload"], envelope["signatures"][0]["sig"]))
        files = {"payload": b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload, "signature": signature}
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        words = ["openssl", "dgst", "-sha256", "-verify", str(self.public["ours"]), "-signature", "signature", "payload"]
        subprocess.run(words, check=True, capture_output=True, cwd=self.folder)
        statement = json.loads(payload)
        self.assertEqual("https://in-toto.io/Statement/v1", statement["_type"])
        self.assertEqual([{"name": f"{self.server.host}/p/base", "digest": {"sha256": digest.removeprefix("sha256:")}}], statement["subject"])
        predicate = statement["predicate"]
        self.assertEqual("https://zuul.example.org/t/main", predicate["runDetails"]["builder"]["id"])
        found = {entry["name"]: entry["digest"] for entry in predicate["buildDefinition"]["resolvedDependencies"]}
        self.assertEqual(
            {
                "base image": {"sha256": digest_of(b"base").removeprefix("sha256:")},
                "repository current": {"sha256": "a" * 64},
                "openstack/tool": {"gitCommit": "b" * 40},
                "recipes": {"gitCommit": "c" * 40},
            },
            found,
        )
        self.assertEqual("1970-01-01T00:16:40Z", predicate["runDetails"]["metadata"]["startedOn"])
