"""Documents that leave the product: each has a published schema, its page names it, and what the product writes is of it."""

from __future__ import annotations

import json
import unittest
from dataclasses import replace

import jsonschema

from tests import schemas
from tests.unit.documents import doors
from tests.unit.report import fixtures, test_board, test_changelog
from topcoat.model import Receipt
from topcoat.promotion.history import Entry
from topcoat.promotion.promoter import Promoted
from topcoat.promotion.sets import SetRecord
from topcoat.report import document
from topcoat.rpm import inventory
from topcoat.sets import board
from topcoat.zuul.returned import returned_artifacts

PAGE = schemas.FOLDER / "index.rst"
ROOT = schemas.FOLDER.parents[2]


def receipts() -> list[Receipt]:
    """One that is well, one with every kind of trouble, one with nothing to do."""
    return [fixtures.green(), fixtures.red(), fixtures.idle()]


class Published(unittest.TestCase):
    def test_each_is_a_schema_that_names_itself(self) -> None:
        for path in sorted(schemas.FOLDER.glob("*.schema.json")):
            shape = json.loads(path.read_text(encoding="utf-8"))
            jsonschema.Draft202012Validator.check_schema(shape)
            self.assertRegex(shape["$id"], rf"^https://topcoat\.dev/schemas/{path.name.partition('.')[0]}/\d+$")
            self.assertTrue(shape["title"])

    def test_the_page_names_each_and_none_that_is_not_there(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        for path in sorted(schemas.FOLDER.glob("*.schema.json")):
            self.assertIn(f"<{path.name}>", text)

    def test_each_schema_that_the_sources_name_is_published(self) -> None:
        """A new kind of document, or a new version of one, comes with its schema."""
        known = {schemas.published(path.name.partition(".")[0])["$id"] for path in schemas.FOLDER.glob("*.schema.json")}
        known |= {schemas.published(name)["$id"] for name in ("receipt", "event")}
        for path in sorted((ROOT / "tools/topcoat").rglob("*.py")):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("SCHEMA = ") and "https://" in line and "set-contents" not in line:  # that one is packed, and ours alone
                    self.assertIn(line.partition('"')[2].partition('"')[0], known, path)

    def test_the_check_can_fail(self) -> None:
        plan = doors._plan()
        for damaged in ({**plan, "unknown": 1}, {**plan, "gated": [1]}, {**plan, "schema": "https://topcoat.dev/schemas/plan/2"}):
            with self.assertRaises(AssertionError):
                schemas.check("plan", damaged)


class Real(unittest.TestCase):
    def test_runs(self) -> None:
        for receipt in receipts():
            schemas.check("receipt", document.receipt_to_dict(receipt))
        green = fixtures.green()
        there = replace(green, images=tuple(replace(image, repository=f"r.example.org/{image.repository}") for image in green.images))
        schemas.check("artifacts", returned_artifacts(there)["zuul"]["artifacts"])  # type: ignore[index]
        schemas.check("plan", doors._plan())

    def test_inventory(self) -> None:
        files = inventory.Inventory.from_files({"packages.json": json.dumps(doors._inventory()).encode(), "installed.solv.gz": b"x"}).to_files()
        schemas.check("inventory", json.loads(files["packages.json"]))

    def test_promotion(self) -> None:
        record = SetRecord.from_json(doors._record().decode())
        schemas.check("promotion-record", record.as_dict())
        entry = Entry("1-a", "n", "promotion", "promoted", "s", 5.0, 5.0, by="me", record=record)
        schemas.check("promotion-history", json.loads(entry.to_json()))
        schemas.check("promotion", Promoted("promoted", "s", "n", record=record.as_dict()).as_dict())

    def test_sets(self) -> None:
        case = test_changelog.Renderings("test_one_row_a_source_package")
        case.setUp()
        schemas.check("changes", case.shape)
        line = test_board.line("s1", "pending", 1, test_board.job("deploy", "missing"))
        shown = test_board.document(test_board.stream("current-passed-ci", line))
        schemas.check("board", {**shown, "schema": board.SCHEMA})
        schemas.check("board", {**test_board.set_page("current-passed-ci", line, [test_board.image("a", layers=[])]), "schema": board.SCHEMA})


if __name__ == "__main__":
    unittest.main()
