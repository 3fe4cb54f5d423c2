"""The commands over recipes as a person uses them, on the tree of this repository."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml
from click.testing import CliRunner

from topcoat.cli import root

TREE = Path(__file__).parents[3] / "container-images"


class Commands(unittest.TestCase):
    def call(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(root, ["--recipes", str(TREE), *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.assertEqual(done.exit_code, code, done.output)
        return done.output

    def test_list_is_one_name_a_line_and_the_same_as_data(self) -> None:
        lines = self.call("list").splitlines()
        self.assertEqual(len(lines), 104)
        self.assertEqual([entry["name"] for entry in json.loads(self.call("list", "--format", "json"))], lines)
        self.assertEqual([entry["name"] for entry in yaml.safe_load(self.call("list", "--format", "yaml"))], lines)

    def test_list_selects_as_people_know_it(self) -> None:
        self.assertEqual(self.call("list", "^nova-api$").split(), ["base", "openstack-base", "nova-base", "nova-api"])
        self.assertEqual(self.call("list", "^nova-api$", "--skip-parents").split(), ["nova-api"])
        self.assertEqual(
            self.call("list", "--family", "ovn", "--exclude", "server$", "--skip-parents").split(),
            ["ovn-base", "ovn-controller", "ovn-northd", "ovn-bgp-agent"],
        )
        line = self.call("--registry", "r.example:5", "--namespace", "n", "list", "^redis$", "--skip-parents", "--references", "--tag", "t")
        self.assertEqual(line, "r.example:5/n/redis:t\n")

    def test_the_list_of_a_deployment(self) -> None:
        self.assertEqual(len(self.call("list", "--template", "deploy").splitlines()), 95)
        environment = yaml.safe_load(self.call("list", "--template", "deploy", "--environment", "--tag", "abc"))
        self.assertTrue(environment["parameter_defaults"]["ContainerKeystoneImage"].endswith("/keystone:abc"))

    def test_graph(self) -> None:
        self.assertIn("\n    nova-base\n      nova-api\n", self.call("graph"))
        self.assertEqual(json.loads(self.call("graph", "^redis$", "--format", "json"))["order"], ["base", "redis"])
        with tempfile.NamedTemporaryFile("w", suffix=".json") as plan:
            json.dump({"images": [{"name": "redis", "action": "build"}, {"name": "base", "action": "reuse", "status": "failed"}]}, plan)
            plan.flush()
            dot = self.call("graph", "^redis$", "--format", "dot", "--status", plan.name)
        self.assertIn('"redis" [fillcolor=lightskyblue', dot)
        self.assertIn('"base" [fillcolor=tomato', dot)

    def test_render_prints_one_and_writes_many(self) -> None:
        self.assertTrue(self.call("render", "^redis$", "--skip-parents").startswith("FROM localhost:5000/demo/base:latest\n"))
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("104 Containerfiles", self.call("render", "-o", folder))
            context = Path(folder) / "keystone"
            self.assertTrue((context / "files/etc/httpd/conf.d/50-keystone.conf").is_file())
            text = (context / "Containerfile").read_text()
        for line in text.splitlines():
            if line.startswith("COPY"):
                self.assertIn("files/etc/httpd/conf.d/", line)
        self.assertEqual(len(json.loads(self.call("render", "--format", "json"))), 104)

    def test_lint(self) -> None:
        self.assertEqual(self.call("lint").strip(), "No problem found.")
        with tempfile.TemporaryDirectory() as folder:
            for path, text in (("base.yaml", "base:\n  from: profile\n"), ("criteria/site.yaml", "passed: { candidate: current }\n")):
                (Path(folder) / path).parent.mkdir(exist_ok=True)
                (Path(folder) / path).write_text(text)
            self.assertIn("criteria/site.yaml: passed: required", self.call("--recipes", folder, "lint", code=2))
            site = Path(folder) / "site.yaml"
            site.write_text((TREE / "profiles/demo.yaml").read_text().replace("priority: 90", "priority: 100"))
            self.assertIn("site.yaml:21: priority must be a whole number from 1 to 99", self.call("--profile", str(site), "lint", code=2))

    def test_a_mistake_is_one_line_and_exit_code_2(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "base.yaml").write_text("base:\n  frm: profile\n")
            for command in ("list", "render", "graph", "plan"):
                arguments = [sys.executable, "-m", "topcoat", "--recipes", folder, "--profile", str(TREE / "profiles/demo.yaml"), command]
                done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
                self.assertEqual(done.returncode, 2, command)
                self.assertTrue(done.stderr.startswith(f"error: {folder}/base.yaml:"), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertEqual(done.stdout, "")
