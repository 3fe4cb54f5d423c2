"""What is exported, without git."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

import yaml

from topcoat.distgit import Options, container_yaml, image_labels, order_of, write_image
from topcoat.model import Base, Profile, Recipe

PROFILE = Profile("p", "demo", "9", "x86_64", Base("q.io/a/b:c", "sha256:" + "0" * 64), (), "r.io", "ns")
RECIPES = {
    "base": Recipe("base", "base", "infra", None),
    "a": Recipe("a", "fam", "openstack", "base"),
    "b": Recipe("b", "fam", "openstack", "a"),
    "c": Recipe("c", "fam", "openstack", "base"),
}


class Export(unittest.TestCase):
    def test_order(self) -> None:
        order = json.loads(order_of(RECIPES, tuple(RECIPES), PROFILE, Options("t")))
        self.assertEqual([["base"], ["a", "c"], ["b"]], order["levels"])
        self.assertEqual("a", order["images"]["b"]["parent"])
        self.assertEqual([["a"], ["b"]], json.loads(order_of(RECIPES, ("a", "b"), PROFILE, Options("t")))["levels"])

    def test_labels(self) -> None:
        self.assertEqual(
            {"com.redhat.component": "rdo-a", "name": "ns/a", "version": "9", "x": "y"},
            image_labels(RECIPES["a"], PROFILE, Options("t", "rdo-{image}", labels=(("x", "y"),))),
        )
        self.assertEqual({}, image_labels(RECIPES["a"], PROFILE, Options("t", required_labels=False)))

    def test_files(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        write_image(RECIPES["a"], PROFILE, Options("t"), folder / "a")
        write_image(RECIPES["base"], PROFILE, Options("t"), folder / "base")
        self.assertEqual("FROM r.io/ns/base:t", (folder / "a/Containerfile").read_text().splitlines()[0])
        self.assertEqual(f"FROM q.io/a/b@sha256:{'0' * 64}", (folder / "base/Containerfile").read_text().splitlines()[0])
        self.assertEqual(["x86_64"], yaml.safe_load(container_yaml(PROFILE))["platforms"]["only"])
