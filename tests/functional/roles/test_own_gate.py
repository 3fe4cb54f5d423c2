"""The playbooks of this project's own gate, on this machine."""

from __future__ import annotations

import os

from tests.functional.roles.harness import RoleCase
from tests.functional.roles.test_registry import RegistryCase
from tests.needs import need

_TOX = """
[tox]
env_list = one
[testenv:one]
skip_install = true
commands = python -c "import sys; open('seen', 'a').write(' '.join(sys.argv[1:]) + '|')" {posargs}
"""


class Platform(RegistryCase):
    """What runs on a node of every platform: here, of this one."""

    def test_an_image_goes_in_and_comes_back(self) -> None:
        need("buildah", "skopeo", root=True)
        registry = self.start()
        variables = {**self.variables, "buildset_registry": registry, "install_topcoat_enabled": False}
        run = self.play("tests/playbooks/roles/run.yaml", variables=variables)
        self.assertIn("Read it back", run.output)
        self.assertNotIn(str(registry["password"]), run.output)
        self.play("playbooks/registry/post.yaml", variables=variables)
        self.play("playbooks/base/cleanup.yaml", variables=variables)
        self.assertFalse((self.work / "auth").exists(), "credentials are removed")


class Tox(RoleCase):
    def setUp(self) -> None:
        super().setUp()
        need("tox")
        self.project = self.folder / "src"
        (self.project / "tools").mkdir(parents=True)
        (self.project / "tools/setup-node").write_text('#!/bin/sh\necho "$@" >> asked\n')
        (self.project / "tools/setup-node").chmod(0o755)
        (self.project / "tox.ini").write_text(_TOX)
        self.zuul = {"buildset": "b" * 32, "project": {"src_dir": str(self.project)}}
        self.variables = {
            "topcoat_tox_environment": "one",
            "topcoat_tox_arguments": ["a", "b"],
            "topcoat_tox_setup": ["--all"],
            "topcoat_tox_as_root": os.geteuid() == 0,
        }

    def test_the_environment_is_made_before_and_its_tests_run_once(self) -> None:
        self.play("tests/playbooks/tox/pre.yaml", zuul=self.zuul, variables=self.variables)
        self.assertEqual((self.project / "asked").read_text(), "--all\n")
        self.assertFalse((self.project / "seen").exists())
        self.play("tests/playbooks/tox/run.yaml", zuul=self.zuul, variables=self.variables)
        self.assertEqual((self.project / "seen").read_text(), "a b|")

    def test_a_failure_is_one(self) -> None:
        (self.project / "tox.ini").write_text(_TOX.replace("import sys;", "import sys; sys.exit(3);"))
        self.assertNotEqual(self.play("tests/playbooks/tox/run.yaml", zuul=self.zuul, variables=self.variables, check=False).code, 0)
