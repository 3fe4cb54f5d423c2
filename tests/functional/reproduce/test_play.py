"""A job's own playbooks run here with the recorded variables, in Zuul's order, and what they return is kept."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner

from tests.functional.reproduce.test_sources import NOVA, OSLO, Case
from tests.functional.roles.inventories import HOST
from tests.needs import needs
from tests.unit.report import fixtures
from topcoat.errors import ContentError
from topcoat.process.network import free_port
from topcoat.report import receipt_to_dict
from topcoat.reproduce.node import Node

ANSIBLE = (Path(sys.executable).parent / "ansible-playbook").is_file() or shutil.which("ansible-playbook")
JOBS = "openstack/jobs"
PLAYBOOK = """
- hosts: all
  roles:
    - note
"""
NOTE = """
- ansible.builtin.lineinfile:
    path: "{{ topcoat_work_dir }}/trace"
    line: "{{ phase_name }} {{ greeting }} {{ zuul.project.short_name }} {{ zuul['items'] | length }} {{ ansible_facts['env']['HOME'] }}"
    create: true
    mode: "0644"
  vars:
    phase_name: "{{ ansible_play_name }}"
"""


def play(name, *tasks):
    return json.dumps([{"name": name, "hosts": "all", "roles": ["note"], "tasks": list(tasks)}])


RETURN = {
    "zuul_return": {"data": {"zuul": {"artifacts": [{"name": "a"}], "warnings": ["one"]}, "x": {"a": 1}}, "secret_data": {"password": "canary"}}
}
RETURN_MORE = {"zuul_return": {"data": {"zuul": {"artifacts": [{"name": "b"}], "file_comments": {"f": [{"message": "m"}]}}, "x": {"b": 2}}}}


class JobCase(Case):
    """A project with playbooks, a change, and a recording of a job."""

    def setUp(self):
        super().setUp()
        receipt = json.dumps(receipt_to_dict(fixtures.green()))
        write = {"ansible.builtin.copy": {"content": "{{ receipt_text }}", "dest": "{{ topcoat_work_dir }}/receipt.json", "mode": "0644"}}
        files = {
            "roles/note/tasks/main.yaml": NOTE,
            "playbooks/pre.yaml": play("pre", RETURN),
            "playbooks/provider/run.yaml": play("run", RETURN_MORE, write),
            "playbooks/post.yaml": play("post {{ zuul_success }}"),
            "playbooks/fail.yaml": play("fail", {"ansible.builtin.fail": {"msg": "no such package"}}),
            "receipt.txt": receipt,
        }
        self.world.project(JOBS, files)
        self.world.change(NOVA, "205", {"file": "nova changed\n"}, "Change nova {{ 1 + 1 }}")
        self.receipt_text = receipt

    def recording(self, run="playbooks/provider/run.yaml", receipt=None):
        root = f"untrusted/project_0/{HOST}/{JOBS}"
        trusted = f"trusted/project_0/{HOST}/openstack/site"

        def entry(path):
            return {"path": f"{root}/{path}", "roles": [{"link_name": "x", "link_target": root, "role_path": f"{root}/roles"}]}

        context = {
            "playbook_projects": {
                root: {"canonical_name": f"{HOST}/{JOBS}", "checkout": "master", "commit": None},
                trusted: {"canonical_name": f"{HOST}/openstack/site", "checkout": "master", "commit": "0" * 40},
            },
            "pre_playbooks": [{"path": f"{trusted}/playbooks/base/pre.yaml", "roles": []}, entry("playbooks/pre.yaml")],
            "playbooks": [entry(run)],
            "post_playbooks": [entry("playbooks/post.yaml")],
        }
        commit = next(iter(self.world.changes["205"]["revisions"]))
        return self.record(self.world.inventory([(NOVA, "205")], {NOVA: commit}, playbook_context=context), receipt)


@needs(modules=("ansible",))
class Playbooks(JobCase):
    @property
    def trace(self):
        return (self.folder / "work" / "node" / "topcoat" / "trace").read_text().splitlines()

    def test_pre_run_post_with_the_recorded_variables(self):
        outcome = self.reproduce(self.recording(), until="run", variables={"receipt_text": self.receipt_text})
        home = self.folder / "work" / "home"
        self.assertEqual([f"{phase} hello nova 1 {home}" for phase in ("pre", "run", "post True")], self.trace)
        self.assertIn("base/pre.yaml: its project is not part", "\n".join(outcome.left_out))
        returned = outcome.returned
        self.assertEqual([{"name": "b"}, {"name": "a"}], returned["zuul"]["artifacts"])
        self.assertEqual(
            (["one"], {"a": 1, "b": 2}, {"f": [{"message": "m"}]}), (returned["zuul"]["warnings"], returned["x"], returned["zuul"]["file_comments"])
        )

    def test_secrets_stay_with_their_owner(self):
        self.reproduce(self.recording(), until="run", variables={"receipt_text": self.receipt_text})
        results = self.folder / "work" / "executor" / "results.json"
        self.assertEqual("canary", json.loads(results.read_text())["secret_data"]["password"])
        self.assertEqual((0o600, 0o700), (results.stat().st_mode & 0o777, (self.folder / "work").stat().st_mode & 0o777))
        self.assertNotIn("canary", (self.folder / "work" / "job-output.txt").read_text())

    def test_a_message_of_an_author_is_no_template(self):
        self.reproduce(self.recording(), until="run", variables={"receipt_text": self.receipt_text})
        self.assertIn("!unsafe", (self.folder / "work" / "executor" / "zuul_vars.yaml").read_text())

    def test_post_runs_after_a_failure_and_the_failure_is_told(self):
        with self.assertRaisesRegex(ContentError, "no such package"):
            self.reproduce(self.recording("playbooks/fail.yaml"), until="run")
        self.assertEqual(["pre", "fail", "post False"], [line.rsplit(" hello", 1)[0] for line in self.trace])

    def test_the_receipt_of_an_earlier_run_is_no_result(self):
        self.reproduce(self.recording(receipt=fixtures.green()), until="run", variables={"receipt_text": self.receipt_text})
        with self.assertRaisesRegex(ContentError, "no such package"):
            self.reproduce(self.recording("playbooks/fail.yaml", receipt=fixtures.green()), until="run")

    def test_nothing_is_written_elsewhere(self):
        before = {path for path in (Path.home(), Path("/etc")) for path in path.iterdir()}
        self.reproduce(self.recording(), until="run", variables={"receipt_text": self.receipt_text})
        self.assertEqual(before, {path for path in (Path.home(), Path("/etc")) for path in path.iterdir()})

    def test_compared_with_the_original(self):
        outcome = self.reproduce(self.recording(receipt=fixtures.green()), until="run", variables={"receipt_text": self.receipt_text})
        self.assertEqual((104, ()), (len(outcome.comparison.equal), outcome.comparison.differences))

    def test_the_command_says_how_it_differs(self):
        first = fixtures.green().images[0]
        other = dataclasses.replace(
            fixtures.green(), images=(dataclasses.replace(first, digest=fixtures.digest("other")), *fixtures.green().images[1:])
        )
        words = [
            "reproduce", self.recording(receipt=other), "--directory", str(self.folder / "work"), "--git", f"{HOST}={(self.folder / 'git').as_uri()}",
            "--var", f"receipt_text={json.dumps(self.receipt_text)}", "--merged-as", "Zuul <zuul@ci.example.org>",
        ]  # fmt: skip
        from topcoat.cli import root

        result = CliRunner().invoke(root, words)
        self.assertIsInstance(result.exception, ContentError)
        self.assertIn("103 images came out the same", result.output)
        self.assertIn("UNEXPLAINED", result.output)

    def test_the_job_of_a_checkout_for_changes(self):
        configuration = [
            {"job": {"name": "site-base", "parent": "base", "abstract": True, "pre-run": "playbooks/pre.yaml", "post-run": ["playbooks/post.yaml"]}},
            {"job": {"name": "try", "parent": "site-base", "run": "playbooks/provider/run.yaml", "vars": {"greeting": "moin"}}},
        ]
        self.world.change(JOBS, "300", {"zuul.d/jobs.yaml": json.dumps(configuration)}, f"Jobs\n\nDepends-On: {self.world.url(NOVA, '205')}")
        outcome = self.reproduce(self.world.url(JOBS, "300"), until="run", job="try", variables={"receipt_text": self.receipt_text})
        self.assertEqual(["pre moin jobs 2", "run moin jobs 2", "post True moin jobs 2"], [line.rpartition(" ")[0] for line in self.trace])
        self.assertIn("job base: they are the site's own", outcome.left_out[0])
        self.assertNotIn(OSLO, os.listdir(self.folder / "work/node/src" / HOST / "openstack"))


@needs("podman", "runc", root=True, modules=("ansible",))
class Container(JobCase):
    """A container that sees this machine's files and writes into a layer of its own."""

    def setUp(self):
        super().setUp()
        storage = self.folder / "storage"
        self.podman = ["podman", "--root", str(storage / "root"), "--runroot", str(storage / "run"), "--runtime", "runc"]
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        words = ["run", "--detach", "--name", "node", "--network=none", *limits, "--rootfs", "/:O", "sleep", "600"]
        subprocess.run([*self.podman, *words], check=True, capture_output=True)
        self.addCleanup(subprocess.run, [*self.podman, "rm", "--force", "--time", "0", "node"], check=True, capture_output=True)

    def inside(self, *words):
        return subprocess.run([*self.podman, "exec", "node", *words], check=True, capture_output=True, text=True).stdout

    def test_sources_go_there_and_playbooks_run_there(self):
        node = dataclasses.replace(Node.parse("container:node/srv/topcoat-try"), podman=" ".join(self.podman))
        with self.assertRaisesRegex(ContentError, "no such package"):
            self.reproduce(self.recording("playbooks/fail.yaml"), until="run", node=node)
        self.assertEqual("nova changed\n", self.inside("cat", f"/srv/topcoat-try/src/{HOST}/{NOVA}/file"))
        lines = self.inside("cat", "/srv/topcoat-try/topcoat/trace").splitlines()
        self.assertEqual(["pre", "fail", "post False"], [line.rsplit(" hello", 1)[0] for line in lines])
        self.assertFalse(Path("/srv/topcoat-try").exists())

    def test_a_container_that_is_not_there(self):
        node = dataclasses.replace(Node.parse("container:nowhere"), podman=" ".join(self.podman))
        with self.assertRaisesRegex(ContentError, "cannot reach the container"):
            self.reproduce(self.recording(), until="run", node=node)


@needs("sshd", root=True, modules=("ansible",))
class OtherMachine(JobCase):
    """A node of its own folder behind an sshd on loopback."""

    def setUp(self):
        super().setUp()
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
        shutil.copy(keys / "user.pub", keys / "authorized")
        port = free_port()
        Path("/run/sshd").mkdir(exist_ok=True)
        options = {
            "Port": port, "ListenAddress": "127.0.0.1", "HostKey": keys / "host", "AuthorizedKeysFile": keys / "authorized", "UsePAM": "no",
            "PidFile": "none", "Subsystem": "sftp internal-sftp",
            "PasswordAuthentication": "no", "PermitRootLogin": "yes", "StrictModes": "no",
        }  # fmt: skip
        argv = ["/usr/sbin/sshd", "-D", "-f", os.devnull, *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        sshd = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (sshd.terminate(), sshd.wait()))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        self.node = Node.parse(f"ssh://root@127.0.0.1:{port}{self.folder}/remote", keys / "user")

    def test_sources_go_there_and_playbooks_run_there(self):
        with self.assertRaisesRegex(ContentError, "no such package"):
            self.reproduce(self.recording("playbooks/fail.yaml"), until="run", node=self.node)
        remote = self.folder / "remote"
        self.assertTrue((self.folder / "work" / "executor" / "remote").is_dir())
        self.assertEqual("nova changed\n", (remote / "src" / HOST / NOVA / "file").read_text())
        lines = (remote / "topcoat" / "trace").read_text().splitlines()
        self.assertEqual(["pre", "fail", "post False"], [line.rsplit(" hello", 1)[0] for line in lines])
        self.assertTrue((self.folder / "work" / "executor" / "known_hosts").is_file())
        self.assertFalse((self.folder / "work" / "node" / "topcoat" / "trace").exists())
