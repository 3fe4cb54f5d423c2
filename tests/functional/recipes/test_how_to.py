"""The examples of the how-to, taken word for word: what a job makes of them freezes the repositories and plans every image."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml

from tests import schemas
from tests.functional.updater.world import need
from topcoat_demo import signing
from topcoat_demo.registry import RegistryServer
from topcoat_demo.rpms import RpmSpec, make_repository

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "doc/source/zuul/examples"
PROFILE = ROOT / "container-images/profiles/centos9-rdo.yaml"
KEYS = ("CentOS-Official", "CentOS-SIG-NFV", "CentOS-SIG-Messaging", "CentOS-SIG-OpsTools", "CentOS-SIG-Storage")
# What the network would answer; everything else is the example's and the shipped profile's.
ELSEWHERE = ("mirror", "trunk", "keys", "registry")


class HowTo(unittest.TestCase):
    """The shipped profile with the addresses of a small world."""

    @classmethod
    def setUpClass(cls) -> None:
        need("docker-registry", "createrepo_c")
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = Path(holder.name)
        cls.server = RegistryServer(cls.folder / "registry").start()
        cls.addClassCleanup(cls.server.stop)
        (cls.folder / "keys").mkdir()
        for name in KEYS:
            (cls.folder / "keys" / f"RPM-GPG-KEY-{name}").write_text(signing.key(name).armored())
        cls.values = {name: (cls.folder / name).as_uri() for name in ("mirror", "trunk", "keys")} | {"registry": cls.server.host}
        for number, repository in enumerate(yaml.safe_load(PROFILE.read_text())["repositories"]):
            place, _, path = repository["baseurl"].partition("}/")
            folder = {"${mirror": "mirror", "${trunk": "trunk"}[place]
            target = cls.folder / folder / path.replace("${promoted}", "current-passed-ci")
            make_repository(target, [RpmSpec(f"package-{number}", "1.0")])

    def topcoat(self, command: str, values: dict[str, str], options: dict[str, object]) -> subprocess.CompletedProcess[str]:
        """The command with its options on standard input, as the role ``use-topcoat`` calls it."""
        given = {
            "profile": "centos9-rdo",
            "recipes": str(ROOT / "container-images"),
            "work-dir": str(self.folder / "work"),
            "set": values,
            "authfile": str(self.server.authfile),
            "ca-file": str(self.server.ca_file),
            command: options,
        }
        words = [sys.executable, "-m", "topcoat", "--options", "-", command]
        return subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, check=False, timeout=300)

    def test_its_words_are_all_that_is_needed(self) -> None:
        (project,) = yaml.safe_load((EXAMPLES / "site-once.yaml").read_text())
        said = project["project"]["vars"]["topcoat_set"]
        self.assertEqual(set(said) & set(ELSEWHERE), set())
        view = str(self.folder / "view.json")
        frozen = self.topcoat("freeze", {**self.values, **said}, {"output": view})
        self.assertEqual(frozen.returncode, 0, frozen.stderr)
        planned = self.topcoat("plan", {**self.values, **said}, {"view": view, "format": "json"})
        self.assertEqual(planned.returncode, 0, planned.stderr)
        schemas.check("plan", json.loads(planned.stdout))
        images = json.loads(planned.stdout)["images"]
        self.assertEqual({image["reason"] for image in images}, {"new-image"} | {image["reason"] for image in images if image["parent"]})
        self.assertGreater(len(images), 100)

    def test_mirrors_and_the_trunk_of_a_branch(self) -> None:
        """The same repositories at the addresses of the examples: freeze needs no value that the page does not name."""
        (once,), (mirrors,), (branch,) = (
            yaml.safe_load((EXAMPLES / name).read_text()) for name in ("site-once.yaml", "site-mirrors.yaml", "site-branches.yaml")
        )
        provider = branch["project-template"]["check"]["jobs"][0]["container-images-provider"]
        for said in (mirrors["project"]["vars"]["topcoat_set"], provider["vars"]["topcoat_set"]):
            values = {**self.values, **once["project"]["vars"]["topcoat_set"], **said}
            for name in set(said) & set(ELSEWHERE):
                self.assertTrue(values[name].startswith("https://"), name)
                values[name] = self.values[name]
            self.assertLess(set(said), set(yaml.safe_load(PROFILE.read_text())["variables"]))
            view = str(self.folder / "view-2.json")
            frozen = self.topcoat("freeze", values, {"output": view})
            self.assertEqual(frozen.returncode, 0, frozen.stderr)
            planned = self.topcoat("plan", values, {"view": view, "format": "json", "patterns": ["^nova-api$"]})
            self.assertEqual(planned.returncode, 0, planned.stderr)
            self.assertEqual({image["action"] for image in json.loads(planned.stdout)["images"]}, {"build"})

    def test_without_them_the_first_step_names_the_variable(self) -> None:
        ended = self.topcoat("freeze", dict(self.values), {"output": str(self.folder / "none.json")})
        self.assertEqual(ended.returncode, 2)
        self.assertIn("the variable 'namespace' has no value -> give --set namespace=VALUE", ended.stderr)

    def test_a_branch_has_values_of_the_profile(self) -> None:
        (template,) = yaml.safe_load((EXAMPLES / "site-branches.yaml").read_text())
        for pipeline in ("check", "gate"):
            for job in template["project-template"][pipeline]["jobs"]:
                ((name, variant),) = job.items()
                self.assertEqual(name, "container-images-provider")
                said = variant["vars"]["topcoat_set"]
                self.assertLess(set(said), set(yaml.safe_load(PROFILE.read_text())["variables"]))


if __name__ == "__main__":
    unittest.main()
