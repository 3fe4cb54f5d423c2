"""A receipt survives its JSON form, and what is no receipt is refused with a sentence."""

from __future__ import annotations

import json
import tempfile
import unittest
from dataclasses import fields
from pathlib import Path

import jsonschema

from tests.unit.report import fixtures
from topcoat.errors import UsageError
from topcoat.model import ImageResult, Receipt
from topcoat.report import document, load, receipt_from_dict, receipt_to_dict, save


class Document(unittest.TestCase):
    def test_round_trip(self):
        for make in (fixtures.green, fixtures.red, fixtures.idle, fixtures.hostile):
            receipt = make()
            shape = json.loads(json.dumps(receipt_to_dict(receipt)))
            jsonschema.Draft202012Validator(document.schema()).validate(shape)
            self.assertEqual(receipt, receipt_from_dict(shape))

    def test_the_schema_names_every_field(self):
        schema = document.schema()
        self.assertEqual({field.name for field in fields(Receipt)}, set(schema["properties"]))
        self.assertEqual({field.name for field in fields(ImageResult)}, set(schema["$defs"]["image"]["properties"]))

    def test_unknown_fields_of_a_later_minor_version_are_ignored(self):
        shape = receipt_to_dict(fixtures.green())
        shape["colour"] = "green"
        shape["images"][0]["colour"] = "green"
        self.assertEqual(fixtures.green(), receipt_from_dict(shape))

    def test_save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "new" / "receipt.json"
            save(fixtures.green(), path)
            self.assertEqual(fixtures.green(), load(path))
            self.assertEqual(["receipt.json"], [item.name for item in path.parent.iterdir()])

    def test_what_is_no_receipt_is_refused_by_name(self):
        bad = dict(receipt_to_dict(fixtures.green()))
        bad["images"] = [{"name": 3}]
        cases = {
            "": "cannot be read",
            "{": "cannot be read",
            "[]": "not a receipt",
            "{}": "not a receipt",
            '{"schema": "https://topcoat.dev/schemas/receipt/99"}': "not a receipt",
            json.dumps(bad): "not a valid receipt",
            json.dumps({**bad, "images": [entry for entry in receipt_to_dict(fixtures.green())["images"] for _ in range(2)]}): "twice",
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "receipt.json"
            for text, message in cases.items():
                path.write_text(text)
                with self.assertRaisesRegex(UsageError, message) as caught:
                    load(path)
                self.assertEqual(str(path), caught.exception.where)
                self.assertTrue(caught.exception.next_step)
            path.write_bytes(b"\xff\xfe{")
            with self.assertRaisesRegex(UsageError, "cannot be read"):
                load(path)
            with self.assertRaisesRegex(UsageError, "cannot be read"):
                load(Path(folder) / "missing.json")
