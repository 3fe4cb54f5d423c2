"""Jobs that work on the executor: what they may touch there, and the role that proposes a change as far as it needs no Gerrit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.functional.roles.harness import ROOT, RoleCase


class Propose(RoleCase):
    def setUp(self) -> None:
        super().setUp()
        self.checkout = self.folder / "site"
        self.git("init", "--quiet", "--initial-branch=master", str(self.checkout), at=self.folder)
        (self.checkout / "locks").mkdir()
        (self.checkout / "locks" / "nova.yaml").write_text("old\n")
        self.commit()
        # a hook of the machine must not take part
        hook = self.checkout / ".git" / "hooks" / "pre-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        (self.work / "logs").mkdir(parents=True)

    def git(self, *words: str, at: Path | None = None) -> str:
        argv = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        return subprocess.run(argv, cwd=at or self.checkout, capture_output=True, text=True, check=True).stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "before")

    def test_what_was_written_becomes_a_patch_that_git_applies_and_nothing_becomes_nothing(self) -> None:
        variables = {
            "propose_change_checkout": str(self.checkout),
            "propose_change_paths": ["locks"],
            "propose_change_project": "site/images",
            "propose_change_subject": "Lock it",
            "propose_change_text": "nova: 1 difference(s)\n  python3-nova 1 -> 2",
            "propose_change_topic": "locks",
        }
        patch = self.work / "logs" / "proposal.patch"
        told = {"hosts": "all", "tasks": [{"ansible.builtin.debug": {"msg": "it is {{ propose_change_outcome }}"}}]}
        again = [{"hosts": "all", "roles": ["propose-change"]}, told]
        quiet = self.play(again, variables=variables)
        self.assertIn("it is unchanged", quiet.output)
        self.assertFalse(patch.exists())
        (self.checkout / "locks" / "nova.yaml").write_text("new\n")
        (self.checkout / "locks" / "glance.yaml").write_text("new\n")
        (self.checkout / "elsewhere").write_text("not part of it\n")
        run = self.play(again, variables=variables)
        self.assertIn("it is patch", run.output)
        (artifact,) = run.zuul["artifacts"]  # type: ignore[index]
        self.assertEqual(artifact["url"], "container-images/node1/logs/proposal.patch")
        message = self.git("log", "-1", "--format=%B")
        self.assertEqual(message.strip(), "Lock it\n\nnova: 1 difference(s)\n  python3-nova 1 -> 2")
        self.git("reset", "--quiet", "--hard", "HEAD^")
        self.git("-c", "core.hooksPath=/dev/null", "am", "--quiet", str(patch))
        self.assertEqual(self.git("show", "--name-only", "--format=").split(), ["locks/glance.yaml", "locks/nova.yaml"])


class OnTheExecutor(RoleCase):
    def test_a_job_without_a_node_works_in_the_work_folder_of_its_build_and_becomes_nobody(self) -> None:
        for playbook in ("base/pre", "index/run"):
            (play,) = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yaml").read_text())
            shown = {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} {{ topcoat_work_dir }} {{ topcoat_become }} {{ _topcoat_has_node }}"}}
            tried = [{"hosts": play["hosts"], "roles": ["use-topcoat"], "post_tasks": [shown]}]
            for nodes, wanted in ((0, f"localhost {self.folder / 'work' / 'topcoat'} False False"), (1, f"node1 {self.work} ")):
                with self.subTest(playbook=playbook, nodes=nodes):
                    self.assertIn(wanted, self.play(tried, nodes=nodes).output)
