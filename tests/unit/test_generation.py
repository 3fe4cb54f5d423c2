"""Results are named by the code that makes them."""

from __future__ import annotations

import ast
import shutil
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import topcoat
from topcoat import generation
from topcoat.model import Action, PlannedImage, Reason
from topcoat.runs import input_tags

PACKAGE = Path(topcoat.__file__).parent


class Generation(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for part in generation.IMAGES:
            source, copy = PACKAGE / part, self.folder / part
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy)

    def test_every_changed_added_or_removed_source_of_a_maker_is_another_generation(self) -> None:
        known = {generation.of(generation.IMAGES, self.folder)}
        self.assertEqual(known, {generation.images()})
        changes = {
            "changed": lambda: (self.folder / "layers/writer.py").write_text("# mended"),
            "worker": lambda: (self.folder / "transactions/worker/__main__.py").write_text("# mended"),
            "added": lambda: (self.folder / "builder/new.json").write_text("{}"),
            "removed": lambda: (self.folder / "builder/new.json").rename(self.folder / "builder/other.json"),
        }
        for name, change in changes.items():
            with self.subTest(name):
                change()
                generation.of.cache_clear()
                found = generation.of(generation.IMAGES, self.folder)
                self.assertNotIn(found, known)
                known.add(found)

    def test_compiled_files_do_not_count(self) -> None:
        before = generation.of(generation.IMAGES, self.folder)
        (self.folder / "layers/__pycache__").mkdir(exist_ok=True)
        (self.folder / "layers/__pycache__/writer.cpython-311.pyc").write_bytes(b"x")
        generation.of.cache_clear()
        self.assertEqual(before, generation.of(generation.IMAGES, self.folder))

    def test_nothing_that_makers_import_is_forgotten(self) -> None:
        for parts in (generation.IMAGES, generation.PACKAGES):
            for part in parts:
                place = PACKAGE / part
                for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
                    for room in _rooms(path):
                        with self.subTest(f"{path.relative_to(PACKAGE)} imports {room}"):
                            self.assertIn(room, {*parts, *generation.WITHOUT_INFLUENCE})

    def test_the_name_of_a_result_holds_the_generation(self) -> None:
        planned = PlannedImage("a", next(reason for reason in Reason if reason.action is Action.BUILD), "", None, "f")
        snapshot = SimpleNamespace(view=(), policies=())
        before = input_tags.build_tag(planned, "sha256:" + "0" * 64, snapshot)
        original = generation.images
        self.addCleanup(setattr, generation, "images", original)
        generation.images = lambda: "mended"
        self.assertNotEqual(before, input_tags.build_tag(planned, "sha256:" + "0" * 64, snapshot))


def _rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("topcoat."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "topcoat":
            found |= {alias.name for alias in node.names}
    return found
