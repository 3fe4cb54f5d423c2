"""buildah reads a Containerfile of ours as it was meant: every value arrives, whatever characters it holds."""

from __future__ import annotations

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.needs import needs
from topcoat.containerfile import render, write_context
from topcoat.model import Base, CopyFile, Profile, Recipe

AWKWARD = {
    "plain": "value",
    "spaces": " two  words ",
    "quotes": "a \"b\" 'c'",
    "dollar": "$HOME ${PATH} $$ \\$x",
    "backslash": "a\\b \\\\ c\\n \\",
    "equals": "a=b",
    "hash": "# no comment",
    "unicode": "grüße €",
    "empty": "",
    "json": '{"a":["b"]}',
}


@needs("buildah")
class Buildah(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-buildah-", ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.storage = ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"), "--storage-driver", "vfs"]

    def buildah(self, *arguments: str) -> str:
        done = subprocess.run(["buildah", *self.storage, *arguments], capture_output=True, text=True, check=False, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_every_value_arrives(self) -> None:
        (self.folder / "a file").write_text("content")
        tree = self.folder / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub/two").write_text("2")
        (tree / "one").write_text("1")
        recipe = Recipe(
            name="x",
            family="x",
            image_class="infra",
            parent=None,
            description='A "quoted" $description',
            labels=tuple(AWKWARD.items()),
            environment=tuple((name.upper(), value) for name, value in AWKWARD.items()),
            copies=(
                CopyFile(self.folder / "a file", "/etc/a.conf", 0o640),
                CopyFile(tree, "/srv/tree"),
                CopyFile(tree / "one", "/opt/", 0o755, owner="5:7"),
            ),
            ports=("80", "53/udp"),
            volumes=("/var/lib/x", "/srv/data"),
            workdir="/srv",
            entrypoint=("/usr/bin/x", "two words", "$HOME", 'q"uote', "grüße"),
            command=("--flag", ""),
            user="5:7",
            stop_signal="SIGUSR1",
            healthcheck=("/usr/bin/check", "a b"),
        )
        profile = Profile("t", "demo", "9", "x86_64", Base("scratch"), (), "localhost:5000", "t")
        context = self.folder / "context"
        write_context(render(recipe, parent_reference="scratch", profile=profile, labels={"extra": "$x"}), context)
        self.buildah("bud", "--format", "docker", "-t", "x", "-f", str(context / "Containerfile"), str(context))
        config = json.loads(self.buildah("inspect", "--type", "image", "x"))["Docker"]["config"]
        labels = config["Labels"]
        self.assertEqual({name: labels[name] for name in AWKWARD}, AWKWARD)
        self.assertEqual((labels["extra"], labels["org.opencontainers.image.description"]), ("$x", 'A "quoted" $description'))
        environment = dict(item.partition("=")[::2] for item in config["Env"])
        self.assertEqual({name: environment[name.upper()] for name in AWKWARD}, AWKWARD)
        self.assertEqual(config["Entrypoint"], list(recipe.entrypoint or ()))
        self.assertEqual(config["Cmd"], list(recipe.command or ()))
        self.assertEqual((config["User"], config["WorkingDir"], config["StopSignal"]), ("5:7", "/srv", "SIGUSR1"))
        self.assertEqual(sorted(config["ExposedPorts"]), ["53/udp", "80/tcp"])
        self.assertEqual(sorted(config["Volumes"]), ["/srv/data", "/var/lib/x"])
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/check", "a b"])
        container = self.buildah("from", "x").strip()
        root = Path(self.buildah("mount", container).strip())
        self.assertEqual((root / "etc/a.conf").read_text(), "content")
        self.assertEqual((root / "etc/a.conf").stat().st_mode & 0o777, 0o640)
        self.assertEqual((root / "srv/tree/sub/two").read_text(), "2")
        copied = (root / "opt/one").stat()
        self.assertEqual((copied.st_mode & 0o777, copied.st_uid, copied.st_gid, int(copied.st_mtime)), (0o755, 5, 7, 315532800))

    def test_an_entrypoint_alone_leaves_no_command_of_the_parent(self) -> None:
        profile = Profile("t", "demo", "9", "x86_64", Base("scratch"), (), "localhost:5000", "t")
        parent = Recipe("p", "p", "infra", None, entrypoint=("/a",), command=("b",))
        child = Recipe("c", "c", "infra", "p", entrypoint=("/c",))
        for name, recipe, start in (("p", parent, "scratch"), ("c", child, "localhost/p")):
            context = self.folder / name
            write_context(render(recipe, parent_reference=start, profile=profile, labels={}), context)
            self.buildah("bud", "--format", "docker", "--pull-never", "-t", name, "-f", str(context / "Containerfile"), str(context))
        config = json.loads(self.buildah("inspect", "--type", "image", "c"))["Docker"]["config"]
        self.assertEqual((config["Entrypoint"], config["Cmd"] or []), (["/c"], []))
