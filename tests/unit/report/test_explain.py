"""Why an image is touched, and how a package got into it."""

from __future__ import annotations

import unittest

from topcoat.containerfile.labels import fingerprint_parts
from topcoat.model import Nevra, Package, PackageChange, Plan, PlannedImage, Reason, Recipe
from topcoat.report import explain, origins

CHANGE = PackageChange(Nevra.parse("python3-nova-1:31.0.0-1.el9.noarch"), Nevra.parse("python3-nova-1:31.1.0-1.el9.noarch"), "gating")
PLAN = Plan(
    "demo",
    (
        PlannedImage("base", Reason.UNCHANGED, "nothing changed", None, "f", "sha256:" + "0" * 64),
        PlannedImage("nova-api", Reason.RPM_GATED, "a gated package changes", "base", "f", "sha256:" + "1" * 64, (CHANGE,)),
    ),
)


class Explain(unittest.TestCase):
    def told(self, **more):
        given = {
            "parts": {"files": "a", "parent": "b"},
            "reference_parts": {"files": "x", "parent": "b"},
            "where": "nova.yaml:7",
            "changes_under_test": {},
        }
        return explain.explain(PLAN, "nova-api", **{**given, **more})

    def test_it_names_file_package_and_change(self):
        told = self.told(changes_under_test={str(CHANGE.new): ("openstack/nova", "https://review.example.org/1")})
        text = explain.text(told)
        for part in (
            "one update layer",
            "rpm-gated",
            "nova.yaml:7",
            "content of a file",
            "stands on  base (reuse, unchanged)",
            "from https://review.example.org/1",
        ):
            self.assertIn(part, text)
        self.assertEqual("https://review.example.org/1", told["packages"][0]["change_url"])

    def test_without_reference(self):
        told = self.told(reference_parts=None)
        self.assertEqual([], told["differs"])

    def test_labels_that_are_no_json(self):
        self.assertEqual({}, fingerprint_parts({"io.topcoat.fingerprint-parts": "{"}))
        self.assertEqual({}, fingerprint_parts({"io.topcoat.fingerprint-parts": "[]"}))
        self.assertEqual({"a": "b"}, fingerprint_parts({"io.topcoat.fingerprint-parts": '{"a":"b"}'}))


class Fixed(origins.Requirements):
    """Requirements given as a table."""

    def __init__(self, needs):
        self._needs = needs
        self.names = set(needs)


RECIPES = {
    "base": Recipe("base", "base", "infra", None, packages=(Package("dumb-init"),)),
    "nova-api": Recipe("nova-api", "nova", "openstack", "base", packages=(Package("openstack-nova-api"), Package("dumb-init"))),
}
NEEDS = {
    "dumb-init": {"glibc"},
    "openstack-nova-api": {"python3-nova", "glibc"},
    "python3-nova": {"python3-oslo-config", "openstack-nova-api"},
    "python3-oslo-config": set(),
    "glibc": set(),
    "rootfiles": set(),
}


class Origins(unittest.TestCase):
    def sentence(self, package):
        return origins.origin(package, RECIPES, "nova-api", Fixed(NEEDS)).sentence()

    def test_each_way(self):
        self.assertEqual("recipe nova-api installs openstack-nova-api", self.sentence("openstack-nova-api"))
        self.assertEqual("recipe base installs dumb-init", self.sentence("dumb-init"))
        self.assertEqual(
            "recipe nova-api installs openstack-nova-api, which requires python3-nova, which requires python3-oslo-config",
            self.sentence("python3-oslo-config"),
        )
        self.assertEqual("recipe base installs dumb-init, which requires glibc", self.sentence("glibc"))
        self.assertEqual("the base image holds rootfiles", self.sentence("rootfiles"))
