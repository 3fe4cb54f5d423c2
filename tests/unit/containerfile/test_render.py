"""The text of a Containerfile, its context, and what changes a fingerprint."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.recipes.trees import TreeTest, profile
from topcoat.containerfile import accounts, fingerprint, fingerprints, quoting, render, write_context
from topcoat.errors import ContentError
from topcoat.model import Base, Package, Step
from topcoat.model.recipe import User
from topcoat.recipes import apply_profile, load_tree

NOVA = """\
nova:
  from: base
  description: Compute
  users: [nova]
  modules: ["virt:rhel"]
  packages: [zeta, alpha]
  copy:
    - {source: files/a.conf, target: /etc/a.conf, mode: "0600", owner: nova}
    - {source: files/d, target: /etc/d}
  run: [echo one]
  env: {B: "$x \\"y\\" \\\\z", A: "1"}
  labels: {l2: v, l1: v}
  ports: [8774]
  volumes: [/v]
  workdir: /w
  entrypoint: [/usr/bin/nova, "a b"]
  user: nova
  stop_signal: SIGTERM
  healthcheck: [/usr/bin/check]
"""


class Rendering(TreeTest):
    def recipe(self, text: str = NOVA, root: Path | None = None, **changes: object):  # type: ignore[no-untyped-def]
        self.write({"openstack/nova.yaml": text, "files/a.conf": "content", "files/d/one": "1", "files/d/sub/two": "2"})
        self.profile = profile(**changes)
        return apply_profile(load_tree(root or self.root), self.profile)["nova"]

    def text(self, *arguments: object, **changes: object) -> str:
        return render(self.recipe(*arguments, **changes), parent_reference="r/base@sha256:x", profile=self.profile, labels={"z": "1"}).containerfile

    def test_instructions_stand_in_order(self) -> None:
        text = self.text()
        verbs = [line.split()[0] for line in text.splitlines() if line and not line.startswith(" ")]
        expected = "FROM ARG RUN COPY COPY RUN ENV LABEL EXPOSE VOLUME WORKDIR HEALTHCHECK STOPSIGNAL ENTRYPOINT CMD USER"
        self.assertEqual(verbs, expected.split())
        self.assertTrue(text.startswith("FROM r/base@sha256:x\n"))
        self.assertIn('ENTRYPOINT ["/usr/bin/nova", "a b"]\nCMD []\nUSER nova\n', text)
        self.assertIn('COPY --chown=nova --chmod=0600 ["files/etc/a.conf", "/etc/a.conf"]', text)
        self.assertIn('COPY ["files/etc/d/", "/etc/d/"]', text)
        self.assertIn('ENV A="1" \\\n    B="\\$x \\"y\\" \\\\z"', text)

    def test_accounts_come_before_packages_and_clean_up_is_in_the_same_run(self) -> None:
        run = self.text().split("RUN ")[1].split("\nCOPY")[0]
        order = [run.index(part) for part in ("u nova 42436", "module enable virt:rhel", " install ", "alpha", "zeta", "dnf clean all", "sweep")]
        self.assertEqual(order, sorted(order))
        self.assertIn("m kolla nova", run)
        self.assertEqual(self.text().count("RUN "), 2, "one for accounts and packages, one for the step")

    def test_an_image_without_packages_runs_nothing(self) -> None:
        text = self.text("nova:\n  from: base\n  entrypoint: [/usr/bin/x]\n")
        self.assertNotIn("RUN", text)
        self.assertNotIn("ARG", text)

    def test_the_context_has_the_modes_of_the_recipe_not_of_the_checkout(self) -> None:
        recipe = self.recipe()
        (self.root / "files/a.conf").chmod(0o777)
        (self.root / "files/d/one").chmod(0o664)
        (self.root / "files/d/sub/two").chmod(0o775)
        target = self.root.parent / "context"
        write_context(render(recipe, parent_reference="x", profile=self.profile, labels={}), target)
        modes = {path.relative_to(target).as_posix(): path.stat().st_mode & 0o777 for path in target.rglob("*") if path.is_file()}
        self.assertEqual(modes["files/etc/a.conf"], 0o600)
        self.assertEqual((modes["files/etc/d/one"], modes["files/etc/d/sub/two"]), (0o644, 0o755))
        self.assertEqual({int(path.stat().st_mtime) for path in (target / "files/etc/d").rglob("*")}, {315532800})

    def test_what_does_not_change_a_fingerprint(self) -> None:
        first = fingerprint(self.recipe(), profile=self.profile, parent=None)
        same = NOVA.replace("packages: [zeta, alpha]", "packages: [alpha, zeta]").replace("{l2: v, l1: v}", "{l1: v, l2: v}")
        lines = same.splitlines(keepends=True)
        same = lines[0] + "".join(reversed(lines[-6:])) + "".join(lines[1:-6])
        self.assertEqual(fingerprint(self.recipe(same), profile=self.profile, parent=None), first)
        moved = self.root.parent / "elsewhere" / "deep"
        self.recipe()
        shutil.copytree(self.root, moved)
        self.assertEqual(fingerprint(self.recipe(root=moved), profile=self.profile, parent=None), first)
        for changes in (
            {"registry": "other:1"},
            {"namespace": "n", "prefix": "p-"},
            {"name": "n"},
            {"base": Base("o:1/base/os:2", profile().base.digest)},
        ):
            with self.subTest(changes):
                self.assertEqual(fingerprint(self.recipe(**changes), profile=self.profile, parent=None), first)

    def test_what_changes_a_fingerprint_and_which_part(self) -> None:
        recipe = self.recipe()
        first = fingerprint(recipe, profile=self.profile, parent=None)
        cases = {
            "containerfile": [
                replace(recipe, packages=(*recipe.packages, Package("new"))),
                replace(recipe, steps=(Step("echo two"),)),
                replace(recipe, user="root"),
                replace(recipe, labels=(("l1", "w"), ("l2", "v"))),
                replace(recipe, description="Other"),
                replace(recipe, users=recipe.users[:1]),
            ],
            "files": [replace(recipe, copies=(recipe.copies[0], replace(recipe.copies[1], mode=0o600)))],
            "containerfile files": [replace(recipe, copies=(replace(recipe.copies[0], mode=0o640), recipe.copies[1]))],
        }
        for part, changed in cases.items():
            for one in changed:
                with self.subTest(part=part, one=one):
                    other = fingerprint(one, profile=self.profile, parent=None)
                    self.assertNotEqual(other.total, first.total)
                    self.assertEqual([name for name in first.parts if first.parts[name] != other.parts[name]], part.split())
        (self.root / "files/d/sub/two").write_text("changed")
        other = fingerprint(recipe, profile=self.profile, parent=None)
        self.assertEqual([name for name in first.parts if first.parts[name] != other.parts[name]], ["files"])

    def test_the_base_digest_and_the_target_change_a_fingerprint(self) -> None:
        first = fingerprint(self.recipe(), profile=self.profile, parent=None)
        other = fingerprint(self.recipe(base=Base("localhost:5000/base/os:latest", "sha256:" + "2" * 64)), profile=self.profile, parent=None)
        self.assertEqual([name for name in first.parts if first.parts[name] != other.parts[name]], ["parent"])
        other = fingerprint(self.recipe(arch="aarch64"), profile=self.profile, parent=None)
        self.assertEqual([name for name in first.parts if first.parts[name] != other.parts[name]], ["arguments"])

    def test_a_change_reaches_every_descendant_and_nobody_else(self) -> None:
        tree = {"infra/x.yaml": "a:\n  from: base\n  packages: [p]\nb:\n  from: a\nc:\n  from: base\n"}
        self.write(tree)
        before = fingerprints(apply_profile(load_tree(self.root), profile()), profile())
        self.write({"infra/x.yaml": tree["infra/x.yaml"].replace("[p]", "[q]")})
        after = fingerprints(apply_profile(load_tree(self.root), profile()), profile())
        self.assertEqual([name for name in before if before[name] != after[name]], ["a", "b"])
        self.assertEqual(after["b"].parts["parent"], after["a"].total)

    def test_parts_survive_the_label(self) -> None:
        one = fingerprint(self.recipe(), profile=self.profile, parent=None)
        self.assertEqual(json.loads(one.compact()), dict(one.parts))


class Quoting(TreeTest):
    @given(st.text(alphabet=st.characters(blacklist_categories=("Cc", "Cs"))))
    def test_a_quoted_value_reads_back(self, value: str) -> None:
        text = quoting.pair("k", value).removeprefix('k="').removesuffix('"')
        back = ""
        position = 0
        while position < len(text):
            if text[position] == "\\":
                position += 1
            else:
                self.assertNotIn(text[position], '"$')
            back += text[position]
            position += 1
        self.assertEqual(back, value)

    def test_steps_that_a_parser_could_misread_go_into_exec_form(self) -> None:
        self.assertEqual(quoting.run("echo $HOME && ls"), "RUN echo $HOME && ls")
        for line in ("a\nb", "cat <<EOF", "echo \\", "[ -f /x ]", "--mount=x", "# no", " x"):
            with self.subTest(line):
                text = quoting.run(line)
                self.assertEqual(json.loads(text.removeprefix("RUN ")), ["/bin/sh", "-c", line])
                self.assertNotIn("\n", text)

    def test_a_newline_never_becomes_an_instruction(self) -> None:
        with self.assertRaises(ValueError):
            quoting.pair("k", "a\nRUN id")


class Accounts(TreeTest):
    USERS = (User("kolla", 42400, 42400), User("qemu", 107, 107), User("nova", 42436, 42436, "/var/lib/nova", groups=("qemu", "kolla")))
    FILES = {
        "passwd": "root:x:0:0:root:/root:/bin/bash\nqemu:x:107:107::/:/sbin/nologin\nnovax:x:1:1::/:/x\n",
        "group": "root:x:0:\nqemu:x:107:a,b\nxkolla:x:3:\n",
        "shadow": "root:*::0:::::\n",
        "gshadow": "root:*::\n",
    }

    def shell(self, files: dict[str, str], users: tuple[User, ...] = USERS) -> tuple[int, dict[str, str]]:
        """Run the commands of the Containerfile against files in a directory."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                Path(folder, name).write_text(text)
            script = "set -eu; " + "; ".join(accounts.shell_lines(users))
            done = subprocess.run(["sh", "-c", script.replace("/etc/", f"{folder}/")], capture_output=True, check=False)
            return done.returncode, {path.name: path.read_text() for path in Path(folder).iterdir()}

    def test_the_shell_and_the_direct_way_write_the_same_files(self) -> None:
        for names in (("passwd", "group"), ("passwd", "group", "shadow"), tuple(self.FILES)):
            files = {name: self.FILES[name] for name in names}
            with self.subTest(names):
                code, written = self.shell(files)
                self.assertEqual(code, 0)
                self.assertEqual(written, accounts.apply(files, self.USERS))
                self.assertIn("nova:x:42436:42436::/var/lib/nova:/sbin/nologin\n", written["passwd"])
                self.assertIn("qemu:x:107:a,b,nova\n", written["group"])
                self.assertIn("kolla:x:42400:nova\n", written["group"])
                self.assertIn("xkolla:x:3:\n", written["group"])

    def test_a_second_time_changes_nothing(self) -> None:
        _, once = self.shell(self.FILES)
        self.assertEqual(self.shell(once), (0, once))
        self.assertEqual(accounts.apply(once, self.USERS), once)

    def test_a_line_feed_alone_ends_a_line(self) -> None:
        files = {**self.FILES, "passwd": self.FILES["passwd"] + "odd:x:9:9:\x0cnova:x:5:5::/:/x\n"}
        code, written = self.shell(files)
        self.assertEqual((0, written), (code, accounts.apply(files, self.USERS)))

    def test_other_ids_end_the_build(self) -> None:
        for name, text in (("passwd", "nova:x:5:5::/:/x\n"), ("group", "nova:x:5:\n")):
            with self.subTest(name):
                files = {**self.FILES, name: self.FILES[name] + text}
                self.assertNotEqual(self.shell(files)[0], 0)
                with self.assertRaisesRegex(ContentError, "nova exists with"):
                    accounts.apply(files, self.USERS)

    def test_no_date_reaches_the_shadow_file(self) -> None:
        _, written = self.shell(self.FILES)
        self.assertIn("nova:!::::::\n", written["shadow"])
