"""Lists of others become a tree that loads, and what cannot be adopted is said in one line."""

import tempfile
import unittest
from pathlib import Path

from topcoat.adoption import FoundImage, name_images, read_list, write_tree
from topcoat.errors import UsageError
from topcoat.lists import load_template
from topcoat.model import ImageReference
from topcoat.recipes import load_tree

ROWS = """\
container_images:
- imagename: quay.example.org/tcib/openstack-nova-api:hash
  params: [ContainerNovaApiImage]
  services: [OS::TripleO::Services::NovaApi]
- imagename: quay.example.org/tcib/openstack-nova-api:hash
  params: [ContainerNovaMetadataImage]
- imagename: quay.example.org/ceph/ceph:v18
  image_source: ceph
"""
LINES = """\
# every image of the site
quay.example.org/vendor/nova-api:1   # the API
KEYSTONE_IMAGE=quay.example.org/vendor/keystone@sha256:{digest}
"""


class Trees(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def listed(self, text: str) -> tuple[FoundImage, ...]:
        path = self.folder / "list"
        path.write_text(text)
        return read_list(path)

    def test_a_tcib_list_keeps_parameters_and_services(self):
        found = name_images(self.listed(ROWS), prefix="openstack-")
        self.assertEqual([image.name for image in found], ["ceph", "nova-api"])
        self.assertEqual(
            write_tree(self.folder / "tree", found, image_class="openstack"), ("lists/deploy.yaml", "openstack/ceph.yaml", "openstack/nova.yaml")
        )
        recipes = load_tree(self.folder / "tree")
        self.assertEqual({name: recipe.origin for name, recipe in recipes.items()}, {image.name: str(image.found.reference) for image in found})
        self.assertTrue(all(recipe.adopted and recipe.parent is None for recipe in recipes.values()))
        entry = next(entry for entry in load_template("deploy", root=self.folder / "tree").entries if entry.image == "nova-api")
        self.assertEqual(entry.parameters, ("ContainerNovaApiImage", "ContainerNovaMetadataImage"))
        self.assertEqual(entry.services, (("OS::TripleO::Services::NovaApi", ()),))

    def test_lines(self):
        found = self.listed(LINES.format(digest="a" * 64))
        self.assertEqual([image.parameters for image in found], [(), ("KEYSTONE_IMAGE",)])
        self.assertEqual(found[1].reference.digest, f"sha256:{'a' * 64}")

    def test_what_is_there_is_not_overwritten(self):
        found = name_images(self.listed(LINES.format(digest="a" * 64)))
        write_tree(self.folder, found, image_class="infra")
        self.assertEqual(write_tree(self.folder, found, image_class="infra"), ())
        family = self.folder / "infra/nova.yaml"
        family.write_text("nova-api: { from: profile }\n")
        with self.assertRaisesRegex(UsageError, r"infra/nova\.yaml"):
            write_tree(self.folder, found, image_class="infra")
        self.assertEqual(write_tree(self.folder, found, image_class="infra", overwrite=True, dry_run=True), ("infra/nova.yaml",))
        self.assertIn("profile", family.read_text())
        write_tree(self.folder, found, image_class="infra", overwrite=True)
        self.assertIn("adopted", family.read_text())

    def test_mistakes(self):
        for text, words in (
            ("", "names no image"),
            ("nova-api\n", "without a registry host"),
            ("container_images: nothing\n", "container_images"),
            ("container_images: [{params: []}]\n", "imagename"),
            ("container_images: [\n", "the list"),
        ):
            with self.subTest(text), self.assertRaises(UsageError) as caught:
                self.listed(text)
            self.assertIn(words, str(caught.exception))

    def test_names(self):
        images = [FoundImage(ImageReference("r.example.org", f"{space}/nova-api", "1")) for space in ("a", "b")]
        with self.assertRaisesRegex(UsageError, "two images have the name nova-api"):
            name_images(images)
        with self.assertRaisesRegex(UsageError, "no image is left"):
            name_images(images, exclude=["nova"])
        with self.assertRaisesRegex(UsageError, "no name that an image can have"):
            name_images(images, prefix="nova-api")
        with self.assertRaisesRegex(UsageError, "not a regular expression"):
            name_images(images, exclude=["("])


if __name__ == "__main__":
    unittest.main()
