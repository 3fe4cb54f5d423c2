"""Profiles: placeholders, checks, overrides."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.recipes.trees import TreeTest, profile
from topcoat.containerfile import fingerprints
from topcoat.errors import UsageError
from topcoat.model import Recipe
from topcoat.model.profile import Architecture, WantedImages
from topcoat.recipes import apply_profile, load_profile, load_tree

GOOD = """\
variables: {host: localhost:5000, repositories: null, digest: ""}
distro: centos
release: "9"
arch: x86_64
registry: "${host}"
namespace: ns
prefix: pre-
base: {image: "${host}/base:1", digest: "${digest}"}
repositories:
  - {id: current, baseurl: "file://${repositories}/current", priority: 10, includepkgs: ["python3-*"], excludepkgs: [bad], module_hotfixes: true}
  - {id: base, baseurl: "https://x/y", updates: false}
not_containerised: ["*-doc"]
labels: {site: here}
env: {LANG: C.UTF-8}
overrides:
  nova-api: {packages: [strace], labels: {a: image}}
  family:nova: {run: [echo family], labels: {a: family, b: family}}
  class:openstack: {env: {X: "1"}, labels: {a: class, b: class, c: class}, packages: [{name: only-arm, arch: aarch64}]}
"""


class Profiles(TreeTest):
    def load(self, text: str, **variables: str):  # type: ignore[no-untyped-def]
        self.write({"profiles/site.yaml": text})
        return load_profile("site", root=self.root, variables=variables)

    def test_a_variable_without_value_takes_the_fallback_and_nothing_else_does(self) -> None:
        text = GOOD.replace("namespace: ns\nprefix: pre-", 'namespace: "${namespace}"\nprefix: "${other}"')
        text = text.replace("repositories: null, digest", "repositories: x, namespace: null, other: kept, digest")
        self.write({"profiles/site.yaml": text})
        found = load_profile("site", root=self.root, variables={}, fallback={"namespace": "mine", "other": "unused"})
        self.assertEqual((found.namespace, found.prefix), ("mine", "kept"))
        with self.assertRaisesRegex(UsageError, "has no value"):
            load_profile("site", root=self.root, variables={})

    def test_a_profile_arrives_with_its_placeholders_filled(self) -> None:
        loaded = self.load(GOOD, repositories="/srv/repos", digest="sha256:" + "1" * 64)
        self.assertEqual((loaded.name, loaded.registry, loaded.base.image), ("site", "localhost:5000", "localhost:5000/base:1"))
        self.assertEqual(loaded.base.digest, "sha256:" + "1" * 64)
        current, base = loaded.repositories
        self.assertEqual((current.baseurl, current.priority, current.includepkgs), ("file:///srv/repos/current", 10, ("python3-*",)))
        self.assertEqual((current.excludepkgs, current.module_hotfixes, current.updates), (("bad",), True, True))
        self.assertEqual((base.priority, base.updates), (99, False))
        self.assertEqual(loaded.repository_of("nova"), "ns/pre-nova")

    def test_images_is_a_list_or_a_list_with_values_and_exceptions(self) -> None:
        self.assertIsNone(self.load(GOOD, repositories="/x").images)
        self.assertEqual(WantedImages("deploy"), self.load(GOOD + "images: deploy\n", repositories="/x").images)
        place = str((self.root / "containers.yaml").resolve())
        self.assertEqual(WantedImages(place), self.load(GOOD + "images: ../containers.yaml\n", repositories="/x").images)
        long = "images: {list: ../x.j2, values: {neutron_driver: other}, exclude: ['^redis$']}\n"
        found = self.load(GOOD + long, repositories="/x").images
        self.assertEqual(WantedImages(str((self.root / "x.j2").resolve()), (("neutron_driver", "other"),), ("^redis$",)), found)
        for text, words in {
            "{values: {a: b}}": "images names no list",
            "{list: x, exlude: []}": "did you mean 'exclude'",
            "{list: x, exclude: ['(']}": "not a regular expression",
            "[x]": "images must be a mapping",
            '""': "images is empty",
        }.items():
            with self.subTest(text), self.assertRaisesRegex(UsageError, words):
                self.load(f"{GOOD}images: {text}\n", repositories="/x")

    def test_an_architecture_is_chosen_and_fills_its_placeholder(self) -> None:
        several = GOOD.replace("https://x/y", "https://x/${arch}/y").replace(
            "arch: x86_64\nreg", "arch: x86_64\narchitectures: [aarch64, x86_64]\nreg"
        )
        self.write({"profiles/site.yaml": several})
        found = {arch: load_profile("site", root=self.root, variables={"repositories": "/x"}, arch=arch) for arch in (None, "aarch64")}
        self.assertEqual(
            [(one.arch, one.platform, one.repositories[1].baseurl, one.run_tag("t")) for one in found.values()],
            [
                ("x86_64", "linux/amd64", "https://x/x86_64/y", "t-x86_64"),
                ("aarch64", "linux/arm64", "https://x/aarch64/y", "t-aarch64"),
            ],
        )
        self.assertEqual(found[None].architectures, (Architecture("aarch64"), Architecture("x86_64")))

    def test_a_profile_of_one_architecture_has_its_placeholder_and_no_tag_of_its_own(self) -> None:
        one = self.load(GOOD.replace("https://x/y", "https://x/${arch}/y"), repositories="/x")
        self.assertEqual((one.architectures, one.repositories[1].baseurl, one.run_tag("t")), ((), "https://x/x86_64/y", "t"))

    def test_mistakes_about_architectures_are_one_line(self) -> None:
        for given, arch, words in (
            ("architectures: [x86_64, amd64]", None, "unknown architecture 'amd64'.*aarch64"),
            ("architectures: [x86_64, x86_64]", None, "listed twice"),
            ("architectures: [aarch64]", None, "own arch x86_64 is none of its architectures"),
            ("architectures: [x86_64, {arch: aarch64, missing: never}]", None, "missing is not 'never'"),
            ("architectures: [x86_64, {missing: late}]", None, "has no name"),
            ("architectures: [{arch: x86_64, missing: late}]", None, "every architecture may be missing"),
            ("architectures: x86_64", None, "architectures must be"),
            ("architectures: [x86_64, aarch64]", "s390x", "no architecture 's390x', only x86_64, aarch64"),
            ("", "aarch64", "no architecture 'aarch64', only x86_64"),
        ):
            with self.subTest(given), self.assertRaisesRegex(UsageError, words):
                self.write({"profiles/site.yaml": f"{GOOD}{given}\n"})
                load_profile("site", root=self.root, variables={"repositories": "/x"}, arch=arch)
        with self.assertRaisesRegex(UsageError, "'arch' cannot be a variable"):
            self.load(GOOD.replace("variables: {", "variables: {arch: x86_64, "), repositories="/x")

    def test_an_empty_digest_means_not_pinned(self) -> None:
        self.assertIsNone(self.load(GOOD, repositories="/x").base.digest)

    def test_builds_start_from_the_mirror_of_a_pinned_base(self) -> None:
        text = GOOD.replace('digest: "${digest}"}', 'digest: "${digest}", mirror: "${host}/mirror"}')
        self.assertEqual("localhost:5000/mirror", self.load(text, repositories="/x", digest="sha256:" + "1" * 64).base.source)
        self.assertEqual("localhost:5000/base:1", self.load(text, repositories="/x").base.source)
        for mirror in ("${host}/mirror:tag", "${host}"):
            with self.assertRaisesRegex(UsageError, "repository"):
                self.load(text.replace("${host}/mirror", mirror), repositories="/x")

    def test_a_value_cannot_bring_another_placeholder(self) -> None:
        with self.assertRaisesRegex(UsageError, "file://, http:// or https://|registry host"):
            self.load(GOOD, repositories="/x", host="${digest}")

    def test_signatures_and_where_keys_are(self) -> None:
        text = GOOD.replace("updates: false}", "updates: false, keys: [keys/A, 'https://x/B', keys/A]}").replace(
            "module_hotfixes: true}", "signed: never}"
        )
        loaded = self.load(text + "gating: {signed: required, keys: [C]}\npromote_signatures: required\n", repositories="/x")
        current, base = loaded.repositories
        folder = (self.root / "profiles").resolve().as_uri()
        self.assertEqual((current.signatures.signed, current.signatures.keys), ("never", ()))
        self.assertEqual((base.signatures.signed, base.signatures.keys), ("required", (f"{folder}/keys/A", "https://x/B")))
        self.assertEqual((loaded.gating_signatures.signed, loaded.promote_signatures), ("required", "required"))
        self.assertEqual(loaded.keys, (f"{folder}/keys/A", "https://x/B", f"{folder}/C"))
        plain = self.load(GOOD, repositories="/x")
        policies = [entry.signatures.signed for entry in plain.repositories] + [plain.gating_signatures.signed, plain.promote_signatures]
        self.assertEqual((policies, plain.keys), (["optional"] * 4, ()))

    def test_mistakes_about_signatures(self) -> None:
        for more, words in (
            ("signed: required", "signed: required needs keys"),
            ("signed_metadata: required", "signed_metadata: required needs keys"),
            ("signed: requird", "did you mean 'required'"),
            ("signed: [yes]", "signed"),
            ("keys: ['ftp://x/y']", "not the place of a key"),
            ("keys: ['https://me:word@x/y']", "not the place of a key"),
            ("keys: KEY", "keys"),
            ("key: [KEY]", "did you mean 'keys'"),
        ):
            with self.subTest(more=more), self.assertRaisesRegex(UsageError, words):
                self.load(GOOD.replace("updates: false}", "updates: false, " + more + "}"), repositories="/x")
        for more, words in (("gating: {signed: required}", "needs keys"), ("promote_signatures: never", "promote_signatures is not")):
            with self.subTest(more=more), self.assertRaisesRegex(UsageError, words):
                self.load(GOOD + more + "\n", repositories="/x")

    def test_mistakes(self) -> None:
        cases = (
            (GOOD, {}, "'repositories' has no value"),
            (GOOD, {"repositories": "/x", "hots": "y"}, "did you mean 'host'"),
            (GOOD.replace("${host}/base", "${hots}/base"), {"repositories": "/x"}, "unknown placeholder"),
            (GOOD.replace("priority: 10", "priority: 100"), {"repositories": "/x"}, "from 1 to 99"),
            (GOOD.replace("id: base", "id: current"), {"repositories": "/x"}, "listed twice"),
            (GOOD.replace("https://x/y", "ftp://x/y"), {"repositories": "/x"}, "https:// URL"),
            (GOOD.replace("https://x/y", "https://me:word@x/y"), {"repositories": "/x"}, "user or password"),
            (GOOD.replace("namespace: ns", "namespace: NS"), {"repositories": "/x"}, "OCI grammar"),
            (GOOD.replace("arch: x86_64", "arhc: x86_64"), {"repositories": "/x"}, "did you mean 'arch'"),
            (GOOD, {"repositories": "/x", "digest": "sha256:12"}, "sha256 digest"),
            (GOOD.replace("prefix: pre-", "reference_tag: a:b"), {"repositories": "/x"}, "not a tag"),
            (GOOD.replace("nova-api:", "family:/x:"), {"repositories": "/x"}, "selector"),
            (GOOD.replace("strace", "a b"), {"repositories": "/x"}, "package name"),
            (GOOD.replace("registry:", "# "), {"repositories": "/x"}, "no registry"),
            (GOOD.replace('"*-doc"', '"*"'), {"repositories": "/x"}, "'*' in not_containerised fits every name"),
            (GOOD.replace('"*-doc"', 'python3, "?[!x]*"'), {"repositories": "/x"}, "'?[!x]*' in not_containerised fits every name"),
            (GOOD + 'allowed_to_fail: ["**"]\n', {"repositories": "/x"}, "'**' in allowed_to_fail fits every name"),
        )
        for text, variables, words in cases:
            with self.subTest(words), self.assertRaises(UsageError) as caught:
                self.load(text, **variables)
            self.assertIn(words, str(caught.exception))

    def test_a_profile_without_base_is_for_adopted_images(self) -> None:
        text = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith("base:")).partition("overrides:")[0]
        profile = self.load(text, repositories="/x")
        adopted = Recipe("vendor", "vendor", "openstack", None, adopted=True)
        ours = Recipe("ours", "ours", "openstack", "vendor", where="ours.yaml:1")
        self.assertEqual(set(apply_profile({"vendor": adopted, "ours": ours}, profile)), {"vendor", "ours"})
        self.assertEqual(set(fingerprints({"vendor": adopted, "ours": ours}, profile)), {"vendor", "ours"})
        with self.assertRaisesRegex(UsageError, "has no base, and root starts from it"):
            apply_profile({"vendor": adopted, "root": replace(ours, name="root", parent=None)}, profile)

    def test_an_override_of_adopted_images_is_an_error(self) -> None:
        profile = self.load(GOOD, repositories="/x")
        recipes = {"nova-api": Recipe("nova-api", "nova", "openstack", None, adopted=True)}
        with self.assertRaisesRegex(UsageError, "is adopted"):
            apply_profile(recipes, profile)

    def test_an_unknown_profile_names_the_nearest(self) -> None:
        self.write({"profiles/demo.yaml": GOOD})
        with self.assertRaisesRegex(UsageError, "did you mean 'demo'"):
            load_profile("dmeo", root=self.root, variables={})
        with self.assertRaisesRegex(UsageError, "no such profile"):
            load_profile("./x.yaml", root=self.root, variables={})

    def test_overrides_are_added_and_the_nearest_wins(self) -> None:
        self.write({"openstack/nova.yaml": "nova-api:\n  from: base\n  packages: [a]\n  run: [echo own]\n"})
        nova = apply_profile(load_tree(self.root), self.load(GOOD, repositories="/x"))["nova-api"]
        self.assertEqual([package.name for package in nova.packages], ["a", "strace"])
        self.assertEqual([step.run for step in nova.steps], ["echo own", "echo family"])
        self.assertEqual(dict(nova.labels), {"a": "image", "b": "family", "c": "class", "site": "here"})
        self.assertEqual(dict(nova.environment), {"X": "1"})

    def test_the_environment_of_the_profile_is_set_once_at_the_root(self) -> None:
        self.write({"openstack/nova.yaml": "nova:\n  from: base\n"})
        tree = apply_profile(load_tree(self.root), profile(environment=(("LANG", "C.UTF-8"),)))
        self.assertEqual(tree["base"].environment, (("LANG", "C.UTF-8"),))
        self.assertEqual(tree["nova"].environment, ())

    def test_an_override_of_nothing_is_an_error(self) -> None:
        self.write({"openstack/nova.yaml": "nova-apis:\n  from: base\n"})
        with self.assertRaisesRegex(UsageError, r"profiles/site.yaml:\d+: override of unknown 'nova-api'; did you mean 'nova-apis'"):
            apply_profile(load_tree(self.root), self.load(GOOD, repositories="/x"))
