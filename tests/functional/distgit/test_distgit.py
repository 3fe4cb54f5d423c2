"""The exported dist-git, with real git and the real recipe tree."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[3]


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
