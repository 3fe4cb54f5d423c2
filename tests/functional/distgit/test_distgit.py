"""The exported dist-git, with real git and the real recipe tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]
ODD = """\
odd:
  from: base
  description: Grüße
  copy:
    - { source: files/crlf, target: /etc/crlf }
    - { source: files/tool, target: /etc/tool }
"""
# What somebody may have set for his own work, each of it enough to change content, modes or the hash of a commit.
HOSTILE_HOME = {
    ".gitconfig": """\
[core]
  autocrlf = true
  fileMode = false
  symlinks = false
  quotePath = false
  excludesFile = ~/ignore
  attributesFile = ~/attributes
[commit]
  gpgSign = true
  cleanup = verbatim
[i18n]
  commitEncoding = ISO-8859-1
  logOutputEncoding = ISO-8859-1
[log]
  showSignature = true
[user]
  name = Someone
  email = someone@example.org
[init]
  defaultBranch = trunk
[safe]
  directory = *
""",
    "ignore": "*\n",
    "attributes": "* text eol=crlf\n",
}


def git(directory: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(directory), *words], check=True, capture_output=True, text=True).stdout.strip()


class Export(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.source = self.folder / "source"
        shutil.copytree(ROOT / "container-images", self.source / "container-images", symlinks=True)
        git(self.folder, "init", "-q", str(self.source))
        self.commit_source("recipes")

    def commit_source(self, message: str) -> str:
        git(self.source, "add", "-A")
        git(self.source, "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", message)
        return git(self.source, "rev-parse", "HEAD")

    def export(self, output: Path, *words: str) -> dict:
        command = [sys.executable, "-m", "topcoat", "--recipes", str(self.source / "container-images"), "distgit", "--output", str(output)]
        done = subprocess.run([*command, "--format", "json", *words], capture_output=True, text=True, cwd=self.folder)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def test_the_same_source_gives_the_same_commit_and_a_second_run_none(self) -> None:
        source = git(self.source, "rev-parse", "HEAD")
        self.assertEqual(["main"], self.export(self.folder / "one")["commits"])
        self.assertEqual([], self.export(self.folder / "one")["commits"])
        self.commit_source("no recipe changed")
        self.assertEqual([], self.export(self.folder / "one")["commits"])
        git(self.source, "reset", "-q", "--hard", source)
        self.export(self.folder / "two")
        self.assertEqual(git(self.folder / "one", "rev-parse", "HEAD"), git(self.folder / "two", "rev-parse", "HEAD"))
        self.assertEqual("", git(self.folder / "one", "status", "--porcelain"))
        self.assertIn(f"Source: {source}", git(self.folder / "one", "log", "-1", "--format=%B"))

    def test_another_machine_makes_the_same_commits(self) -> None:
        """Two clones exported under all that differs between machines: paths, user, umask, time zone, language, settings of git."""
        tree = self.source / "container-images"
        (tree / "openstack/odd.yaml").write_text(ODD, encoding="utf-8")
        (tree / "files/crlf").write_bytes(b"one\r\ntwo\r\n")
        (tree / "files/tool").write_text("#!/bin/sh\n")
        (tree / "files/tool").chmod(0o755)
        (self.source / ".gitattributes").write_text("* -text\n")
        self.commit_source("Größe")
        home = self.folder / "other home"
        home.mkdir()
        for name, text in HOSTILE_HOME.items():
            (home / name).write_text(text)
        one = self.machine("one", ["sh", "-c", 'umask 022; exec "$@"', "sh"], TZ="UTC", LC_ALL="C.UTF-8", HOME=str(self.folder))
        other = self.machine(
            "deep/er/two Größe",
            ["unshare", "--user", "--map-user=1234", "--map-group=1234", "sh", "-c", 'umask 077; exec "$@"', "sh"],
            TZ="Asia/Kathmandu",
            LC_ALL="POSIX",
            HOME=str(home),
            PYTHONHASHSEED="2",
            GIT_AUTHOR_NAME="x",
            GIT_DIR="/nowhere",
        )
        self.assertEqual(one, other)
        self.assertLessEqual({"folders main", "branches nova-api", "repositories/nova-api main", "branches build-order"}, set(one))
        exported = self.folder / "one/folders"
        self.assertEqual("Größe", git(exported, "log", "-1", "--format=%s").partition(": ")[2])
        self.assertEqual(b"one\r\ntwo\r\n", subprocess.check_output(["git", "-C", str(exported), "show", "HEAD:odd/files/etc/crlf"]))
        self.assertIn("100755", git(exported, "ls-tree", "HEAD", "odd/files/etc/tool"))

    def machine(self, place: str, prefix: list[str], **environment: str) -> dict[str, str]:
        """Clone the source there, export it twice in every layout; ``repository branch`` -> commit.

        The whole tree in folders; the slower layouts, which run git for each image, with one family.
        """
        work = self.folder / place
        work.mkdir(parents=True)
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "GIT_"))}
        subprocess.run([*prefix, "git", "clone", "-q", str(self.source), str(work / "clone")], check=True, env=plain)
        commits: dict[str, str] = {}
        for layout, patterns in (("folders", []), ("branches", ["^nova", "^odd$"]), ("repositories", ["^nova", "^odd$"])):
            words = [*prefix, sys.executable, "-m", "topcoat", "--recipes", str(work / "clone/container-images"), "distgit", "--format", "json"]
            words += ["--layout", layout, "--output", str(work / layout), *patterns]
            for number in (1, 2):
                done = subprocess.run(words, capture_output=True, text=True, cwd=work, env={**plain, **environment})
                self.assertEqual(0, done.returncode, done.stderr)
                self.assertEqual(number == 2, json.loads(done.stdout)["commits"] == [], "the second run makes no commit")
            for repository in sorted(path.parent for path in (work / layout).rglob(".git")):
                for line in git(repository, "for-each-ref", "--format=%(refname:short) %(objectname)").splitlines():
                    commits[f"{repository.relative_to(work)} {line.split()[0]}"] = line.split()[1]
        return commits

    def test_a_folder_holds_all_a_build_needs(self) -> None:
        self.export(self.folder / "one", "^nova-api$")
        folder = self.folder / "one/nova-api"
        text = (folder / "Containerfile").read_text()
        self.assertIn("nova-base:", text.splitlines()[0])
        for word in ('com.redhat.component="nova-api-container"', 'name="demo/nova-api"', 'version="9"'):
            self.assertIn(word, text)
        for line in text.splitlines():
            if line.startswith("COPY "):
                source = json.loads(line[line.index("[") :])[0]
                self.assertTrue((folder / source).exists(), line)
        self.assertIn("platforms", (folder / "container.yaml").read_text())
        order = json.loads((self.folder / "one/build-order.json").read_text())
        level = {name: number for number, names in enumerate(order["levels"]) for name in names}
        for name, image in order["images"].items():
            if image["parent"]:
                self.assertLess(level[image["parent"]], level[name])

    def test_an_image_that_leaves_goes_and_what_others_wrote_stays(self) -> None:
        self.export(self.folder / "one", "^nova-api$", "^nova-compute$")
        (self.folder / "one/README").write_text("ours")
        git(self.folder / "one", "add", "README")
        git(self.folder / "one", "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "a README")
        self.assertEqual(["main"], self.export(self.folder / "one", "^nova-api$")["commits"])
        self.assertFalse((self.folder / "one/nova-compute").exists())
        self.assertEqual("ours", git(self.folder / "one", "show", "HEAD:README"))
        self.assertNotIn("nova-compute", git(self.folder / "one", "ls-tree", "--name-only", "HEAD"))

    def test_a_branch_an_image(self) -> None:
        done = self.export(self.folder / "one", "--layout", "branches", "--branch", "rdo-{image}", "^nova-api$", "--skip-parents")
        self.assertEqual(["nova-api", "build-order"], done["commits"])
        self.assertEqual(
            [], self.export(self.folder / "one", "--layout", "branches", "--branch", "rdo-{image}", "^nova-api$", "--skip-parents")["commits"]
        )
        self.assertIn("Containerfile", git(self.folder / "one", "ls-tree", "--name-only", "rdo-nova-api"))

    def test_a_repository_an_image(self) -> None:
        self.export(self.folder / "one", "--layout", "repositories", "^nova-api$", "--skip-parents")
        self.assertIn("Containerfile", git(self.folder / "one/nova-api", "ls-tree", "--name-only", "HEAD"))

    def test_a_folder_that_is_no_repository_is_left_alone(self) -> None:
        (self.folder / "one").mkdir()
        (self.folder / "one/file").write_text("mine")
        command = [
            sys.executable,
            "-m",
            "topcoat",
            "--recipes",
            str(self.source / "container-images"),
            "distgit",
            "--output",
            str(self.folder / "one"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(2, done.returncode)
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual(["file"], [path.name for path in (self.folder / "one").iterdir()])
