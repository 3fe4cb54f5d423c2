"""Lists in the form of tcib and TripleO are read as they are, and become lists of our own form."""

import tempfile
import unittest
from pathlib import Path

import yaml

from topcoat.errors import UsageError
from topcoat.lists import load_template, resolve, to_document, wanted
from topcoat.model import Base, Profile, Recipe
from topcoat.model.profile import WantedImages
from topcoat.recipes import Selection

TEMPLATE = """\
container_images_template:

- imagename: "{{namespace}}/{{name_prefix}}net-api{{name_suffix}}:{{tag}}"
  image_source: tripleo
  params:
  - ContainerNetImage
  - ContainerNetConfigImage
  services:
  - OS::A::Net
{% if neutron_driver == "ovn" %}
  - OS::A::Ovn

- imagename: "{{namespace}}/{{name_prefix}}ovn-controller{{name_suffix}}:{{tag}}"
  image_source: tripleo
  params:
  - ContainerOvnImage
  services:
  - OS::A::Ovn
{% endif %}

- imagename: "{{namespace}}/runner:{{tag}}"
  image_source: tripleo
  params:
  - ContainerNetConfigImage
{% if ceph_images | default(true) %}
{% include 'more.j2' %}
{% endif %}
"""
MORE = """\
- imagename: "{{ceph_namespace}}/{{ceph_image}}:{{ceph_tag}}"
  image_source: ceph
  params:
  - ContainerCephImage
"""
PREPARE = """\
parameter_defaults:
  ContainerImagePrepare:
  - set:
      namespace: example.org/ns
      ceph_namespace: quay.example/ceph
      ceph_image: daemon
      ceph_tag: v6
      neutron_driver: ovn
"""
RENDERED = """\
container_images:
- imagename: quay.example/ns/openstack-net-api:current
  image_source: tripleo
- imagename: quay.example/ns/centos-binary-ovn-controller:current
- imagename: quay.example:5000/ns/runner
- imagename: quay.example/prom/gateway:v1
  image_source: prom
- imagename: quay.example/prom/gateway:v1
  image_source: prom
"""


class Foreign(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = Path(holder.name)
        self.recipes = {name: Recipe(name, name, "openstack", None) for name in ("net-api", "ovn-controller", "runner", "other")}
        self.profile = Profile("t", "demo", "9", "x86_64", Base("x/y"), (), "r.example", "n", prefix="p-")

    def write(self, name: str, text: str) -> str:
        (self.root / name).write_text(text)
        return str(self.root / name)

    def template(self) -> str:
        self.write("more.j2", MORE)
        self.write("container_image_prepare_defaults.yaml", PREPARE)
        return self.write("list.yaml.j2", TEMPLATE)

    def resolved(self, name: str, **values: str) -> dict[str, str]:
        found = resolve(load_template(name, root=self.root), profile=self.profile, values=values, recipes=self.recipes)
        return {image.reference: " ".join((*image.parameters, *image.services)) for image in found.images}

    def test_a_list_of_references_names_images_of_the_tree_and_others(self) -> None:
        tag = self.profile.reference_tag
        self.assertEqual(
            list(self.resolved(self.write("containers.yaml", RENDERED))),
            ["quay.example/prom/gateway:v1", f"r.example/n/p-net-api:{tag}", f"r.example/n/p-ovn-controller:{tag}", f"r.example/n/p-runner:{tag}"],
        )

    def test_a_template_keeps_its_conditions(self) -> None:
        name, own = self.template(), f"r.example/n/p-{{}}:{self.profile.reference_tag}".format
        everything = {
            "quay.example/ceph/daemon:v6": "ContainerCephImage",
            own("net-api"): "ContainerNetImage OS::A::Net OS::A::Ovn",
            own("ovn-controller"): "ContainerOvnImage OS::A::Ovn",
            own("runner"): "ContainerNetConfigImage",  # the later of two that claim it
        }
        self.assertEqual(self.resolved(name), everything)
        other = self.resolved(name, neutron_driver="other", ceph_tag="v7")
        self.assertEqual(other[own("net-api")], "ContainerNetImage OS::A::Net")
        self.assertNotIn(own("ovn-controller"), other)
        self.assertIn("quay.example/ceph/daemon:v7", other)
        self.assertNotIn("quay.example/ceph/daemon:v6", self.resolved(name, ceph_images="false"))
        with self.assertRaises(UsageError):
            self.resolved(name, neutron_driver="odl")

    def test_a_converted_list_says_the_same(self) -> None:
        for name in (self.template(), self.write("containers.yaml", RENDERED)):
            converted = self.write("own.yaml", yaml.safe_dump(to_document(load_template(name, root=self.root)), sort_keys=False))
            for values in ({}, {"neutron_driver": "other", "ceph_images": "false"}) if name.endswith("j2") else ({},):
                self.assertEqual(self.resolved(converted, **values), self.resolved(name, **values))

    def test_a_selection_by_list(self) -> None:
        names = load_template(self.template(), root=self.root).names()
        self.assertEqual(names, ("net-api", "ovn-controller", "runner"))
        self.assertEqual(set(Selection(listed=names).of(self.recipes)), set(names))
        self.assertEqual(set(Selection(listed=names, exclude=("^ovn",)).of(self.recipes)), {"net-api", "runner"})

    def test_an_image_without_a_recipe_is_named(self) -> None:
        del self.recipes["runner"]
        name = self.template()
        with self.assertRaisesRegex(UsageError, "no recipe for image 'runner'"):
            self.resolved(name)
        listed = load_template(name, root=self.root).names()
        with self.assertRaisesRegex(UsageError, "without a recipe: 'runner'"):
            Selection(listed=listed).of(self.recipes)
        Selection(listed=listed, exclude=("^runner$",)).of(self.recipes)

    def test_a_profile_has_the_images_of_its_list_and_what_they_start_from(self) -> None:
        parents = {"root": Recipe("root", "root", "openstack", None, internal=True), "middle": Recipe("middle", "m", "openstack", "root")}
        recipes = {**parents, **{name: Recipe(name, name, "openstack", "middle") for name in ("net-api", "ovn-controller", "runner", "other")}}

        def names(choice: WantedImages | None, **tree: Recipe) -> list[str]:
            return list(wanted(recipes, choice, tree={**recipes, **tree}, root=self.root))

        place = self.template()
        self.assertEqual(list(recipes), names(None))
        self.assertEqual(["root", "middle", "net-api", "ovn-controller", "runner"], names(WantedImages(place)))
        self.assertEqual(["root", "middle", "net-api", "runner"], names(WantedImages(place, (("neutron_driver", "other"),))))
        self.assertEqual(["root", "middle", "net-api"], names(WantedImages(place, (("neutron_driver", "other"),), ("^run",))))
        self.assertEqual(["root", "middle", "net-api", "ovn-controller", "runner"], names(WantedImages(self.write("r.yaml", RENDERED))))
        for choice, words in (
            (WantedImages(place, (("neutron_drivr", "ovn"),)), "did you mean 'neutron_driver'"),
            (WantedImages(place, (("neutron_driver", "ovm"),)), "is not a value of neutron_driver"),
            (WantedImages(place, (), (".",)), "the selection is empty"),
            (WantedImages("nowhere"), "no such image list"),
        ):
            with self.subTest(words), self.assertRaisesRegex(UsageError, words):
                names(choice)
        # What the profile drops by a condition may be listed; what nobody has a recipe for may not.
        dropped = recipes.pop("runner")
        self.assertEqual(["root", "middle", "net-api", "ovn-controller"], names(WantedImages(place), runner=dropped))
        with self.assertRaisesRegex(UsageError, "without a recipe: 'runner'.*'exclude' leaves entries out"):
            names(WantedImages(place))

    def test_what_is_wrong_is_one_line(self) -> None:
        for name, text in {
            "keys.yaml": "container_images:\n- imagename: a/b:c\n  imagesource: x\n",
            "kind.yaml": "container_images: text\n",
            "name.yaml": "container_images:\n- image_source: x\n",
            "syntax.j2": "container_images_template:\n{% if x %}\n",
            "include.j2": "container_images_template:\n{% include 'nowhere.j2' %}\n",
            "outside.j2": "container_images_template:\n{% include '../../etc/passwd' %}\n",
            "program.j2": "container_images_template:\n{% for x in range(200) %}{% include y %}{% endfor %}\n",
            "undefined.j2": "container_images_template:\n- imagename: \"{{ nothing['x'].y.z() }}\"\n",
            "many.j2": "".join(f"{{% if v{number} %}}{{% endif %}}" for number in range(9)),
        }.items():
            with self.subTest(name), self.assertRaises(UsageError) as caught:
                self.resolved(self.write(name, text))
            self.assertNotIn("\n", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
