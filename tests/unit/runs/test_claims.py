"""What a configuration may say of its image's inventory."""

from __future__ import annotations

import json
import unittest

from topcoat.runs.claims import Claim, Sketch, claim, claimed

FILES = {"packages.json": "sha256:" + "1" * 64, "installed.solv.gz": "sha256:" + "2" * 64}
LAYERS = ["sha256:" + "a" * 64, "sha256:" + "b" * 64]


class Claims(unittest.TestCase):
    def test_a_claim_is_read_back(self) -> None:
        self.assertEqual(Claim(FILES), claimed(claim(FILES, LAYERS), LAYERS))

    def test_a_claim_about_other_layers_is_none(self) -> None:
        text = claim(FILES, LAYERS)
        for layers in (LAYERS[:1], [*LAYERS, "sha256:" + "c" * 64], LAYERS[::-1], []):
            with self.subTest(layers):
                self.assertEqual(Claim(), claimed(text, layers))

    def test_whatever_else_a_label_holds_is_none(self) -> None:
        layers = json.loads(claim(FILES, LAYERS))["layers"]
        for text in (
            None,
            "",
            "5",
            "[]",
            "{",
            "[" * 3000,
            json.dumps({"layers": layers}),
            json.dumps({"layers": layers, "files": []}),
            json.dumps({"layers": layers, "files": {}}),
            json.dumps({"layers": layers, "files": {"a": "sha256:../../etc"}}),
            json.dumps({"layers": layers, "files": {"a": 5}}),
            json.dumps({"layers": layers, "files": {str(n): "sha256:" + "1" * 64 for n in range(9)}}),
        ):
            with self.subTest(text):
                self.assertEqual(Claim(), claimed(text, LAYERS))

    def test_the_document_of_the_files_is_about_some_of_exactly_these_layers(self) -> None:
        digest = FILES["packages.json"]
        label = claim(FILES, LAYERS, Sketch(digest, 2))
        self.assertEqual(Claim(FILES, Sketch(digest, 2)), claimed(label, LAYERS))
        self.assertIsNone(claimed(label, LAYERS[:1]).sketch)
        self.assertIsNone(claimed(claim(FILES, LAYERS), LAYERS).sketch)
        for lie in ({"layers": 0}, {"layers": 3}, {"layers": -1}, {"layers": "2"}, {"layers": True}, {"digest": "../x"}, {"digest": None}):
            text = json.dumps(json.loads(label) | {"sketch": {"digest": digest, "layers": 2} | lie})
            with self.subTest(lie):
                self.assertEqual(Claim(FILES), claimed(text, LAYERS), "what it says of the inventory holds")
