"""Image lists: templates, variants, aliases, the closed world."""

from __future__ import annotations

import datetime

from tests.unit.recipes.trees import TreeTest, profile
from topcoat.errors import UsageError
from topcoat.lists import lint, load_template, old_names, resolve
from topcoat.recipes import load_tree

LIST = """\
variables:
  driver: {default: ovn, values: [ovn, other]}
  ceph: quay.io/ceph
images:
  - image: nova-api
    parameters: [NovaImage, NovaConfigImage]
    services: [Compute, {name: Ovn, when: {driver: ovn}}]
  - image: redis
    when: {driver: ovn}
external:
  - reference: "${ceph}/daemon:v1"
    source: ceph
    parameters: [CephImage]
    services: [Ceph]
aliases:
  - {name: os-nova, image: nova-api, until: "2030-06-30"}
"""
TODAY = datetime.date(2029, 1, 1)
PROFILE = """\
variables: {namespace: null}
distro: centos
release: "9"
arch: x86_64
registry: localhost:5000
namespace: "${namespace}"
base: {image: "localhost:5000/base:1"}
"""


class Lists(TreeTest):
    def setUp(self) -> None:
        super().setUp()
        start = "  entrypoint: [/usr/bin/x]\n"
        self.write(
            {
                "openstack/nova.yaml": f"nova-base:\n  from: base\n  internal: true\nnova-api:\n  from: nova-base\n{start}",
                "infra/redis.yaml": f"redis:\n  from: base\n{start}",
                "lists/deploy.yaml": LIST,
                "profiles/site.yaml": PROFILE,
            }
        )

    def resolved(self, text: str = LIST, today: datetime.date = TODAY, **values: str):  # type: ignore[no-untyped-def]
        self.write({"lists/deploy.yaml": text}, base=False)
        return resolve(load_template("deploy", root=self.root), profile=profile(), values=values, recipes=load_tree(self.root), today=today)

    def problems(self, text: str, **files: str) -> list[str]:
        self.write({"lists/deploy.yaml": text, **files}, base=False)
        return [str(problem) for problem in lint(self.root, variables={}, today=TODAY).found]

    def test_old_names_end_with_their_day(self) -> None:
        folder = self.root / "lists"
        folder.mkdir(exist_ok=True)
        day = datetime.date(2030, 1, 31)
        (folder / "names.yaml").write_text(
            'aliases:\n- { name: old, image: new, until: "2030-01-31" }\n- { name: x, image: absent, until: "2031-01-01" }\n'
        )
        self.assertEqual(old_names(self.root, ["new"], today=day), {"new": ("old",)})
        self.assertEqual(old_names(self.root, ["new"], today=day + datetime.timedelta(days=1)), {})
        self.assertEqual(old_names(self.root / "none", ["new"]), {})

    def test_an_old_name_that_another_image_has_is_refused_by_whoever_publishes(self) -> None:
        folder = self.root / "lists"
        folder.mkdir(exist_ok=True)
        day = datetime.date(2030, 1, 31)
        line = '- { name: %s, image: %s, until: "2030-01-31" }\n'
        for aliases, problem in (
            ((("b", "a"),), "'b' is the name of b and an old name of a"),
            ((("x", "a"), ("x", "b")), "'x' is the name of a and an old name of b"),
            ((("a", "a"),), "'a' is the name of a and an old name of a"),
        ):
            (folder / "names.yaml").write_text("aliases:\n" + "".join(line % pair for pair in aliases))
            with self.subTest(aliases), self.assertRaisesRegex(UsageError, problem) as caught:
                old_names(self.root, ["a", "b"], today=day)
            self.assertIn("names.yaml:", caught.exception.where or "")

    def test_placeholders_come_from_the_profile_unless_given(self) -> None:
        names = [image.reference for image in self.resolved().images]
        expected = ["localhost:5000/test/nova-api:current-passed-ci", "localhost:5000/test/redis:current-passed-ci", "quay.io/ceph/daemon:v1"]
        self.assertEqual(names, expected)
        given = self.resolved(registry="quay.io", namespace="a/b", prefix="openstack-", suffix="-x", tag="hash", ceph="local.host:1/c")
        self.assertEqual(given.images[0].reference, "local.host:1/c/daemon:v1")
        self.assertEqual(given.images[1].reference, "quay.io/a/b/openstack-nova-api-x:hash")

    def test_variants(self) -> None:
        ovn = self.resolved()
        self.assertEqual(ovn.images[0].services, ("Compute", "Ovn"))
        other = self.resolved(driver="other")
        self.assertEqual([image.name for image in other.images], ["nova-api", "daemon"])
        self.assertEqual(other.images[0].services, ("Compute",))

    def test_the_environment_of_a_deployer(self) -> None:
        self.assertEqual(list(self.resolved().parameters()), ["CephImage", "NovaConfigImage", "NovaImage"])

    def test_only_some_services(self) -> None:
        self.assertEqual([image.name for image in self.resolved().for_services(["Ceph"]).images], ["daemon"])
        with self.assertRaisesRegex(UsageError, "did you mean 'Ceph'"):
            self.resolved().for_services(["Cehp"])

    def test_an_alias_lives_until_its_day(self) -> None:
        self.assertEqual(self.resolved(today=datetime.date(2030, 6, 30)).aliases[0][2], "2030-06-30")
        self.assertEqual(self.resolved(today=datetime.date(2030, 7, 1)).aliases, ())

    def test_wrong_values(self) -> None:
        cases = (
            ({"drivr": "ovn"}, "did you mean 'driver'"),
            ({"driver": "ovm"}, "did you mean 'ovn'"),
            ({"ceph": "no host"}, "reference becomes"),
            ({"tag": "a:b"}, "reference becomes"),
        )
        for values, words in cases:
            with self.subTest(words), self.assertRaisesRegex(UsageError, words):
                self.resolved(**values)

    def test_the_closed_world(self) -> None:
        self.assertEqual(self.problems(LIST), [])
        cases = (
            (LIST.replace("image: redis", "image: rediss"), "deploy.yaml:8: no recipe for image 'rediss'; did you mean 'redis'?"),
            (LIST.replace("image: redis", "image: rediss"), "image 'redis' is not in the list"),
            (LIST.replace("image: redis", "image: nova-base"), "'nova-base' is internal"),
            (LIST.replace("2030-06-30", "2028-12-31"), "ended on 2028-12-31"),
            (LIST.replace("name: os-nova", "name: redis"), "is the name of an image"),
            (LIST.replace("os-nova, image: nova-api", "os-nova, image: nova"), "alias of unknown image"),
            (LIST.replace("2030-06-30", "2030-13-30"), "not a date"),
            (LIST.replace("[CephImage]", "[NovaImage]"), "already belongs"),
            (LIST.replace("${ceph}", "${cehp}"), "did you mean 'ceph'"),
            (LIST.replace("when: {driver: ovn}", "when: {ceph: x}"), "closed list of values"),
            (LIST.replace("when: {driver: ovn}", "when: {driver: ovm}"), "not a value of driver"),
            (LIST.replace("driver: {default: ovn", "tag: {default: ovn"), "not a free name"),
            (LIST.replace("default: ovn", "default: ovm"), "one of its values"),
            (LIST.replace("image: redis\n    when: {driver: ovn}", "image: nova-api"), "listed twice"),
        )
        for text, words in cases:
            with self.subTest(words):
                self.assertIn(words, "\n".join(self.problems(text)))

    def test_mistakes_of_recipes_that_only_lint_sees(self) -> None:
        head = "nova-api:\n  from: base\n"
        start = "  entrypoint: [/usr/bin/x]\n"
        cases = (
            (head + start + "  packages: [bash]\n", "package 'bash' is already installed by 'base'"),
            (head + start + "  packages: [{name: bash, arch: x86_64}]\n", "package 'bash' is already installed by 'base'"),
            (head, "has no entrypoint"),
            (head + start + "  run: [dnf -y install x]\n", "installs packages"),
            (head + start + '  run: ["yum update -y"]\n', "installs packages"),
        )
        for text, words in cases:
            with self.subTest(words):
                self.write({"openstack/nova.yaml": text}, base=False)
                self.assertIn(words, "\n".join(self.problems(LIST)))

    def test_a_file_that_nobody_copies(self) -> None:
        self.write({"files/left": "x"}, base=False)
        self.assertIn("files/left: is copied by no recipe", "\n".join(self.problems(LIST)))

    def test_profiles_are_part_of_lint(self) -> None:
        self.write({"profiles/broken.yaml": PROFILE.replace("arch", "arhc")}, base=False)
        self.assertIn("did you mean 'arch'", "\n".join(self.problems(LIST)))
        self.write({"profiles/broken.yaml": PROFILE + "overrides: {nova-apis: {packages: [x]}}\n"}, base=False)
        self.assertIn("override of unknown 'nova-apis'", "\n".join(self.problems(LIST)))
        self.write({"profiles/broken.yaml": PROFILE + "images: {list: deploy, exclude: [nova-base]}\n"}, base=False)
        self.assertIn("'nova-base' is excluded, but 'nova-api' starts from it", "\n".join(self.problems(LIST)))
        self.write({"profiles/broken.yaml": PROFILE + "images: ../own.yaml\n", "own.yaml": "container_images: [{imagename: x/y}]\n"}, base=False)
        self.assertIn("the list names an image without a recipe: 'y'", "\n".join(self.problems(LIST)))

    def test_lint_of_no_tree_is_a_problem_not_a_traceback(self) -> None:
        self.assertEqual(len(lint(self.root / "none", variables={}).found), 1)

    def test_every_mistake_of_a_tcib_tree_is_listed(self) -> None:
        tree = self.root / "foreign"
        for name, content in (("a", "tcib_user: '{{ nothing }}'\n"), ("b", "tcib_actions: x\n"), ("c", "tcib_user: fine\n")):
            (tree / name).mkdir(parents=True)
            (tree / name / "x.yaml").write_text(content)
        places = [(problem.where or "").removeprefix(f"{tree}/") for problem in lint(tree, variables={}).found]
        self.assertEqual(places, ["a/x.yaml:1", "b/x.yaml:1"])
