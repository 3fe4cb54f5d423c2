"""Each mistake of a recipe tree is one clear error with file and line; nothing ends in a traceback."""

from __future__ import annotations

import os

from tests.unit.recipes.trees import BASE, TreeTest
from topcoat.errors import UsageError
from topcoat.recipes import load_recipes, load_tree
from topcoat.recipes.reading import Problems
from topcoat.recipes.tree import examine_tree

NOVA = "openstack/nova.yaml"

# (name of the case, content of nova.yaml, line the error names, words it must hold)
CASES: tuple[tuple[str, str | bytes, int | None, str], ...] = (
    ("duplicate key", "nova:\n  from: base\n  from: base\n", 3, "given twice"),
    ("duplicate image in one file", "nova:\n  from: base\nnova:\n  from: base\n", 3, "given twice"),
    ("duplicate image in two files", "base:\n  from: profile\n", 1, "defined twice"),
    ("unknown key", "nova:\n  from: base\n  pakages: [a]\n", 3, "did you mean 'packages'"),
    ("no from", "nova:\n  packages: [a]\n", 1, "no 'from'"),
    ("adopted with a recipe", "nova:\n  adopted: true\n  packages: [a]\n", 3, "can have no effect"),
    ("adopted with a parent", "nova:\n  from: base\n  adopted: true\n", 2, "can have no effect"),
    ("adopted from a name without host", "nova:\n  adopted: kolla/nova-api:1\n", 2, "without a registry host"),
    ("adopted, or not", "nova:\n  adopted: false\n", 2, "must be true or the reference"),
    ("adopted from a list", "nova:\n  adopted: [a.b/c:d]\n", 2, "must be true or the reference"),
    ("unknown parent", "nova:\n  from: bsae\n", 2, "did you mean 'base'"),
    ("itself as parent", "nova:\n  from: nova\n", 2, "nova -> nova"),
    ("cycle", "nova-a:\n  from: nova-b\nnova-b:\n  from: nova-a\n", 2, "cycle"),
    ("alias", "nova: &n\n  from: base\nnova-b: *n\n", 3, "alias"),
    ("merge key", "nova:\n  from: base\nnova-b:\n  <<: 1\n  from: base\n", 4, "unknown key '<<'"),
    ("not UTF-8", b"nova:\n  from: base\n  description: \xff\xfe\n", 3, "UTF-8"),
    ("empty", "", None, "is empty"),
    ("only a comment", "# nothing\n", None, "is empty"),
    ("only null", "null\n", 1, "must hold recipes"),
    ("a list", "- nova\n", 1, "must hold recipes"),
    ("two documents", "nova:\n  from: base\n---\nother:\n  from: base\n", 3, "more than one YAML document"),
    ("tab", "nova:\n\tfrom: base\n", 2, "is not YAML"),
    ("not YAML", "nova: [\n", 2, "is not YAML"),
    ("python tag", "nova:\n  from: base\n  description: !!python/object/apply:os.system [ls]\n", 3, "must be text"),
    ("own tag", "nova:\n  from: base\n  description: !evil x\n", 3, "tag"),
    ("NUL", "nova:\n  from: base\n  description: a\0b\n", 3, "control character"),
    ("newline in label", 'nova:\n  from: base\n  labels: {a: "x\\nRUN id"}\n', 3, "newline or a control"),
    ("newline in environment", "nova:\n  from: base\n  env:\n    A: |\n      one\n      two\n", 4, "newline or a control"),
    ("control character in label", 'nova:\n  from: base\n  labels: {a: "x\\x1by"}\n', 3, "control character"),
    ("reserved label", "nova:\n  from: base\n  labels: {io.topcoat.image: x}\n", 3, "written by topcoat"),
    ("name outside the grammar", "Nova:\n  from: base\n", 1, "OCI grammar"),
    ("name with a slash", "a/b:\n  from: base\n", 1, "OCI grammar"),
    ("jinja in a package", 'nova:\n  from: base\n  packages: ["{{ x }}"]\n', 3, "Jinja"),
    ("jinja statement", 'nova:\n  from: base\n  run: ["{% if a %}ls{% endif %}"]\n', 3, "Jinja"),
    ("glob in a package", 'nova:\n  from: base\n  packages: ["python3-*"]\n', 3, "package name"),
    ("file as a package", "nova:\n  from: base\n  packages: [/usr/bin/ls]\n", 3, "package name"),
    ("option as a package", 'nova:\n  from: base\n  packages: ["--nogpgcheck"]\n', 3, "package name"),
    ("shell in a package", 'nova:\n  from: base\n  packages: ["a; id"]\n', 3, "package name"),
    ("package twice", "nova:\n  from: base\n  packages:\n    - a\n    - a\n", 5, "listed twice"),
    ("unknown condition", "nova:\n  from: base\n  packages:\n    - {name: a, archs: x}\n", 4, "did you mean 'arch'"),
    ("unknown architecture", "nova:\n  from: base\n  packages:\n    - {name: a, arch: amd64}\n", 4, "unknown architecture 'amd64'"),
    ("unknown architecture that is excluded", "nova:\n  from: base\n  when: {arch: '!x86-64'}\n", 3, "did you mean 'x86_64'"),
    ("packages as text", "nova:\n  from: base\n  packages: a b\n", 3, "must be a list"),
    ("entrypoint as text", "nova:\n  from: base\n  entrypoint: /usr/bin/nova\n", 3, "exec form"),
    ("relative entrypoint", "nova:\n  from: base\n  entrypoint: [nova]\n", 3, "absolute path"),
    ("unknown user", "nova:\n  from: base\n  users: [nvoa]\n", 3, "did you mean 'nova'"),
    ("user that nobody made", "nova:\n  from: base\n  user: nova\n", 3, "not created"),
    ("user on a parent", "nova:\n  from: base\n  users: [nova]\n  user: nova\nnova-b:\n  from: nova\n", 4, "cannot set 'user'"),
    ("user made twice", "nova:\n  from: base\n  users: [nova]\nnova-b:\n  from: nova\n  users: [nova]\n", 6, "ancestor"),
    ("wrong port", "nova:\n  from: base\n  ports: [http]\n", 3, "port"),
    ("wrong signal", "nova:\n  from: base\n  stop_signal: TERM\n", 3, "signal"),
    ("wrong module", "nova:\n  from: base\n  modules: [redis]\n", 3, "name:stream"),
    ("volume with dots", "nova:\n  from: base\n  volumes: [/a/../b]\n", 3, "'..'"),
    ("copy out of the tree", "nova:\n  from: base\n  copy:\n    - {source: ../x, target: /x}\n", 4, "leaves the recipe tree"),
    ("copy of an absolute path", "nova:\n  from: base\n  copy:\n    - {source: /etc/passwd, target: /x}\n", 4, "relative to the recipe tree"),
    ("copy of nothing", "nova:\n  from: base\n  copy:\n    - {source: files/no, target: /x}\n", 4, "does not exist"),
    ("copy without target", "nova:\n  from: base\n  copy:\n    - {source: base.yaml}\n", 4, "source and target"),
    ("copy to a relative path", "nova:\n  from: base\n  copy:\n    - {source: base.yaml, target: x}\n", 4, "absolute path"),
    ("wrong mode", "nova:\n  from: base\n  copy:\n    - {source: base.yaml, target: /x, mode: rw}\n", 4, "octal mode"),
    ("internal as text", "nova:\n  from: base\n  internal: yes\n", 3, "true or false"),
    ("recipe as text", "nova: base\n", 1, "must be a mapping"),
    ("null value", "nova:\n  from: base\n  workdir:\n", 3, "must be text"),
    ("deep nesting", "nova: " + "[" * 200 + "]" * 200 + "\n", 1, "nested deeper"),
    ("very deep nesting", "nova: " + "[" * 100000, 1, ""),
    ("huge file", "# " + "x" * (1 << 20) + "\n", None, "larger than"),
)


class Mistakes(TreeTest):
    def test_each_mistake_is_one_clear_error(self) -> None:
        for title, content, line, words in CASES:
            with self.subTest(title):
                self.write({NOVA: content})
                with self.assertRaises(UsageError) as caught:
                    load_tree(self.root)
                error = caught.exception
                self.assertIn(words, str(error))
                self.assertEqual(error.exit_code, 2)
                self.assertTrue(error.next_step, "the reader is told what to do")
                expected = f"{self.root}/{NOVA}" + (f":{line}" if line else "")
                self.assertEqual(error.where, expected)
                self.assertNotIn("\n", str(error))

    def test_all_mistakes_of_a_tree_are_collected_in_the_order_of_the_files(self) -> None:
        self.write(
            {NOVA: "nova:\n  from: bsae\n  pakages: []\nNova-b:\n  from: base\n", "infra/z.yaml": "", "infra/a.yaml": "a:\n  x: 1\n  from: base\n"}
        )
        _, problems = examine_tree(self.root)
        places = [(error.where or "").removeprefix(f"{self.root}/") for error in problems.found]
        self.assertEqual(places, ["infra/a.yaml:2", "infra/z.yaml", "openstack/nova.yaml:2", "openstack/nova.yaml:3", "openstack/nova.yaml:4"])
        with self.assertRaisesRegex(UsageError, "4 more problems"):
            load_tree(self.root)

    def test_an_alias_bomb_is_refused_quickly(self) -> None:
        lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
        lines += [f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(20)]
        self.write({NOVA: "\n".join(lines) + "\n"})
        with self.assertRaisesRegex(UsageError, "alias"):
            load_tree(self.root)

    def test_a_link_out_of_the_tree_is_refused(self) -> None:
        outside = self.root.parent / "secret"
        outside.write_text("x")
        self.write({NOVA: "nova:\n  from: base\n  copy:\n    - {source: files/link, target: /x}\n"})
        (self.root / "files").mkdir()
        (self.root / "files/link").symlink_to(outside)
        with self.assertRaisesRegex(UsageError, "symbolic link"):
            load_tree(self.root)

    def test_a_link_inside_a_copied_directory_cannot_leave_the_tree(self) -> None:
        self.write({NOVA: "nova:\n  from: base\n  copy:\n    - {source: files/d, target: /x}\n", "files/d/a": "x"})
        (self.root / "files/d/link").symlink_to("/etc/passwd")
        with self.assertRaisesRegex(UsageError, "link out of the recipe tree"):
            load_tree(self.root)

    def test_a_family_file_that_is_a_link_out_of_the_tree_is_refused(self) -> None:
        outside = self.root.parent / "other.yaml"
        outside.write_text("x:\n  from: base\n")
        self.write({})
        (self.root / "infra").mkdir()
        (self.root / "infra/x.yaml").symlink_to(outside)
        with self.assertRaisesRegex(UsageError, "symbolic link"):
            load_tree(self.root)

    def test_a_pipe_in_a_copied_directory_is_refused_without_waiting(self) -> None:
        self.write({NOVA: "nova:\n  from: base\n  copy:\n    - {source: files/d, target: /x}\n", "files/d/a": "x"})
        os.mkfifo(self.root / "files/d/pipe")
        with self.assertRaisesRegex(UsageError, "neither file"):
            load_tree(self.root)

    def test_other_files_among_the_recipes_are_named(self) -> None:
        self.write({"openstack/nova.yml": "nova:\n  from: base\n"})
        with self.assertRaisesRegex(UsageError, "family file"):
            load_tree(self.root)

    def test_an_empty_tree_is_an_error(self) -> None:
        with self.assertRaisesRegex(UsageError, "no recipe"):
            load_tree(self.root)
        with self.assertRaisesRegex(UsageError, "not a directory"):
            load_recipes(self.root / "none", variables={})

    def test_the_table_of_users_is_checked(self) -> None:
        cases = (
            ("a: {uid: 5}\nb: {uid: 5}\n", 2, "already belongs"),
            ("a: {uid: 0}\n", 1, "from 1 to"),
            ("a: {uid: x}\n", 1, "whole number"),
            ("a: {gid: 5}\n", 1, "no uid"),
            ("a: {uid: 5, groups: [b]}\n", 1, "not in the table"),
            ('"a:b": {uid: 5}\n', 1, "account name"),
            ("a: {uid: 5, home: x}\n", 1, "absolute path"),
            ("a: {uid: 5, gecos: x}\n", 1, "unknown key"),
        )
        for content, line, words in cases:
            with self.subTest(words):
                self.write({"users.yaml": content})
                with self.assertRaisesRegex(UsageError, words) as caught:
                    load_tree(self.root)
                self.assertEqual(caught.exception.where, f"{self.root}/users.yaml:{line}")

    def test_text_that_yaml_11_would_turn_into_something_else_stays_text(self) -> None:
        self.write({NOVA: "nova:\n  from: base\n  env: {A: on, B: no, C: 010, D: 1_000, E: 12:30, F: 2020-01-01}\n"})
        environment = dict(load_tree(self.root)["nova"].environment)
        self.assertEqual(environment, {"A": "on", "B": "no", "C": "010", "D": "1_000", "E": "12:30", "F": "2020-01-01"})

    def test_a_problem_list_without_problems_raises_nothing(self) -> None:
        Problems().raise_first()

    def test_base_alone_is_a_tree(self) -> None:
        self.write({}, base=True)
        self.assertEqual(list(load_tree(self.root)), ["base"])
        self.assertIn("base:", BASE)
