"""The tree of this repository: clean, complete, and what the documentation says of it."""

from __future__ import annotations

import unittest
from pathlib import Path

from topcoat.lists import lint, load_template, resolve
from topcoat.recipes import apply_profile, load_profile, load_tree
from topcoat.report.graph import ImageGraph

ROOT = Path(__file__).parents[3] / "container-images"


class OwnTree(unittest.TestCase):
    def test_lint_finds_nothing(self) -> None:
        self.assertEqual([str(problem) for problem in lint(ROOT, variables={}).found], [])

    def test_104_images_of_two_classes(self) -> None:
        recipes = load_tree(ROOT)
        self.assertEqual(len(recipes), 104)
        self.assertEqual({recipe.image_class for recipe in recipes.values()}, {"openstack", "infra"})

    def test_names_hold_no_build_type_and_no_product(self) -> None:
        for name in load_tree(ROOT):
            for word in ("binary", "source", "centos", "rhel", "ubi", "tripleo", "kolla"):
                self.assertNotIn(word, name)

    def test_no_start_script_is_baked_in(self) -> None:
        for recipe in load_tree(ROOT).values():
            for package in recipe.packages:
                self.assertNotIn(package.name, ("dumb-init", "tini", "openstack-tripleo-common-containers"))
            self.assertNotIn("kolla_start", " ".join(recipe.entrypoint or ()))

    def test_each_deployed_image_starts_a_program_and_has_a_description(self) -> None:
        for recipe in load_tree(ROOT).values():
            self.assertTrue(recipe.description, recipe.name)
            if not recipe.internal and recipe.name != "designate-base":
                self.assertTrue(recipe.entrypoint, recipe.name)

    def test_web_servers_stop_gracefully(self) -> None:
        for recipe in load_tree(ROOT).values():
            if recipe.entrypoint and recipe.entrypoint[0].endswith("/httpd"):
                self.assertEqual(recipe.stop_signal, "SIGWINCH", recipe.name)
                self.assertIsNone(recipe.user, f"{recipe.name}: httpd changes to the service's user itself")

    def test_nobody_gets_ids_outside_the_table_and_the_classic_ids_hold(self) -> None:
        users = {user.name: user for recipe in load_tree(ROOT).values() for user in recipe.users}
        self.assertEqual(
            {name: users[name].uid for name in ("nova", "keystone", "mysql", "qemu", "kolla")},
            {"nova": 42436, "keystone": 42425, "mysql": 42434, "qemu": 107, "kolla": 42400},
        )

    def test_the_list_names_the_images_of_a_deployment(self) -> None:
        profile = load_profile("demo", root=ROOT, variables={})
        recipes = apply_profile(load_tree(ROOT), profile)
        template = load_template("deploy", root=ROOT)
        default = resolve(template, profile=profile, values={}, recipes=recipes)
        self.assertEqual(len([image for image in default.images if not image.external]), 87)
        self.assertEqual(len([image for image in default.images if image.external]), 8)
        other = resolve(template, profile=profile, values={"neutron_driver": "other"}, recipes=recipes)
        gone = {image.name for image in default.images} - {image.name for image in other.images}
        self.assertEqual(gone, {"neutron-metadata-agent-ovn", "ovn-controller", "ovn-nb-db-server", "ovn-northd", "ovn-sb-db-server"})

    def test_the_real_profile_differs_in_data_only(self) -> None:
        recipes = load_tree(ROOT)
        demo = apply_profile(recipes, load_profile("demo", root=ROOT, variables={}))
        real = apply_profile(recipes, load_profile("centos9-rdo", root=ROOT, variables={"namespace": "x"}))
        self.assertEqual(set(demo) - set(real), {"neutron-mlnx-agent"})
        self.assertEqual(len(ImageGraph(real).order), 103)
