"""A file that shall name a set names one, or is refused in one line."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError, UsageError
from topcoat.model import Base, Profile
from topcoat.model.receipt import ImageResult, Receipt
from topcoat.registry import Registries
from topcoat.report import receipt_to_dict
from topcoat.sets import NamedSet, find

DIGEST = "sha256:" + "1" * 64
RECORD = {
    "schema": 1,
    "name": "floating",
    "source": "two",
    "images": {"nova": DIGEST},
    "repositories": {"nova": "set/nova"},
    "previous": {},
    "previous_source": "",
    "time": 5.0,
    "by": "me",
}


class OfFiles(unittest.TestCase):
    def find(self, content: str) -> NamedSet:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "set.json")
            path.write_text(content)
            profile = Profile(
                name="x", distro="d", release="1", arch="x86_64", registry="r.example.org", namespace="set", base=Base(""), repositories=()
            )
            return find(str(path), registries=Registries(), profile=profile, images=())

    def test_what_a_promotion_wrote(self) -> None:
        found = self.find(json.dumps({"record": RECORD, "places": ["r.example.org/set"]}))
        self.assertEqual(("two", {"nova": DIGEST}), (found.source, found.digests))
        self.assertEqual("r.example.org/set/nova", found.images["nova"].name)

    def test_a_promotion_that_did_not_end_well(self) -> None:
        for document in ({"record": None, "places": ["r.example.org/set"]}, {"record": RECORD, "places": []}, {"record": RECORD}):
            with self.subTest(document), self.assertRaisesRegex(ContentError, "did not end well"):
                self.find(json.dumps(document))

    def test_whatever_is_none_is_refused(self) -> None:
        shapes = [{"record": RECORD, "places": places} for places in ({"a": "b"}, "r.example.org", [5])]
        shapes += [{"record": record, "places": ["r.example.org/set"]} for record in ([], "x", {"schema": 1}, {**RECORD, "time": True})]
        for content in (*map(json.dumps, shapes), "[]", "no JSON", "5", "{}", '{"record": ' + "[" * 5000):
            with self.subTest(content[:60]), self.assertRaises((UsageError, ContentError)):
                self.find(content)

    def test_a_part_of_a_run_is_no_set(self) -> None:
        image = ImageResult("nova", "done", "update", "package-updates", "", repository="r.example.org/set/nova", digest=DIGEST)
        for shard in ("", "1/2"):
            receipt = Receipt("x", "one", "done", 1.0, 2.0, (image,), shard=shard)
            text = json.dumps(receipt_to_dict(receipt))
            if shard:
                with self.assertRaisesRegex(ContentError, "part 1/2 alone"):
                    self.find(text)
            else:
                self.assertEqual({"nova": DIGEST}, self.find(text).digests)
