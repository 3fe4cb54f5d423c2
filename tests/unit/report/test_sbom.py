"""Bills of materials: valid, complete, the same bytes twice."""

from __future__ import annotations

import json
import unittest

from tests.unit.report.fixtures import digest
from topcoat.model import ImageReference, Nevra
from topcoat.report import sbom

SUBJECT = sbom.Subject(ImageReference("registry.example.org:5000", "openstack/nova-api", "current", digest("nova")), 1795313880.0, "centos")
MATERIALS = [
    sbom.Material(Nevra.parse("python3-nova-1:31.0.0-1.el9.noarch"), "openstack-nova-31.0.0-1.el9.src.rpm"),
    sbom.Material(Nevra.parse("libstdc++-11.4.1-2.el9.x86_64"), "gcc-11.4.1-2.el9.src.rpm"),
    sbom.Material(Nevra.parse("libstdc++-11.4.1-2.el9.i686"), ""),
]


class Purl(unittest.TestCase):
    def test_rpm(self):
        self.assertEqual(
            "pkg:rpm/centos/python3-nova@31.0.0-1.el9?arch=noarch&epoch=1&upstream=openstack-nova-31.0.0-1.el9.src.rpm",
            sbom.purl(MATERIALS[0], "centos"),
        )
        self.assertIn("/libstdc%2B%2B@", sbom.purl(MATERIALS[1], "centos"))

    def test_image(self):
        self.assertIn("repository_url=registry.example.org%3A5000%2Fopenstack%2Fnova-api&tag=current", SUBJECT.purl)


class CycloneDx(unittest.TestCase):
    def test_it_is_valid_by_its_own_schema(self):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        text = sbom.cyclonedx(SUBJECT, MATERIALS)
        document = json.loads(text)
        self.assertEqual(("CycloneDX", "1.6", 3), (document["bomFormat"], document["specVersion"], len(document["components"])))
        self.assertEqual(digest("nova"), document["metadata"]["component"]["version"])
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))

    def test_the_same_twice_in_any_order(self):
        self.assertEqual(sbom.cyclonedx(SUBJECT, MATERIALS), sbom.cyclonedx(SUBJECT, MATERIALS[::-1]))


class Spdx(unittest.TestCase):
    def test_every_package_is_contained_and_ids_differ(self):
        document = json.loads(sbom.spdx(SUBJECT, MATERIALS))
        ids = [package["SPDXID"] for package in document["packages"]]
        self.assertEqual(4, len(set(ids)))
        for name in ids:
            self.assertRegex(name, r"^SPDXRef-[a-zA-Z0-9.-]+$")
        contained = {relation["relatedSpdxElement"] for relation in document["relationships"] if relation["relationshipType"] == "CONTAINS"}
        self.assertEqual(set(ids) - {"SPDXRef-image"}, contained)
        self.assertEqual("2026-11-22T02:18:00Z", document["creationInfo"]["created"])

    def test_the_same_twice_in_any_order(self):
        self.assertEqual(sbom.spdx(SUBJECT, MATERIALS), sbom.spdx(SUBJECT, MATERIALS[::-1]))
