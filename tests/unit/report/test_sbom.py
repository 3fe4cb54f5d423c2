"""Bills of materials: valid, complete, the same bytes twice."""

from __future__ import annotations

import json
import unittest

from packageurl import PackageURL

from tests.unit.report.fixtures import digest
from topcoat.model import ImageReference, Nevra
from topcoat.report import licences, sbom

SYSTEM = sbom.System("centos", "9")
SUBJECT = sbom.Subject(ImageReference("registry.example.org:5000", "openstack/nova-api", "current", digest("nova")), 1795313880.0, SYSTEM)
MATERIALS = [
    sbom.Material(Nevra.parse("python3-nova-1:31.0.0-1.el9.noarch"), "openstack-nova-31.0.0-1.el9.src.rpm", "ASL 2.0", "RDO", "ab" * 32),
    sbom.Material(Nevra.parse("libstdc++-11.4.1-2.el9.x86_64"), "gcc-11.4.1-2.el9.src.rpm", "GPLv3+ and GPLv3+ with exceptions", "CentOS", "cd" * 32),
    sbom.Material(Nevra.parse("libstdc++-11.4.1-2.el9.i686"), ""),
]


class Purl(unittest.TestCase):
    def test_rpm(self):
        self.assertEqual(
            "pkg:rpm/centos/python3-nova@31.0.0-1.el9?arch=noarch&distro=centos-9&epoch=1&upstream=openstack-nova-31.0.0-1.el9.src.rpm",
            sbom.purl(MATERIALS[0], SUBJECT.system),
        )
        self.assertIn("/libstdc%2B%2B@", sbom.purl(MATERIALS[1], SUBJECT.system))

    def test_a_package_of_a_module_names_its_stream_to_every_reader(self):
        material = sbom.Material(Nevra.parse("nodejs-1:16.1-1.module_el9.x86_64"), "", module="nodejs:16:9010:abcd")
        self.assertEqual("nodejs:16:9010:abcd", PackageURL.from_string(sbom.purl(material, SYSTEM)).qualifiers["rpmmod"])
        self.assertIn("rpmmod=nodejs%3A16%3A9010%3Aabcd", sbom.spdx(SUBJECT, [material]))
        (found,) = [entry for entry in json.loads(sbom.cyclonedx(SUBJECT, [material]))["components"] if entry["name"] == "nodejs"]
        told = {entry["name"]: entry["value"] for entry in found["properties"]}
        for name in ("syft:metadata:modularityLabel", "aquasecurity:trivy:Modularitylabel"):
            self.assertEqual("nodejs:16:9010:abcd", told[name])

    def test_image(self):
        self.assertIn("repository_url=registry.example.org%3A5000%2Fopenstack%2Fnova-api&tag=current", SUBJECT.purl)


class CycloneDx(unittest.TestCase):
    def test_it_is_valid_by_its_own_schema(self):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        text = sbom.cyclonedx(SUBJECT, MATERIALS)
        document = json.loads(text)
        self.assertEqual(("CycloneDX", "1.6", 4), (document["bomFormat"], document["specVersion"], len(document["components"])))
        self.assertEqual(digest("nova"), document["metadata"]["component"]["version"])
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))

    def test_a_scanner_finds_the_system_and_every_package_below_it(self):
        document = json.loads(sbom.cyclonedx(SUBJECT, MATERIALS))
        (system,) = [component for component in document["components"] if component["type"] == "operating-system"]
        self.assertEqual(("centos", "9"), (system["name"], system["version"]))
        below = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
        self.assertEqual([system["bom-ref"]], below[document["metadata"]["component"]["bom-ref"]])
        found = {component["bom-ref"]: component for component in document["components"] if component is not system}
        self.assertEqual(set(found), set(below[system["bom-ref"]]))
        self.assertEqual({"centos-9"}, {PackageURL.from_string(component["purl"]).qualifiers["distro"] for component in found.values()})
        nova = next(component for component in found.values() if component["name"] == "python3-nova")
        self.assertEqual(
            ("Apache-2.0", "RDO", {"alg": "SHA-256", "content": "ab" * 32}),
            (nova["licenses"][0]["license"]["id"], nova["supplier"]["name"], nova["hashes"][0]),
        )

    def test_the_source_package_is_told_in_the_words_of_each_reader(self):
        components = {component["bom-ref"]: component for component in json.loads(sbom.cyclonedx(SUBJECT, MATERIALS))["components"]}
        told = {entry["name"]: entry["value"] for entry in components[sbom.purl(MATERIALS[0], SYSTEM)]["properties"]}
        expected = {
            "topcoat:source-rpm": "openstack-nova-31.0.0-1.el9.src.rpm",
            "syft:package:type": "rpm",
            "syft:package:metadataType": "rpm-db-entry",
            "syft:metadata:epoch": "1",
            "syft:metadata:sourceRpm": "openstack-nova-31.0.0-1.el9.src.rpm",
            "aquasecurity:trivy:SrcName": "openstack-nova",
            "aquasecurity:trivy:SrcVersion": "31.0.0",
            "aquasecurity:trivy:SrcRelease": "1.el9",
            "aquasecurity:trivy:SrcEpoch": "1",
        }
        self.assertEqual(expected, told)
        without = {entry["name"] for entry in components[sbom.purl(MATERIALS[2], SYSTEM)]["properties"]}
        self.assertEqual({"syft:package:type", "syft:package:metadataType"}, without)
        packages = {package["SPDXID"]: package for package in json.loads(sbom.spdx(SUBJECT, MATERIALS))["packages"]}
        texts = {package.get("sourceInfo") for package in packages.values()}
        self.assertEqual({None, "built package from: openstack-nova 1:31.0.0-1.el9", "built package from: gcc 11.4.1-2.el9"}, texts)

    def test_the_same_twice_in_any_order(self):
        self.assertEqual(sbom.cyclonedx(SUBJECT, MATERIALS), sbom.cyclonedx(SUBJECT, MATERIALS[::-1]))


class Licences(unittest.TestCase):
    def test_what_is_an_expression_and_what_means_one(self):
        for words, expected in {
            "MIT": "MIT",
            "gpl-2.0-or-later AND (mit or apache-2.0)": "GPL-2.0-or-later AND (MIT OR Apache-2.0)",
            "LGPL-2.1-or-later WITH GCC-exception-2.0": "LGPL-2.1-or-later WITH GCC-exception-2.0",
            "ASL 2.0": "Apache-2.0",
            "GPLv2+ or (MIT and ASL 2.0)": "GPL-2.0-or-later OR (MIT AND Apache-2.0)",
            "BSD": "",
            "GPLv3+ and BSD": "",
            "GPLv3+ with exceptions": "",
            "See the package's upstream": "",
            "(": "",
            "and and": "",
            "": "",
        }.items():
            with self.subTest(words):
                self.assertEqual(expected, licences.expression(words))

    def test_of_several_the_bill_holds_an_expression_that_the_schema_takes(self):
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        material = sbom.Material(Nevra.parse("a-1-1.noarch"), "", "GPLv2+ or MIT", "V")
        text = sbom.cyclonedx(SUBJECT, [*MATERIALS, material])
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))
        (found,) = [component for component in json.loads(text)["components"] if component["name"] == "a"]
        self.assertEqual("GPL-2.0-or-later OR MIT", found["licenses"][0]["expression"])


class Spdx(unittest.TestCase):
    def test_every_package_is_contained_and_ids_differ(self):
        document = json.loads(sbom.spdx(SUBJECT, MATERIALS))
        ids = [package["SPDXID"] for package in document["packages"]]
        self.assertEqual(5, len(set(ids)))
        for name in ids:
            self.assertRegex(name, r"^SPDXRef-[a-zA-Z0-9.-]+$")
        contained = {relation["relatedSpdxElement"] for relation in document["relationships"] if relation["relationshipType"] == "CONTAINS"}
        self.assertEqual(set(ids) - {"SPDXRef-image"}, contained)
        self.assertEqual(["OPERATING-SYSTEM"], [p["primaryPackagePurpose"] for p in document["packages"] if p["SPDXID"] == "SPDXRef-OperatingSystem"])
        parents = {relation["relatedSpdxElement"]: relation["spdxElementId"] for relation in document["relationships"]}
        self.assertEqual({"SPDXRef-OperatingSystem"}, {parents[name] for name in ids if name.startswith("SPDXRef-rpm")})
        told = {package["name"]: package for package in document["packages"]}["python3-nova"]
        self.assertEqual(("Organization: RDO", "ab" * 32), (told["supplier"], told["checksums"][0]["checksumValue"]))
        texts = {entry["licenseId"]: entry["extractedText"] for entry in document["hasExtractedLicensingInfos"]}
        self.assertEqual("Apache-2.0", told["licenseDeclared"])
        declared = {package["licenseDeclared"] for package in document["packages"] if package["name"] == "libstdc++"}
        self.assertEqual({"GPLv3+ and GPLv3+ with exceptions", None}, {texts.get(name) for name in declared})
        self.assertEqual(1, len(texts))
        self.assertTrue(all(package["supplier"] for package in document["packages"]))
        self.assertEqual("Organization: registry.example.org:5000/openstack", document["packages"][0]["supplier"])
        self.assertEqual("2026-11-22T02:18:00Z", document["creationInfo"]["created"])

    def test_the_same_twice_in_any_order(self):
        self.assertEqual(sbom.spdx(SUBJECT, MATERIALS), sbom.spdx(SUBJECT, MATERIALS[::-1]))
