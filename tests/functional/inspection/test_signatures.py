"""Who signed what is inside published images, as the commands tell it: read from the images themselves, whatever is attached to them."""

import json
import sqlite3
import subprocess

from click.testing import CliRunner

from tests.functional.updater.world import WorldCase, busybox
from topcoat.cli import root as command
from topcoat_demo import signing
from topcoat_demo.filesystem import filesystem
from topcoat_demo.rpms import File, RpmSpec, write_rpm

TOOL = RpmSpec("tool", "1.0", files=(File("/usr/share/tool", "tool\n"),))
OTHER = signing.key("somebody else")
RECIPES = {
    "base.yaml": "base: {from: profile}\n",
    "openstack/nova.yaml": "nova: {from: base}\n",
}
PROFILE = """\
distro: demo
release: "9"
arch: x86_64
registry: "{host}"
namespace: {space}
base: {{image: "x.y/base:1"}}
repositories:
  - {{id: base, baseurl: "file:///x", keys: [KEY]{more}}}
"""


class Commands(WorldCase):
    def setUp(self) -> None:
        self.tree = self.world.path("tree")
        for name, content in RECIPES.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.space = f"s{self.world._counter}"
        self.profile("")

    def profile(self, more: str, *, extra: str = "", key: signing.Key = signing.DEMO) -> None:
        (self.tree / "profiles").mkdir(exist_ok=True)
        (self.tree / "profiles/site.yaml").write_text(PROFILE.format(host=self.world.server.host, space=self.space, more=more) + extra)
        (self.tree / "profiles/KEY").write_text(key.armored())

    def image(self, name: str, signer: signing.Key | None, damage: bool = False) -> str:
        """An image whose packages are signed by the demo's key, but for one."""
        rpms = self.world.path("rpms")
        for spec in (filesystem(), busybox()):
            write_rpm(spec, rpms, signer=signing.DEMO)
        write_rpm(TOOL, rpms, signer=signer)
        root = self.world.path("root")
        root.mkdir()
        options = ["--define", "_pkgverify_level none", "--define", "_db_backend sqlite", "--dbpath", "/var/lib/rpm", "--nosignature"]
        subprocess.run(["rpm", "--root", root, *options, "-i", *sorted(rpms.glob("*.rpm"))], check=True, capture_output=True)
        database = root / "var/lib/rpm/rpmdb.sqlite"
        with sqlite3.connect(database) as connection:
            if damage:
                (blob,) = connection.execute("SELECT blob FROM Packages WHERE hnum = (SELECT hnum FROM Name WHERE key = 'tool')").fetchone()
                connection.execute(
                    "UPDATE Packages SET blob = ? WHERE hnum = (SELECT hnum FROM Name WHERE key = 'tool')",
                    (blob.replace(b"Package tool of", b"Package fool of"),),
                )
        connection.close()
        return self.world.publish_root(root, f"{self.space}/{name}").digest

    def call(self, *words: str):  # type: ignore[no-untyped-def]
        access = ["--authfile", str(self.world.server.authfile), "--ca-file", str(self.world.server.ca_file)]
        return CliRunner().invoke(command, ["--recipes", str(self.tree), "--profile", "site", *access, *words])

    def verify(self) -> tuple[dict[str, dict], list[str]]:
        done = self.call("verify", "--signatures", "--format", "json")
        rows = json.loads(done.stdout)["images"]
        problems = [problem["sentence"] for row in rows for problem in row["problems"] if problem["code"] == "signature"]
        return {row["name"]: row for row in rows}, problems

    def test_all_signed(self) -> None:
        for name in ("base", "nova"):
            self.image(name, signing.DEMO)
        rows, problems = self.verify()
        self.assertEqual(problems, [])
        packages = rows["nova"]["signatures"]["signed"][signing.DEMO.signing_id]
        self.assertEqual([package.partition("-")[0] for package in packages], ["busybox", "filesystem", "tool"])
        done = self.call("promote", "--from", "current-passed-ci", "--to", "good", "--signatures", "required", "--without-inventories")
        self.assertEqual(done.exit_code, 0, done.output + str(done.exception))

    def test_unsigned_and_unknown_as_the_profile_goes(self) -> None:
        for signer, words in ((None, "not signed: tool-1.0-1.el9.noarch"), (OTHER, f"signed by the unknown key {OTHER.signing_id}: tool-1.0")):
            with self.subTest(words):
                self.image("base", signing.DEMO)
                self.image("nova", signer)
                self.profile("")
                rows, problems = self.verify()
                self.assertEqual([problem[: len(words)] for problem in problems], [words])
                self.profile(", signed: optional")
                rows, problems = self.verify()
                self.assertEqual((problems, [note[: len(words)] for note in rows["nova"]["notes"]]), ([], [words]))
                promote = ("promote", "--from", "current-passed-ci", "--to", "moved", "--without-inventories")
                for more, extra in ((("--signatures", "required"), ""), ((), "promote_signatures: required\n")):
                    self.profile(", signed: optional", extra=extra)
                    done = self.call(*promote, *more)
                    self.assertIn("1 of 2 images hold packages that no key of profile site signed: nova: " + words, str(done.exception))
                    self.assertIsNone(self.world.client.head(f"{self.space}/base", "moved"))
                done = self.call(*promote, "--signatures", "optional", "--dry-run")
                self.assertEqual(done.exit_code, 0, done.output + str(done.exception))

    def test_a_header_that_was_changed_in_the_image_is_always_a_problem(self) -> None:
        self.image("base", signing.DEMO)
        self.image("nova", signing.DEMO, damage=True)
        self.profile(", signed: optional")
        _, problems = self.verify()
        self.assertEqual(problems, ["tool-1.0-1.el9.noarch was changed in the package database: its header digest is wrong"])

    def test_without_keys_there_is_nothing_to_check_with(self) -> None:
        self.image("base", signing.DEMO)
        path = self.tree / "profiles/site.yaml"
        path.write_text(path.read_text().replace(", keys: [KEY]", ""))
        self.assertIn("names no key", str(self.call("verify", "--signatures", "^base$").exception))
