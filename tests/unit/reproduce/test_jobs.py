"""Which playbooks a job is made of."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import yaml

from topcoat.errors import UsageError
from topcoat.reproduce import jobs


class Checkout(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        (self.top / "zuul.d").mkdir()

    def configure(self, *entries):
        (self.top / "zuul.d" / "jobs.yaml").write_text(yaml.safe_dump([{"job": entry} for entry in entries]))

    def names(self, job):
        return [(playbook.phase, str(playbook.path.relative_to(self.top))) for playbook in job.playbooks]


class Hostile(Checkout):
    def test_configuration_of_a_change_comes_through_the_guard(self):
        many = "\n".join(f"- x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 20) if n else 'x'}]" for n in range(12))
        for text in (
            "[" * 50_000,
            many,
            "\x00",
            "- job: [",
            "\ud800".encode("utf-8", "surrogatepass"),
        ):
            with self.subTest(text[:30]):
                (self.top / "zuul.d" / "jobs.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
                with self.assertRaises(UsageError) as caught:
                    jobs.configured_job(self.top, "x")
                self.assertIn("jobs.yaml", str(caught.exception))

    def test_secrets_of_zuul_are_passed_over(self):
        self.configure({"name": "x", "run": "r.yaml"})
        with (self.top / "zuul.d" / "jobs.yaml").open("a") as sink:
            sink.write("- secret:\n    name: s\n    data:\n      p: !encrypted/pkcs1-oaep\n        - abc\n")
        self.assertEqual([("run", "r.yaml")], self.names(jobs.configured_job(self.top, "x")))


class Configured(Checkout):
    def test_inheritance(self):
        self.configure(
            {
                "name": "root",
                "parent": "base",
                "abstract": True,
                "pre-run": "a.yaml",
                "post-run": ["z.yaml", {"name": "clean.yaml", "cleanup": True}],
                "vars": {"x": 1, "y": 1},
            },
            {"name": "child", "parent": "root", "pre-run": ["b.yaml"], "run": "run.yaml", "post-run": "y.yaml", "vars": {"y": 2}},
            {"name": "leaf", "parent": "child", "run": "other.yaml"},
        )
        job = jobs.configured_job(self.top, "leaf")
        self.assertEqual(
            [("pre", "a.yaml"), ("pre", "b.yaml"), ("run", "other.yaml"), ("post", "y.yaml"), ("post", "z.yaml"), ("post", "clean.yaml")],
            self.names(job),
        )
        self.assertEqual({"x": 1, "y": 2}, dict(job.variables))
        self.assertEqual([("run", "run.yaml")], [entry for entry in self.names(jobs.configured_job(self.top, "child")) if entry[0] == "run"])

    def test_refusals(self):
        self.configure({"name": "root", "abstract": True})
        with self.assertRaisesRegex(UsageError, "abstract"):
            jobs.configured_job(self.top, "root")
        with self.assertRaisesRegex(UsageError, "no job 'nothing'"):
            jobs.configured_job(self.top, "nothing")

    def test_the_jobs_of_this_repository(self):
        here = Path(__file__).parents[3]
        job = jobs.configured_job(here, "container-images-provider")
        self.assertEqual({"pre", "run", "post"}, {playbook.phase for playbook in job.playbooks})
        for playbook in job.playbooks:
            self.assertTrue(playbook.path.is_file(), playbook.path)


class Recorded(Checkout):
    ROOT = "untrusted/project_0/review.example.org/openstack/jobs"

    def job(self, path, link_target=None):
        roles = [{"link_target": link_target}] if link_target else []
        context = {
            "playbook_projects": {self.ROOT: {"canonical_name": "review.example.org/openstack/jobs"}},
            "playbooks": [{"path": path, "roles": roles}],
        }
        return jobs.recorded_job(context, {self.ROOT: self.top}, {})

    def test_roles_of_the_project(self):
        (self.top / "roles").mkdir()
        (playbook,) = self.job(f"{self.ROOT}/playbooks/run.yaml", self.ROOT).playbooks
        self.assertEqual((self.top / "playbooks" / "run.yaml", (self.top / "roles",)), (playbook.path, playbook.roles))

    def test_a_path_out_of_the_project_is_refused(self):
        with self.assertRaisesRegex(UsageError, "leads out"):
            self.job(f"{self.ROOT}/../../../../etc/evil.yaml")
        (self.top / "link").symlink_to("/etc")
        with self.assertRaisesRegex(UsageError, "leads out"):
            self.job(f"{self.ROOT}/link/evil.yaml")

    def test_no_run_playbook_is_an_error(self):
        with self.assertRaisesRegex(UsageError, "no run playbook"):
            self.job("trusted/project_0/site/run.yaml")

    def test_trusted_projects_are_told_apart(self):
        context = {
            "playbook_projects": {"trusted/project_0/x": {"canonical_name": "h/x"}, "untrusted/project_1/y": {"canonical_name": "h/y", "commit": "c"}}
        }
        self.assertEqual([True, False], [project.trusted for project in jobs.recorded_projects(context)])
        self.assertEqual([], jobs.recorded_projects({}))
