"""Files that today's deployers read: each parses, each is complete, and a key without an image is said or chosen."""

from __future__ import annotations

import unittest
from pathlib import Path

import yaml

from topcoat.errors import UsageError
from topcoat.lists import FORMATS, Chosen, load_template, missing_parameters, output
from topcoat.lists.outputs import variable_of
from topcoat.lists.template import examine_template

TREE = Path(__file__).parents[3] / "container-images"
KEYS = 96
"""Of OpenStackVersion's customContainerImages in the operators of August 2026: 94 images, and two maps from a backend's name to an image."""


def chosen() -> list[Chosen]:
    """The operators' list as if the registry held all of it."""
    entries = load_template("operators", root=TREE).entries
    return [Chosen(str(entry.image), entry.parameters, f"r.example.org/ns/openstack-{entry.image}@sha256:{'a' * 64}") for entry in entries]


class Outputs(unittest.TestCase):
    def test_every_key_of_the_operators_has_an_image_or_a_reason(self) -> None:
        template = load_template("operators", root=TREE)
        given = [parameter for entry in template.entries for parameter in entry.parameters]
        self.assertEqual(len(given) + len(template.left_out), KEYS)
        self.assertEqual(len({*given, *(name for name, _ in template.left_out)}), KEYS)

    def test_openstackversion(self) -> None:
        document = yaml.safe_load(output("openstackversion", chosen(), name="mine"))
        self.assertEqual((document["apiVersion"], document["kind"]), ("core.openstack.org/v1beta1", "OpenStackVersion"))
        self.assertEqual(document["metadata"], {"name": "mine"})
        images = document["spec"]["customContainerImages"]
        self.assertEqual(set(images), {parameter for image in chosen() for parameter in image.parameters})
        self.assertIn("openstack-nova-api@", images["novaAPIImage"])
        self.assertIn("openstack-cinder-volume@", images["cinderVolumeImages"]["default"])
        with self.assertRaisesRegex(UsageError, "--list operators"):
            output("openstackversion", [Chosen("nova-api", ("ContainerNovaApiImage",), "r/x")])

    def test_the_others_hold_every_image(self) -> None:
        lines = output("env", chosen()).splitlines()
        self.assertEqual(len(lines), sum(len(image.parameters) for image in chosen()))
        variables = dict(line.split("=", 1) for line in lines)
        self.assertIn("openstack-nova-novncproxy@", variables["RELATED_IMAGE_NOVA_NOVNC_IMAGE_URL_DEFAULT"])
        rows = yaml.safe_load(output("relatedimages", chosen()))["relatedImages"]
        self.assertEqual({row["image"] for row in rows}, {image.reference for image in chosen()})
        self.assertEqual(len({row["name"] for row in rows}), len(lines))
        tags = yaml.safe_load(output("helm-values", chosen()))["images"]["tags"]
        self.assertEqual(len(tags), len(chosen()))
        self.assertIn("openstack-ovn-nb-db-server@", tags["ovn_nb_db_server"])

    def test_names_of_variables(self) -> None:
        for parameter, variable in {
            "aodhAPIImage": "RELATED_IMAGE_AODH_API_IMAGE_URL_DEFAULT",
            "designateBackendbind9Image": "RELATED_IMAGE_DESIGNATE_BACKENDBIND9_IMAGE_URL_DEFAULT",
            "manilaShareImages": "RELATED_IMAGE_MANILA_SHARE_IMAGE_URL_DEFAULT",
            "ContainerNovaApiImage": "ContainerNovaApiImage",
        }.items():
            self.assertEqual(variable_of(parameter), variable)
        self.assertEqual(output("env", [Chosen("nova-api", (), "r/x")]), "NOVA_API_IMAGE=r/x\n")

    def test_two_images_for_one_key_are_an_error(self) -> None:
        two = [Chosen("nova-api", (), "r/x"), Chosen("nova.api", (), "r/y")]
        for form in FORMATS[1:]:
            with self.subTest(form), self.assertRaisesRegex(UsageError, "two images want the key"):
                output(form, two)

    def test_what_is_missing_is_named(self) -> None:
        template = load_template("operators", root=TREE)
        self.assertEqual(missing_parameters(template, {}, chosen()), ())
        without = [image for image in chosen() if image.name != "cron"]
        self.assertEqual(missing_parameters(template, {}, without), ("edpmLogrotateCrondImage",))

    def test_mistakes_of_left_out(self) -> None:
        import tempfile

        for more, words in (
            ("left_out: { a: why }", "is left out and has an image"),
            ('left_out: { b: "" }', "for no reason"),
            ("subset: maybe", "true or false"),
        ):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "list.yaml"
                path.write_text(f"images: [{{ image: x, parameters: [a] }}]\n{more}\n")
                self.assertIn(words, " ".join(problem.what for problem in examine_template(path)[1].found))


if __name__ == "__main__":
    unittest.main()
