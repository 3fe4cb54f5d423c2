"""What is exported, without git."""

from __future__ import annotations

import contextlib
import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import yaml

from tests import schemas
from topcoat.distgit import ExportOptions, container_yaml, image_labels, order_of, write_image
from topcoat.errors import ContentError
from topcoat.model import Base, CopyFile, Profile, Recipe

PROFILE = Profile("p", "demo", "9", "x86_64", Base("q.io/a/b:c", "sha256:" + "0" * 64), (), "r.io", "ns")
RECIPES = {
    "base": Recipe("base", "base", "infra", None),
    "a": Recipe("a", "fam", "openstack", "base"),
    "b": Recipe("b", "fam", "openstack", "a"),
    "c": Recipe("c", "fam", "openstack", "base"),
}


class Export(unittest.TestCase):
    def test_order(self) -> None:
        order = json.loads(order_of(RECIPES, tuple(RECIPES), PROFILE, ExportOptions("t")))
        schemas.check("build-order", order)
        self.assertEqual([["base"], ["a", "c"], ["b"]], order["levels"])
        self.assertEqual("a", order["images"]["b"]["parent"])
        self.assertEqual([["a"], ["b"]], json.loads(order_of(RECIPES, ("a", "b"), PROFILE, ExportOptions("t")))["levels"])

    def test_labels(self) -> None:
        self.assertEqual(
            {"com.redhat.component": "rdo-a", "name": "ns/a", "version": "9", "x": "y"},
            image_labels(RECIPES["a"], PROFILE, ExportOptions("t", "rdo-{image}", labels=(("x", "y"),))),
        )
        self.assertEqual({}, image_labels(RECIPES["a"], PROFILE, ExportOptions("t", required_labels=False)))

    def test_a_mode_that_git_would_lose_is_refused(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "conf.d").mkdir()
        (folder / "conf.d/a").write_text("a")
        for mode, target in ((None, "one"), (0o755, "two"), (0o640, "three")):
            recipe = replace(RECIPES["a"], copies=(CopyFile(folder / "conf.d", "/etc/conf.d", mode),))
            with self.subTest(mode=mode), self.assertRaises(ContentError) if mode == 0o640 else contextlib.nullcontext():
                write_image(recipe, PROFILE, ExportOptions("t"), folder / target)

    def test_files(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        write_image(RECIPES["a"], PROFILE, ExportOptions("t"), folder / "a")
        write_image(RECIPES["base"], PROFILE, ExportOptions("t"), folder / "base")
        self.assertEqual("FROM r.io/ns/base:t", (folder / "a/Containerfile").read_text().splitlines()[0])
        self.assertEqual(f"FROM q.io/a/b@sha256:{'0' * 64}", (folder / "base/Containerfile").read_text().splitlines()[0])
        self.assertEqual(["x86_64"], yaml.safe_load(container_yaml(PROFILE))["platforms"]["only"])
