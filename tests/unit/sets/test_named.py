"""A file that shall name a set names one, or is refused in one line."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError, UsageError
from topcoat.model import Base, Profile
from topcoat.registry import Registries
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
