"""What a good tree becomes: every key, users with their groups, conditions."""

from __future__ import annotations

from tests.unit.recipes.trees import TreeTest, profile
from topcoat.errors import UsageError
from topcoat.model.recipe import Condition, Package
from topcoat.recipes import Selection, apply_profile, load_tree

EVERY_KEY = """\
nova:
  from: base
  description: Everything
  internal: true
  when: {distro: "!fedora", release: ["9", "10"]}
  users: [nova]
  modules: ["virt:rhel"]
  packages:
    - openstack-nova
    - {name: edk2-ovmf, arch: x86_64}
    - {name: edk2-aarch64, arch: aarch64}
  copy:
    - {source: files/a.conf, target: /etc/a.conf, mode: 0640, owner: "root:nova"}
  run:
    - echo one
    - {run: echo two, release: "8"}
  env: {B: "2", A: "1"}
  labels: {maintainer: us}
  volumes: [/var/lib/nova]
  ports: ["8774/tcp", 8775]
  workdir: /var/lib/nova
  entrypoint: [/usr/bin/nova, "--x y"]
  command: []
  user: nova
  stop_signal: SIGTERM
  healthcheck: [/usr/bin/true]
"""


class Loading(TreeTest):
    def test_every_key_arrives(self) -> None:
        self.write({"openstack/nova.yaml": EVERY_KEY, "files/a.conf": "x"})
        nova = load_tree(self.root)["nova"]
        self.assertEqual((nova.family, nova.image_class, nova.parent), ("nova", "openstack", "base"))
        self.assertEqual([user.name for user in nova.users], ["kolla", "nova"], "a group of the user comes before the user")
        self.assertEqual(nova.users[1].gid, 42436)
        self.assertEqual(nova.packages[1], Package("edk2-ovmf", Condition(arch=("x86_64",))))
        self.assertEqual(nova.copies[0].mode, 0o640)
        self.assertEqual(nova.environment, (("A", "1"), ("B", "2")))
        self.assertEqual(nova.ports, ("8774/tcp", "8775"))
        self.assertEqual(nova.entrypoint, ("/usr/bin/nova", "--x y"))
        self.assertEqual(nova.command, ())
        self.assertTrue(nova.internal)
        self.assertEqual(nova.where, f"{self.root}/openstack/nova.yaml:1")

    def test_users_of_an_ancestor_are_not_made_again(self) -> None:
        self.write({"openstack/nova.yaml": "a:\n  from: base\n  users: [kolla]\nb:\n  from: a\n  users: [nova]\n"})
        tree = load_tree(self.root)
        self.assertEqual([user.name for user in tree["b"].users], ["nova"])

    def test_the_order_of_keys_and_files_does_not_matter(self) -> None:
        self.write({"openstack/nova.yaml": "a:\n  from: base\n  env: {A: x, B: y}\nb:\n  from: a\n"})
        one = load_tree(self.root)
        self.write({"openstack/nova.yaml": "b:\n  from: a\na:\n  env: {B: y, A: x}\n  from: base\n"})
        other = load_tree(self.root)
        self.assertEqual(list(one), list(other))
        self.assertEqual(one["a"].environment, other["a"].environment)

    def test_conditions_are_decided_by_the_profile(self) -> None:
        text = EVERY_KEY.replace("  user: nova\n", "")
        self.write({"openstack/nova.yaml": text, "files/a.conf": "x", "infra/c.yaml": "child:\n  from: nova\n"})
        recipes = load_tree(self.root)
        nova = apply_profile(recipes, profile())["nova"]
        self.assertEqual([package.name for package in nova.packages], ["openstack-nova", "edk2-ovmf"])
        self.assertEqual([step.run for step in nova.steps], ["echo one"])
        arm = apply_profile(recipes, profile(arch="aarch64"))["nova"]
        self.assertEqual([package.name for package in arm.packages], ["openstack-nova", "edk2-aarch64"])
        for gone in (profile(distro="fedora"), profile(release="8")):
            self.assertEqual(list(apply_profile(recipes, gone)), ["base"], "an image that does not exist takes its children with it")


class Selecting(TreeTest):
    def setUp(self) -> None:
        super().setUp()
        text = "nova-base:\n  from: base\nnova-api:\n  from: nova-base\nnova-compute:\n  from: nova-base\n"
        self.write({"openstack/nova.yaml": text, "infra/redis.yaml": "redis:\n  from: base\n"})
        self.recipes = load_tree(self.root)

    def names(self, *patterns: str, **options: object) -> tuple[str, ...]:
        return Selection(patterns, **options).of(self.recipes)  # type: ignore[arg-type]

    def test_parents_come_first_and_with_their_children(self) -> None:
        self.assertEqual(self.names("api"), ("base", "nova-base", "nova-api"))
        self.assertEqual(self.names("api", with_parents=False), ("nova-api",))
        self.assertEqual(self.names(), ("base", "nova-base", "nova-api", "nova-compute", "redis"))

    def test_families_classes_and_exclusions(self) -> None:
        self.assertEqual(self.names(families=("redis",)), ("base", "redis"))
        self.assertEqual(self.names(classes=("openstack",), with_parents=False), ("nova-base", "nova-api", "nova-compute"))
        self.assertEqual(self.names("^nova", exclude=("compute$",)), ("base", "nova-base", "nova-api"))

    def test_what_fits_nothing_is_an_error(self) -> None:
        cases = (
            (("nvoa-api",), {}, "did you mean 'nova-api'"),
            ((), {"families": ("nvoa",)}, "did you mean 'nova'"),
            ((), {"classes": ("infar",)}, "did you mean 'infra'"),
            (("redis",), {"families": ("nova",)}, "selection is empty"),
            (("redis",), {"exclude": ("redis",)}, "selection is empty"),
            (("api",), {"exclude": ("nova-base",)}, "starts from it"),
            (("*",), {}, "regular expression"),
        )
        for patterns, options, words in cases:
            with self.subTest(words), self.assertRaises(UsageError) as caught:
                self.names(*patterns, **options)
            self.assertIn(words, str(caught.exception))
