"""tcib trees: real shapes, order of instructions, inheritance, sandbox, mistakes."""

from __future__ import annotations

import json
import os
from unittest import mock

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.recipes.tcibtrees import write_tree
from tests.unit.recipes.trees import TreeTest, profile
from topcoat.containerfile import fingerprints, render, render_tree, write_context
from topcoat.errors import UsageError
from topcoat.model import Base, Package, Step
from topcoat.recipes import apply_profile, detect_format, load_recipes, load_tcib
from topcoat.report.graph import ImageGraph

EVERY_KEY = """\
tcib_user: me
tcib_cmd: one  two
tcib_entrypoint: dumb-init --single-child --
tcib_stopsignal: SIGTERM
tcib_healthcheck: CMD /check
tcib_actions:
- run: echo {{ tcib_meta.name }} {{ tcib_distro }}{{ tcib_release }}
- copy: [a b, /x]
- run: ["/bin/bash", "-c", "echo \\"hi\\""]
- Workdir: /w2
tcib_runs:
- first
- [second, arg]
tcib_shell: /bin/bash -c
tcib_copies: [c d]
tcib_exposes: [80, 81/udp]
tcib_adds: [e f]
tcib_workdir: /w
tcib_volumes: [/v1, /v2]
tcib_onbuilds: [RUN x]
tcib_envs: {LANG: en_US.UTF-8, FLAG: true, N: 3}
tcib_labels: {maintainer: "me \\"x\\"", tcib_managed: True}
tcib_args: {A: b}
"""
EXPECTED = """\
FROM base:1
ARG A="b"
LABEL maintainer="me \\"x\\""
LABEL tcib_managed=true
ENV FLAG=true
ENV LANG="en_US.UTF-8"
ENV N=3
USER root
ONBUILD RUN x
VOLUME ["/v1", "/v2"]
WORKDIR "/w"
ADD e f
EXPOSE 80
EXPOSE 81/udp
COPY c d
SHELL ["/bin/bash", "-c"]
RUN first
RUN ["second", "arg"]
RUN echo base centos9
COPY ["a b", "/x"]
RUN ["/bin/bash", "-c", "echo \\"hi\\""]
WORKDIR /w2
HEALTHCHECK CMD /check
STOPSIGNAL SIGTERM
ENTRYPOINT ["dumb-init", "--single-child", "--"]
CMD ["one", "two"]
USER me
"""


TEMPLATES = [
    "{{ tcib_user }}",
    "{{ lookup('file', 'x\\0y' ) }}",
    "{{ lookup('fileglob', '/*') }}",
    "{{ tcib_x is version('1') }}",
    "{{ tcib_x | join(' ') }}",
    "{% for i in tcib_x %}{{ i }}{% endfor %}",
    "{{",
    "{{ 1/0 }}",
    "{{ x.y.z }}",
]
WORDS = st.sampled_from(["x", "", "a\nb", *TEMPLATES])
SCALARS = st.one_of(WORDS, st.integers(), st.booleans(), st.none(), st.text(max_size=8))
NAMES = st.one_of(WORDS, st.sampled_from(["run", "copy"]))
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=8)
KEYS = st.sampled_from([line.split(":")[0] for line in EVERY_KEY.splitlines() if line.startswith("tcib_")] + ["tcib_x", "tcib_gather_files", "x"])
VERBS = tuple("ARG FROM LABEL ENV ONBUILD VOLUME WORKDIR ADD EXPOSE COPY SHELL RUN HEALTHCHECK STOPSIGNAL ENTRYPOINT CMD USER".split())  # noqa: SIM905


class Tcib(TreeTest):
    def tree(self, files: dict[str, str], **variables: str):  # type: ignore[no-untyped-def]
        self.write(files, base=False)
        return load_tcib(self.root, variables=variables)

    def text(self, recipe, **labels: str) -> str:  # type: ignore[no-untyped-def]
        return render(recipe, parent_reference="base:1", profile=profile(), labels=labels).containerfile

    def one(self, content: str, **variables: str) -> str:
        return self.text(self.tree({"base/base.yaml": content}, **variables)["base"])

    def test_instructions_stand_in_the_order_of_tcib(self) -> None:
        self.assertEqual(self.one(EVERY_KEY), EXPECTED)

    def test_our_labels_stand_after_from_and_a_base_of_its_own_is_kept(self) -> None:
        recipes = self.tree({"base/x.yaml": "tcib_from: $IMAGE\ntcib_args: {IMAGE: quay.io/x}\n", "base/a/a.yaml": "tcib_cmd: x\n"})
        found = render_tree(recipes, ["base"], profile=profile(), tag="latest")["base"].containerfile
        self.assertEqual(found, 'FROM quay.io/x\nARG IMAGE="quay.io/x"\nUSER root\n')
        self.assertEqual(self.text(recipes["base"], l="v"), 'FROM base:1\nLABEL l="v"\nARG IMAGE="quay.io/x"\nUSER root\n')
        self.assertEqual(self.text(recipes["a"], l="v"), 'FROM base:1\nLABEL l="v"\nUSER root\nCMD ["x"]\n')

    def test_parents_are_the_nearest_directories_with_yaml(self) -> None:
        recipes = self.tree(
            {
                "tcib/base/base.yaml": "tcib_cmd: x\n",
                "tcib/base/os/os.yaml": "tcib_cmd: x\n",
                "tcib/base/os/group/nova-base/some-name.yml": "tcib_cmd: x\n",
                "tcib/base/os/group/nova-base/nova-api/x.yaml": "tcib_cmd: x\n",
                "tcib/base/redis/redis.yaml": "tcib_cmd: x\n",
                "tcib/base/redis/script.sh": "x",
                "tcib/other/other.yaml": "tcib_from: x\n",
                "containers.yaml": "container_images: []\n",
                "kolla/base/x.sh": "x",
            }
        )
        parents = {name: recipe.parent for name, recipe in recipes.items()}
        self.assertEqual(parents, {"base": None, "os": "base", "nova-base": "os", "nova-api": "nova-base", "redis": "base", "other": None})
        self.assertEqual(
            {name: recipes[name].image_class for name in recipes if name != "base"},
            {"os": "openstack", "nova-base": "openstack", "nova-api": "openstack", "redis": "infra", "other": "infra"},
        )
        self.assertEqual(recipes["nova-api"].family, "group")
        self.assertEqual(ImageGraph(recipes).order[0], "base")

    def test_files_of_a_directory_are_merged_in_sorted_order_and_nothing_is_inherited(self) -> None:
        recipes = self.tree(
            {
                "base/b.yaml": "tcib_user: later\ntcib_packages: {common: [b]}\n",
                "base/a.yml": "tcib_user: first\ntcib_stopsignal: SIGINT\ntcib_packages: {common: [a], other: [o]}\n",
                "base/c.yaml": "",
                "base/child/x.yaml": "tcib_actions:\n- run: echo '{{ tcib_user }}' {{ tcib_packages is defined }}\n",
            }
        )
        self.assertEqual(self.text(recipes["base"]), "FROM base:1\nUSER root\nSTOPSIGNAL SIGINT\nUSER later\n")
        self.assertEqual(self.text(recipes["child"]), "FROM base:1\nUSER root\nRUN echo '' False\n")

    def test_every_image_changes_to_root_and_the_last_user_counts(self) -> None:
        recipes = self.tree(
            {
                "base/base.yaml": "tcib_actions:\n- user: nova\n- run: id\n- user: nobody\n- stopsignal: SIGINT\n- cmd: [a, b]\n",
                "base/child/x.yaml": "tcib_runs: [id]\n",
                "base/child/last/x.yaml": "tcib_actions:\n- user: nova\ntcib_user: me\n",
            }
        )
        self.assertEqual(self.text(recipes["child"]), "FROM base:1\nUSER root\nRUN id\n")
        self.assertEqual({name: recipe.user for name, recipe in recipes.items()}, {"base": "nobody", "child": "root", "last": "me"})
        self.assertEqual((recipes["base"].stop_signal, recipes["base"].command), ("SIGINT", ("a", "b")))

    def test_the_python_version_follows_the_release_unless_given(self) -> None:
        content = "tcib_runs: ['ls /usr/lib/python{{ tcib_python_version }} {{ tcib_python_version | default(1) }}']\n"
        for release, more, expected in (
            ("8", {}, "3.6 1"),
            ("9", {}, "3.9 1"),
            ("10", {}, "3.12 1"),
            ("10", {"tcib_python_version": "3.13"}, "3.13 3.13"),
        ):
            with self.subTest(release):
                text = self.one(content, tcib_release=release, **more)
                self.assertEqual(text, f"FROM base:1\nUSER root\nRUN ls /usr/lib/python{expected}\n")
        with self.assertRaisesRegex(UsageError, "'tcib_python_version' is undefined"):
            self.one(content, tcib_release="11")

    def test_the_parent_can_be_printed(self) -> None:
        files = {
            "base/base.yaml": 'tcib_labels: {from: "{{ tcib_from }}"}\ntcib_x: "x-{{ tcib_from }}"\ntcib_runs: ["echo {{ tcib_x }}"]\n',
            "base/own/own.yaml": 'tcib_from: quay.io/own:1\ntcib_runs: ["echo {{ tcib_from }}"]\n',
        }
        recipes = self.tree(files)
        self.assertEqual(self.text(recipes["base"]), 'FROM base:1\nLABEL from="base:1"\nUSER root\nRUN echo x-base:1\n')
        self.assertIn("RUN echo quay.io/own:1\n", self.text(recipes["own"]))
        with self.assertRaisesRegex(UsageError, "changed by a template"):
            self.one('tcib_runs: ["echo {{ tcib_from | upper }}"]\n')

    def test_an_extra_configuration_wins_over_everything(self) -> None:
        extra = self.root.parent / "extra.yaml"
        extra.write_text(
            'tcib_stopsignal: SIGINT\ntcib_distro: fedora\nsite: "{{ tcib_release }}"\ntcib_labels: {name: "{{ tcib_meta.name }}", r: "{{ site }}"}\n'
        )
        self.write({"base/base.yaml": "tcib_stopsignal: SIGTERM\ntcib_labels: {own: x}\ntcib_runs: ['echo {{ tcib_distro }}']\n"}, base=False)
        recipes = load_tcib(self.root, variables={"tcib_distro": "rhel", "tcib_release": "10"}, extra_config=extra)
        expected = 'FROM base:1\nLABEL name="base"\nLABEL r="10"\nUSER root\nRUN echo fedora\nSTOPSIGNAL SIGINT\n'
        self.assertEqual(self.text(recipes["base"]), expected)
        self.assertEqual(recipes["base"].where, f"{self.root}/base/base.yaml:1")
        for content, words in (("- a\n", "must hold variables"), ("tcib_stopsignal: '{{ nothing }}'\n", "'nothing' is undefined")):
            extra.write_text(content)
            with self.subTest(words), self.assertRaisesRegex(UsageError, words) as caught:
                load_tcib(self.root, variables={}, extra_config=extra)
            self.assertEqual(caught.exception.where, f"{extra}:1")
        with self.assertRaisesRegex(UsageError, "cannot be read|cannot read|No such file"):
            load_tcib(self.root, variables={}, extra_config=self.root / "none.yaml")
        self.write({"native/base.yaml": "base:\n  from: profile\n"}, base=False)
        with self.assertRaisesRegex(UsageError, "for tcib trees"):
            load_recipes(self.root / "native", variables={}, extra_config=extra)

    def test_a_child_of_an_image_with_a_user_installs_as_root(self) -> None:
        recipes = self.tree(
            {
                "base/base.yaml": "tcib_envs: {A: b}\n",
                "base/tempest/x.yaml": "tcib_user: tempest\n",
                "base/tempest/tempest-all/x.yaml": "tcib_envs: {A: b}\ntcib_runs: [id]\ntcib_user: tempest\n",
                "base/tempest/tempest-all/more/x.yaml": "tcib_runs: [id]\n",
            }
        )
        self.assertEqual(self.text(recipes["tempest"]), "FROM base:1\nUSER root\nUSER tempest\n")
        self.assertEqual(self.text(recipes["tempest-all"]), 'FROM base:1\nENV A="b"\nUSER root\nRUN id\nUSER tempest\n')
        self.assertEqual(self.text(recipes["more"]), "FROM base:1\nUSER root\nRUN id\n")

    def test_what_real_trees_do_with_jinja(self) -> None:
        cases = (
            ("tcib_packages: {common: [a, b]}", "{{ tcib_packages['common'] | join(' ') }}", "a b"),
            ("tcib_packages: [a, b]", "{{ tcib_packages | join(' ') }}", "a b"),
            ("tcib_packages: {common: [a]}", "{{ tcib_packages.common | join(' ') }}", "a"),
            ("tcib_packages: {common: [a]}", "{{ tcib_packages['el8'] | default([]) | join(' ') }}x", "x"),
            ("tcib_x: 1", "{{ tcib_rhel_modules['redis'] | default('5') }}", "5"),
            ("tcib_x: '{{ tcib_y }}b'\ntcib_y: '{{ tcib_distro }}a'", "{{ tcib_x }}", "centosab"),
            ("tcib_x: ['{{ tcib_distro }}']", "{% for i in tcib_x %}{{ i }}-{% endfor %}", "centos-"),
            (
                "tcib_m: {el9: [{enable: 'redis:6'}]}",
                "{% for i in tcib_m['el' ~ tcib_release] %}{% set k, v = (i.items() | list).0 %}{{ k }} {{ v }}{% endfor %}",
                "enable redis:6",
            ),
            ("tcib_x: true", "{{ 'a' if tcib_x | bool else 'b' }}", "a"),
            ("tcib_x: 1.10", "{{ tcib_x }}", "1.1"),
            ("tcib_x: yes", "{{ tcib_x }}", "True"),
            ("a: &a [x]\ntcib_x: *a", "{{ tcib_x | join }}", "x"),
            ("tcib_x: 1", "x{{ tcib_release is version('8', '==') | ternary('', '.10.5') }}", "x.10.5"),
            ("tcib_x: 1", "{{ tcib_python_version | default('3.9' if tcib_release is version('9', '==') else '3.6') }}", "3.9"),
            ("tcib_x: 9.10.el9", "{{ tcib_x is version('9.9', '>=') }} {{ tcib_x is version_compare('9.10', 'lt') }}", "True False"),
            ("tcib_x: [a, b]", "{{ tcib_x is contains('a') }} {{ ['c'] is subset(tcib_x) }} {{ [] is falsy }}", "True False True"),
        )
        for variables, template, expected in cases:
            with self.subTest(template):
                text = self.one(f"{variables}\ntcib_actions:\n- run: {json.dumps('echo ' + template)}\n")
                self.assertEqual(text, f"FROM base:1\nUSER root\nRUN echo {expected}\n")

    def test_a_block_over_several_lines_folds_as_in_ansible(self) -> None:
        content = (
            "tcib_p: {el9: [a]}\ntcib_actions:\n- run: >-\n    if x; then\n    {%- if 'el' ~ tcib_release in tcib_p %}\n"
            "     {% for i in tcib_p['el9'] %}do {{ i }}; {% endfor %}\n    {%- else %}\n      echo no;\n    {%- endif %}\n    fi\n"
        )
        self.assertEqual(self.one(content), "FROM base:1\nUSER root\nRUN if x; then do a;  fi\n")

    def test_settings_win_over_files(self) -> None:
        content = "tcib_distro: fedora\ntcib_user: a\ntcib_actions:\n- run: echo {{ tcib_distro }} {{ tcib_new }} {{ tcib_rhel_modules.virt }}\n"
        text = self.one(content, tcib_distro="rhel", tcib_user="b", tcib_new="n", tcib_rhel_modules="redis:5,virt:8.3", registry="ignored")
        self.assertEqual(text, "FROM base:1\nUSER root\nRUN echo rhel n 8.3\nUSER b\n")

    def test_an_argument_reaches_the_stage_behind_from(self) -> None:
        recipes = self.tree({"base/base.yaml": "tcib_args: {A: b}\ntcib_builder: x:$A\ntcib_from: y:${A}\ntcib_runs: [echo $A]\n"})
        self.assertEqual(recipes["base"].own_base, "y:b")
        self.assertEqual(self.text(recipes["base"]), 'ARG A="b"\nFROM x:$A as builder\nFROM base:1\nARG A="b"\nUSER root\nRUN echo $A\n')

    def test_another_base_of_its_own_is_another_fingerprint(self) -> None:
        first, second = (fingerprints(self.tree({"base/base.yaml": f"tcib_from: x:{tag}\n"}), profile())["base"].parts for tag in ("1", "2"))
        self.assertEqual({part for part in first if first[part] != second[part]}, {"parent"})

    def test_a_key_that_is_never_used_may_hold_what_we_cannot_render(self) -> None:
        self.assertEqual(self.one("tcib_path: \"{{ lookup('env', 'HOME') }}/x\"\ntcib_cmd: x\n"), 'FROM base:1\nUSER root\nCMD ["x"]\n')

    def test_mistakes_name_file_and_line(self) -> None:
        cases = (
            ("tcib_actions:\n- run: a\n- run: cat {{ lookup('file', '/etc/passwd') }}\n", 3, "a file outside the tree"),
            ("tcib_user: \"{{ query('env', 'HOME') }}\"\n", 1, "only 'fileglob' and 'file'"),
            ("tcib_user: \"{{ lookup('file', 'a', errors='ignore') }}\"\n", 1, "option that is not available: errors"),
            ("tcib_user: \"{{ lookup('pipe', 'id') }}\"\n", 1, "looks up 'pipe'"),
            ("tcib_user: \"{{ '9' is version('9', 'near') }}\"\n", 1, "compares versions by 'near'"),
            ("tcib_user: \"{{ '9' is version('') }}\"\n", 1, "not both versions"),
            ("tcib_user: \"{{ '9' is version('x', '<') }}\"\n", 1, "cannot be rendered"),
            ("tcib_user: x\ntcib_from: x:$A\n", 2, "argument 'A', which has no value"),
            ("tcib_user: '{{ nothing }}'\n", 1, "'nothing' is undefined"),
            ("tcib_user: '{{ tcib_packages.common }}'\n", 1, "'tcib_packages' is undefined"),
            ("tcib_user: '{{ tcib_user }}'\n", 1, "refers to itself"),
            ("tcib_user: '{{ tcib_b }}'\ntcib_b: '{{ tcib_user }}'\n", 1, "refers to itself"),
            ("tcib_user: '{{ x'\n", 1, "not a valid template"),
            ("tcib_user: '{{ 1 | nofilter }}'\n", 1, "No filter named 'nofilter'"),
            ("tcib_user: \"{{ ''.__class__.__mro__ }}\"\n", 1, ""),
            ("tcib_user: \"{{ tcib_meta.update({'a': 1}) }}\"\n", 1, "may not do"),
            ("tcib_user: \"{{ 'a' * 1000000000 }}\"\n", 1, "small numbers"),
            ("tcib_user: \"{{ '%1000000000d' % 1 }}\"\n", 1, "small numbers"),
            ("tcib_user: \"{{ '{:>1000000000}'.format(1) }}\"\n", 1, ""),
            ("tcib_user: '{{ 9 ** 9 ** 9 ** 9 }}'\n", 1, ""),
            ("tcib_user: '{% for a in range(100000000) %}x{% endfor %}'\n", 1, "at most"),
            ("tcib_user: \"{% include '/etc/passwd' %}\"\n", 1, "include"),
            ('tcib_user: "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"\n', 1, "macro"),
            ('tcib_user: "' + "{% set x = 'ab' %}" * 9 + '"\n', 1, "too many assignments"),
            ("tcib_user: |\n  one\n  RUN id\n", 1, "newline"),
            ('tcib_envs: {A: "x\\nRUN id"}\n', 1, "newline"),
            ('tcib_envs: {"A B": x}\n', 1, "grammar"),
            ('tcib_labels: {"a\\nRUN id": x}\n', 1, "grammar"),
            ("tcib_labels: [a]\n", 1, "must be a mapping"),
            ("tcib_actions:\n- rnu: x\n", 2, "did you mean 'RUN'"),
            ("tcib_actions:\n- from: x\n", 2, "unknown verb"),
            ("tcib_actions:\n- x\n", 2, "verb: value"),
            ("tcib_actions: x\n", 1, "must be a list"),
            ("tcib_actions:\n- run:\n", 2, "no value"),
            ("tcib_actions:\n- run: |\n    one\n    two\n", 2, "several lines"),
            ('tcib_user: "\\f"\n', 1, "control character"),
            ('tcib_actions:\n- run: "a\\rRUN id"\n', 2, "control character"),
            ("tcib_runs: one\n", 1, "must be a list"),
            ("tcib_copies: one\n", 1, "must be a list"),
            ("tcib_gather_files: [/etc/passwd]\n", 1, "outside the tree"),
            ("tcib_gather_files: [../../../../etc/passwd]\n", 1, "outside the tree"),
            ("tcib_gather_files: [.]\n", 1, "the context has its own"),
            ("tcib_gather_files: [Containerfile]\n", 1, "outside the tree"),
            ("- a\n", 1, "must hold variables"),
            ("a: !!python/object/apply:os.system [id]\ntcib_user: x\n  y: z\n", 3, "is not YAML"),
        )
        for content, line, words in cases:
            with self.subTest(content[:60]):
                with self.assertRaises(UsageError) as caught:
                    self.one(content)
                error = caught.exception
                self.assertIn(words, str(error))
                self.assertEqual(error.where, f"{self.root}/base/base.yaml:{line}")
                self.assertNotIn("\n", str(error))

    def test_several_lines_that_continue_are_kept(self) -> None:
        self.assertEqual(self.one("tcib_actions:\n- run: |\n    one \\\n      two\n"), "FROM base:1\nUSER root\nRUN one \\\n  two\n")

    def test_gathered_files_are_part_of_the_context_and_of_the_fingerprint(self) -> None:
        files = {
            "base/base.yaml": "tcib_gather_files: [a.sh, /usr/share/x/container-images/extra/b.sh]\ntcib_copies: [a.sh /a]\n",
            "base/a.sh": "a",
        }
        self.write({"../extra/b.sh": "b"}, base=False)
        recipes = self.tree(files)
        rendered = render(recipes["base"], parent_reference="x", profile=profile(), labels={})
        self.assertEqual([inside for inside, _, _ in rendered.files], ["a.sh", "usr/share/x/container-images/extra/b.sh"])
        before = fingerprints(recipes, profile())["base"]
        (self.root / "base/a.sh").write_text("changed")
        self.assertNotEqual(fingerprints(recipes, profile())["base"].parts["files"], before.parts["files"])

    def test_a_lookup_of_files_stays_in_the_tree(self) -> None:
        there = "/usr/share/else/container-images/kolla/base"
        files = {
            "tcib/base/base.yaml": (
                f"tcib_gather_files: \"{{{{ lookup('fileglob', '{there}/*.sh', wantlist=True) }}}}\"\n"
                f"tcib_copies: ['{there}/one.sh /one']\n"
                "tcib_labels: {text: \"{{ lookup('file', 'note.txt') }}\", list: \"{{ query('fileglob', '*.txt') | join }}\"}\n"
            ),
            "tcib/base/note.txt": "hello\n",
            "kolla/base/one.sh": "1",
            "kolla/base/two.sh": "2",
            "kolla/base/.hidden.sh": "3",
            "kolla/base/other": "4",
        }
        recipe = self.tree(files)["base"]
        rendered = render(recipe, parent_reference="x", profile=profile(), labels={})
        self.assertEqual([inside for inside, _, _ in rendered.files], [f"{there[1:]}/one.sh", f"{there[1:]}/two.sh"])
        self.assertIn('LABEL list="note.txt"\nLABEL text="hello"\n', rendered.containerfile)
        out = self.root.parent / "out"
        write_context(rendered, out)
        self.assertEqual((out / there[1:] / "one.sh").read_text(), "1")

    def test_a_lookup_does_not_follow_a_link_out_of_the_tree(self) -> None:
        (self.root.parent / "secret").write_text("secret")
        self.write({"tcib/base/base.yaml": "tcib_user: \"{{ lookup('file', 'link') }}\"\n"}, base=False)
        (self.root / "tcib/base/link").symlink_to(self.root.parent / "secret")
        with self.assertRaisesRegex(UsageError, "outside the tree"):
            load_tcib(self.root, variables={})

    def test_two_directories_of_one_name_are_an_error(self) -> None:
        with self.assertRaisesRegex(UsageError, "defined twice"):
            self.tree({"base/base.yaml": "tcib_user: x\n", "base/a/b/x.yaml": "tcib_user: x\n", "base/b/x.yaml": "tcib_user: x\n"})

    def test_links_are_not_followed_out_of_a_directory(self) -> None:
        (self.root.parent / "secret.yaml").write_text("tcib_user: x\n")
        self.write({"base/base.yaml": "tcib_user: x\n"}, base=False)
        (self.root / "base/z.yaml").symlink_to(self.root.parent / "secret.yaml")
        with self.assertRaisesRegex(UsageError, "symbolic link"):
            load_tcib(self.root, variables={})
        (self.root / "base/z.yaml").unlink()
        (self.root / "base/loop").symlink_to(self.root)
        self.assertEqual(list(load_tcib(self.root, variables={})), ["base"])

    def test_an_alias_bomb_is_bounded(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
        with self.assertRaisesRegex(UsageError, "expand to more than"):
            self.one("\n".join(lines) + "\n")

    def test_format_is_detected(self) -> None:
        self.write({"tcib/base/base.yaml": "tcib_user: x\n", "tcib/base/os/os.yaml": "tcib_user: y\n"}, base=False)
        for start in (self.root, self.root / "tcib", self.root / "tcib/base"):
            with self.subTest(start):
                self.assertEqual(detect_format(start), "tcib")
                self.assertEqual({name: recipe.parent for name, recipe in load_recipes(start, variables={}).items()}, {"base": None, "os": "base"})
        self.write({"native/base.yaml": "base:\n  from: profile\n", "empty/x": ""}, base=False)
        self.assertEqual([detect_format(self.root / name) for name in ("native", "empty")], ["native", "native"])

    def test_a_tree_without_images_is_an_error(self) -> None:
        with self.assertRaisesRegex(UsageError, "no tcib image"):
            load_tcib(self.root, variables={})

    def test_a_profile_can_add_to_a_tcib_image(self) -> None:
        recipes = self.tree({"base/base.yaml": "tcib_actions:\n- run: own\n"})
        site = profile(overrides=(("base", (("packages", (Package("strace"),)), ("steps", (Step("echo"),)), ("labels", (("a", "b"),)))),))
        text = render(apply_profile(recipes, site)["base"], parent_reference="base:1", profile=site, labels={}).containerfile
        self.assertTrue(text.startswith('FROM base:1\nLABEL a="b"\nUSER root\nARG SOURCE_DATE_EPOCH='))
        self.assertLess(text.index("strace"), text.index("RUN echo"))
        self.assertLess(text.index("RUN echo"), text.index("RUN own"))

    def test_a_tree_of_104_definitions(self) -> None:
        self.assertEqual(write_tree(self.root / "tcib"), 104)
        recipes = load_tcib(self.root, variables={})
        self.assertEqual(len(recipes), 104)
        site = profile(base=Base("quay.io/centos/centos:stream9"))
        rendered = render_tree(recipes, ImageGraph(recipes).order, profile=site, tag="t")
        self.assertTrue(rendered["base"].containerfile.startswith("FROM quay.io/centos/centos:stream9\nLABEL maintainer"))
        self.assertTrue(rendered["nova-api"].containerfile.startswith("FROM localhost:5000/test/nova-base:t\n"))
        for one in rendered.values():
            self.assertNotIn("{{", one.containerfile)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(KEYS, VALUES, max_size=6))
    def test_random_variables_never_give_a_traceback(self, variables: dict[str, object]) -> None:
        self.write({"base/base.yaml": yaml.safe_dump(variables)}, base=False)
        before = sorted(str(path) for path in self.root.rglob("*"))
        with mock.patch("subprocess.Popen", side_effect=AssertionError("ran something")), mock.patch.object(os, "system", side_effect=AssertionError):
            try:
                recipes = load_tcib(self.root, variables={})
            except UsageError as error:
                self.assertNotIn("\n", str(error))
            else:
                heads = [line.split(" ")[0] for line in (recipes["base"].containerfile or "").splitlines()] if recipes else []
                self.assertEqual([head for head in heads if head not in VERBS], [], "a value became an instruction")
        self.assertEqual(before, sorted(str(path) for path in self.root.rglob("*")))

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.text(alphabet="{}%#ax'\"|.()[]~*+-= _0159\n", max_size=40))
    def test_random_templates_never_give_a_traceback(self, template: str) -> None:
        try:
            self.one(f"tcib_x: [a, b]\ntcib_user: {json.dumps('{{ ' + template)}\n")
        except UsageError as error:
            self.assertNotIn("\n", str(error))
