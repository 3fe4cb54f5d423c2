"""A recorded check job with Depends-On over two projects, reproduced through the real jobs of this repository: same plan, same digests."""

from __future__ import annotations

import json
import shutil
import subprocess
import unittest
from pathlib import Path

from tests.functional.reproduce.world import IDENTITY, World
from tests.functional.roles.inventories import HOST
from tests.functional.runs.site import Site
from tests.needs import needs
from topcoat.report import receipt_from_dict
from topcoat.reproduce.recorded import Committer
from topcoat.reproduce.run import ReproduceOptions, reproduce

ROOT = Path(__file__).parents[3]
TOOLS = ("docker-registry", "buildah", "dnf", "createrepo_c", "rpmbuild", "rpmdb2solv", "htpasswd", "openssl")
OSLO, NOVA, JOBS = "openstack/oslo.config", "openstack/nova", "openstack/topcoat"
SPEC = """\
%global __os_install_post %{{nil}}
%global debug_package %{{nil}}
Name: {name}
{epoch}
Version: 2.0
Release: 1
Summary: {name}
License: Apache-2.0
Source0: %{{name}}-%{{version}}.tar.gz
BuildArch: noarch
AutoReqProv: no
{requires}
%description
Test.
%prep
%setup -q
%build
%install
mkdir -p %{{buildroot}}/usr/lib
cp note %{{buildroot}}{path}
%files
{path}
"""


def spec(name, path, epoch="", requires=""):
    return SPEC.format(name=name, path=path, epoch=f"Epoch: {epoch}" if epoch else "", requires=f"Requires: {requires}" if requires else "")


@needs(*TOOLS, root=True, modules=("ansible",))
class Job(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import tempfile

        cls.folder = Path(tempfile.mkdtemp(prefix="topcoat-reproduce-job-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.site = Site(cls.folder / "site")
        cls.addClassCleanup(cls.site.close)
        built = cls.site.topcoat("build", "--tag", "reference", "--floating-tag", "current-passed-ci")
        assert built.code == 0, built.errors
        cls.world = World(cls.folder)
        cls.addClassCleanup(cls.world.close)
        cls.world.project(OSLO, {"oslo.spec": spec("python3-oslo", "/usr/lib/oslo"), "note": "old\n", "other": "1\n"})
        cls.world.project(NOVA, {"nova.spec": spec("python3-nova", "/usr/lib/nova", "1", "python3-oslo"), "note": "old\n", "other": "1\n"})
        cls._jobs()
        cls.world.change(OSLO, "101", {"note": "new oslo\n"}, "Change oslo")
        cls.world.change(NOVA, "205", {"note": "new nova\n"}, f"Change nova\n\nDepends-On: {cls.world.url(OSLO, '101')}")
        for name in (OSLO, NOVA):
            cls.world.advance(name, {"other": "2\n"})
        cls.commits = {name: cls.world.zuul_merge(name, number, seconds=1795000900) for name, number in ((OSLO, "101"), (NOVA, "205"))}

    @classmethod
    def _jobs(cls):
        """This repository as a project of the world, with the recipes of the site."""
        folder = cls.world.project(JOBS, {".gitignore": "__pycache__\n"})
        for name in ("playbooks", "roles", "tools", "zuul.d"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        for name in ("pyproject.toml", "README.rst", "LICENSE", "bindep.txt"):
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(cls.site.tree, folder / "container-images")
        cls.world.advance(JOBS, {"empty": ""})

    def original(self):
        """What the recorded job made: the same commands on the trees that Zuul's merger made."""
        trees = [str(self.folder / "merger" / name) for name in (OSLO, NOVA)]
        gating = self.folder / "gating"
        done = self.site.topcoat("gating", "--output", str(gating), *trees)
        self.assertEqual(0, done.code, done.errors)
        done = self.site.topcoat("build", "--gating-repo", str(gating), "--tag", "original", work="original")
        self.assertEqual(0, done.code, done.errors)
        return done.receipt

    def recording(self):
        root = f"untrusted/project_0/{HOST}/{JOBS}"

        def entry(path):
            return {"path": f"{root}/playbooks/{path}", "roles": [{"link_name": "x", "link_target": root, "role_path": f"{root}/roles"}]}

        context = {
            "playbook_projects": {root: {"canonical_name": f"{HOST}/{JOBS}", "checkout": "master", "commit": None}},
            "pre_playbooks": [entry("base/pre.yaml"), entry("provider/pre.yaml")],
            "playbooks": [entry("provider/run.yaml")],
            "post_playbooks": [entry("provider/post.yaml"), entry("base/post.yaml"), entry("base/cleanup.yaml")],
        }
        return self.world.inventory([(OSLO, "101"), (NOVA, "205")], self.commits, playbook_context=context)

    def options(self, until, receipt=None):
        auth = json.loads(self.site.server.authfile.read_text())["auths"][self.site.server.host]["auth"]
        import base64

        username, _, password = base64.b64decode(auth).decode().partition(":")
        return ReproduceOptions(
            work=self.folder / "reproduced",
            until=until,
            git={HOST: (self.folder / "git").as_uri()},
            identities=(Committer(*IDENTITY),),
            receipt=receipt,
            variables={
                "topcoat_profile": "site",
                "topcoat_ca_certificates": Path(self.site.server.ca_file).read_text(),
                "container_registry_credentials": {self.site.server.host: {"username": username, "password": password}},
            },
        )

    def test_same_plan_and_same_digests(self):
        original = self.original()
        self.assertEqual({"base": "reuse", "nova-base": "update", "nova-api": "update", "nova-compute": "update", "keystone": "update"}, {
            image["name"]: image["action"] for image in original["images"]
        })  # fmt: skip
        recording = self.folder / "inventory.yaml"
        recording.write_text(self.recording())
        before = self.folder / "original.json"
        before.write_text(json.dumps(original))
        said = []

        planned = reproduce([str(recording)], self.options("plan"), say=said.append)
        self.assertEqual(
            [(image["name"], image["action"], image["reason"]) for image in original["images"]],
            [(image["name"], image["action"], image["reason"]) for image in planned.plan["images"]],
        )
        self.assertIsNone(planned.receipt)

        # as a developer does: looked at first, then run in the same folder
        outcome = reproduce([str(recording)], self.options("run", before), say=said.append)
        self.assertEqual(
            {image["name"]: image["digest"] for image in original["images"]}, {image.name: image.digest for image in outcome.receipt.images}
        )
        self.assertEqual(len(original["images"]), len(outcome.comparison.equal), outcome.comparison.text())
        self.assertTrue(outcome.comparison.holds)
        self.assertEqual("done", receipt_from_dict(original).status)

        artifacts = outcome.returned["zuul"]["artifacts"]
        self.assertIn("container_image", {artifact["metadata"].get("type") for artifact in artifacts})
        logs = self.folder / "reproduced" / "logs" / "container-images" / "controller"
        self.assertTrue((logs / "receipt.json").is_file())
        running = subprocess.run(["pgrep", "-f", f"{self.folder}/reproduced/node/topcoat/registry"], capture_output=True, text=True, check=False)
        self.assertEqual("", running.stdout, "the registry of the reproduction still runs")
