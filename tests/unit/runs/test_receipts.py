"""What a receipt says of places: the same on every machine."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from topcoat.errors import ContentError
from topcoat.runs.receipts import error_shape, place


class Places(unittest.TestCase):
    def test_a_recipe_is_named_from_the_folder_that_holds_the_tree(self) -> None:
        root = Path("/home/zuul/src/x/container-images")
        for where, expected in (
            ("/home/zuul/src/x/container-images/openstack/nova.yaml:12", "container-images/openstack/nova.yaml:12"),
            ("/home/zuul/src/x/container-images/base.yaml", "container-images/base.yaml"),
            ("/etc/site/profile.yaml:3", "profile.yaml:3"),
            ("nova.yaml:7", "nova.yaml:7"),
            ("", ""),
        ):
            with self.subTest(where):
                self.assertEqual(place(where, root), expected)

    def test_a_tree_given_as_a_dot_still_has_a_name(self) -> None:
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder).resolve() / "container-images"
            tree.mkdir()
            os.chdir(tree)
            self.assertEqual(place("openstack/nova.yaml:1", Path()), "container-images/openstack/nova.yaml:1")
            os.chdir(before)

    def test_an_error_names_no_folder_of_this_machine(self) -> None:
        error = ContentError("broken", where="/a/container-images/b.yaml:1", log="/tmp/run/logs/b.log")
        shape = error_shape(error, Path("/a/container-images"))
        self.assertEqual((shape["where"], shape["log"]), ("container-images/b.yaml:1", "logs/b.log"))
