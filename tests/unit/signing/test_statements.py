"""What is signed is always the same bytes, and whatever lies in its place is one line."""

from __future__ import annotations

import base64
import json
import unittest

from topcoat.errors import ContentError
from topcoat.model import ImageResult, Receipt, Status
from topcoat.registry import digest_of
from topcoat.signing import bundles, statements
from topcoat.signing.keys import SigningKey
from topcoat.signing.provenance import provenance

DIGEST = digest_of(b"image")


class Claims(unittest.TestCase):
    def test_there_and_back(self) -> None:
        data = statements.claim("host:5000/a/b:tag", DIGEST)
        self.assertEqual(("host:5000/a/b:tag", DIGEST), statements.read_claim(data))
        self.assertEqual(data, statements.claim("host:5000/a/b:tag", DIGEST))
        critical = json.loads(data)["critical"]
        self.assertEqual("cosign container image signature", critical["type"], "containers/image and cosign refuse any other")

    def test_what_is_none_is_one_line(self) -> None:
        good = json.loads(statements.claim("h.x/a", DIGEST))
        spoilt = (
            b"",
            b"[]",
            b"{}",
            b'{"critical": 5}',
            json.dumps({**good, "critical": {**good["critical"], "type": "other"}}).encode(),
            json.dumps({**good, "critical": {**good["critical"], "image": {"docker-manifest-digest": "sha256:x"}}}).encode(),
            json.dumps({**good, "critical": {**good["critical"], "identity": []}}).encode(),
        )
        for data in spoilt:
            with self.assertRaises(ContentError) as caught:
                statements.read_claim(data)
            self.assertNotIn("\n", str(caught.exception))


class Envelopes(unittest.TestCase):
    def test_there_and_back(self) -> None:
        payload = statements.statement("h.x/a", DIGEST, "https://slsa.dev/provenance/v1", {"a": 1})
        self.assertEqual((payload, [b"signature"]), statements.read_envelope(statements.envelope(payload, b"signature")))

    def test_the_bytes_to_be_signed_are_those_of_the_specification(self) -> None:
        self.assertEqual(b"DSSEv1 28 application/vnd.in-toto+json 11 hello world", statements.to_be_signed(b"hello world"))

    def test_what_is_none_is_one_line(self) -> None:
        good = json.loads(statements.envelope(b"x", b"y"))
        for change in ({"payloadType": "text"}, {"payload": "?"}, {"signatures": 5}, {"signatures": [{"sig": 5}]}, {"signatures": [{"sig": "?"}]}):
            with self.assertRaises(ContentError):
                statements.read_envelope(json.dumps({**good, **change}).encode())


class Provenance(unittest.TestCase):
    def test_what_is_not_known_is_left_out(self) -> None:
        image = ImageResult("a", Status.DONE, "build", "new", "it is new", repository="h.x/a", digest=DIGEST)
        found = provenance(Receipt("site", "tag", Status.DONE, 0, 1, (image,), repositories=(("local", "no checksum"),)), image)
        self.assertEqual([], found["buildDefinition"]["resolvedDependencies"])
        self.assertEqual("tag", found["runDetails"]["metadata"]["invocationId"])
        self.assertNotIn("byproducts", found["runDetails"])

    def test_a_commit_that_is_none_is_no_digest(self) -> None:
        image = ImageResult("a", Status.DONE, "build", "new", "it is new", repository="h.x/a", digest=DIGEST)
        gated = tuple({"package": "p", "commit": commit} for commit in (None, "master", "b" * 40, "b" * 40))
        found = provenance(Receipt("site", "tag", Status.DONE, 0, 1, (image,), gated=gated, recipes={"commit": "HEAD"}), image)
        self.assertEqual([{"gitCommit": "b" * 40}], [entry["digest"] for entry in found["buildDefinition"]["resolvedDependencies"]])


class Readable(unittest.TestCase):
    def test_an_envelope_is_what_cosign_decodes(self) -> None:
        document = json.loads(statements.envelope(b"{}", b"\x00"))
        self.assertEqual(b"{}", base64.b64decode(document["payload"]))
        self.assertEqual(["keyid", "sig"], sorted(document["signatures"][0]))


class Bundles(unittest.TestCase):
    def test_there_and_back(self) -> None:
        key = SigningKey.generate()
        payload = statements.statement("h.x/a", DIGEST, bundles.SIGNED, {})
        found = bundles.read(bundles.bundle(payload, key))
        self.assertEqual((key.public.hint, payload), (found.hint, found.payload))
        self.assertTrue(found.is_by(key))
        self.assertFalse(found.is_by(SigningKey.generate()))

    def test_what_is_none_is_one_line(self) -> None:
        key = SigningKey.generate()
        good = json.loads(bundles.bundle(statements.statement("h.x/a", DIGEST, bundles.SIGNED, {}), key))
        spoilt: tuple[object, ...] = ([], {}, {**good, "verificationMaterial": 5}, {**good, "dsseEnvelope": {"payloadType": "other"}})
        for document in spoilt:
            with self.assertRaises(ContentError) as caught:
                bundles.read(json.dumps(document).encode())
            self.assertNotIn("\n", str(caught.exception))
        certified = {**good, "verificationMaterial": {"certificate": {"rawBytes": ""}}}
        self.assertEqual("", bundles.read(json.dumps(certified).encode()).hint)
