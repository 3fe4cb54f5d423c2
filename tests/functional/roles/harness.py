"""Runs roles for real: ansible-playbook on this machine, in a job folder of its own, with an inventory in the shape of Zuul's.

This module must never let a role reach the home folder of whoever runs the tests.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent


def ansible_playbook() -> str | None:
    """The ansible-playbook to test with: TOPCOAT_TEST_ANSIBLE names one (of an older or newer Ansible), else that of this environment."""
    own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ.get("TOPCOAT_TEST_ANSIBLE") or shutil.which("ansible-playbook", path=own)


def topcoat_command() -> str | None:
    """The command of this environment."""
    return shutil.which("topcoat", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@functools.cache
def compiled() -> str:
    """Folder of what Ansible's modules compiled, for all playbooks that this process starts; see compiled/sitecustomize.py."""
    folder = tempfile.mkdtemp(prefix="topcoat-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Run:
    """One finished playbook."""

    code: int
    output: str
    data: Mapping[str, object]
    secret_data: Mapping[str, object]

    @property
    def zuul(self) -> Mapping[str, object]:
        """What was returned for Zuul itself."""
        return self.data.get("zuul", {})  # type: ignore[return-value]


class RoleCase(unittest.TestCase):
    """One job folder for each test: ``home`` (of the job's user), ``work`` (returned data), ``logs``."""

    def setUp(self) -> None:
        found = ansible_playbook()
        if not found:
            self.fail("ansible-playbook is not installed; the extra 'test' holds it")
        self.ansible = found
        self.folder = Path(tempfile.mkdtemp(prefix="topcoat-roles-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.home = self.folder / "home"
        self.logs = self.folder / "logs"
        for path in (self.home, self.logs, self.folder / "work"):
            path.mkdir()
        self.work = self.home / "topcoat"

    def hosts(self, count: int) -> dict[str, dict[str, object]]:
        """So many nodes, all of them this machine, each with a home folder."""
        found = {}
        for number in range(1, count + 1):
            home = self.home if number == 1 else self.folder / f"home{number}"
            home.mkdir(exist_ok=True)
            found[f"node{number}"] = {
                "ansible_connection": "local",
                "ansible_host": "127.0.0.1",
                "ansible_python_interpreter": sys.executable,
                "topcoat_work_dir": str(home / "topcoat"),
                "nodepool": {"private_ipv4": "127.0.0.1", "interface_ip": "127.0.0.1"},
            }
        return found

    def play(
        self,
        playbook: str | Sequence[object],
        *,
        zuul: Mapping[str, object] | None = None,
        variables: Mapping[str, object] | None = None,
        nodes: int = 1,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Run:
        """Run a playbook of this repository (path) or given plays, or role names.

        :param check: the playbook must succeed.
        """
        if isinstance(playbook, str):
            path = ROOT / playbook
        else:
            plays = [{"hosts": "all", "roles": list(playbook)}] if all(isinstance(entry, str) for entry in playbook) else list(playbook)
            path = self.folder / "play.yaml"
            path.write_text(yaml.safe_dump(plays), encoding="utf-8")
        context = dict(zuul or {"buildset": "b" * 32})
        context["executor"] = {
            "hostname": "executor",
            "src_root": str(self.folder / "src"),
            "log_root": str(self.logs),
            "work_root": str(self.folder / "work"),
            "result_data_file": str(self.folder / "work" / "results.json"),
            "inventory_file": str(self.folder / "inventory.yaml"),
        }
        inventory = {"all": {"hosts": self.hosts(nodes), "vars": {"topcoat_command": topcoat_command() or "topcoat", **(variables or {})}}}
        (self.folder / "inventory.yaml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        (self.folder / "zuul_vars.yaml").write_text(_unsafe_dump({"zuul": context}), encoding="utf-8")
        (self.folder / "ansible.cfg").write_text("[defaults]\nretry_files_enabled = false\nstdout_callback = default\n", encoding="utf-8")
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "ZUUL_", "TOPCOAT_"))},
            "HOME": str(self.home),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_LIBRARY": str(HERE / "library"),
            "ANSIBLE_ACTION_PLUGINS": str(HERE / "action_plugins"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            # As Zuul has it.
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_GATHER_SUBSET": "min",
            # Facts outlive a playbook, as in Zuul: a phase may use what an earlier one remembered.
            "ANSIBLE_GATHERING": "smart",
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.folder / "facts"),
            "ANSIBLE_DEPRECATION_WARNINGS": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            # Zuul's environment has no collections beside the builtin one.
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "none"),
            "ZUUL_JOBDIR": str(self.folder),
            "PYTHONPATH": f"{HERE / 'compiled'}{os.pathsep}{ROOT / 'tools'}",
            "TOPCOAT_TEST_COMPILED": compiled(),
            **(environment or {}),
        }
        argv = [self.ansible, "-i", str(self.folder / "inventory.yaml"), "-e", f"@{self.folder / 'zuul_vars.yaml'}", "-v", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=900, check=False, cwd=self.folder)
        output = done.stdout + done.stderr
        if check:
            self.assertEqual(done.returncode, 0, output[-6000:])
        return self._run(done.returncode, output)

    def _run(self, code: int, output: str) -> Run:
        results = self.folder / "work" / "results.json"
        content = json.loads(results.read_text()) if results.exists() else {"data": {}, "secret_data": {}}
        return Run(code, output, content["data"], content["secret_data"])

    def assertNothingOutside(self) -> None:
        """The home folder of the job's user holds the work folder and what Ansible (its facts ask rpm) and podman need, nothing of registries."""
        found = {path.name for path in self.home.iterdir()} - {"topcoat", ".ansible", ".cache", ".local", ".rpmdb", "src"}
        self.assertEqual(found, set(), "a role wrote into the home folder")


def _unsafe_dump(content: object) -> str:
    """YAML with the text of authors marked ``!unsafe``, as Zuul writes it."""

    class Unsafe(str):
        pass

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    Dumper.add_representer(Unsafe, lambda dumper, data: dumper.represent_scalar("!unsafe", str(data)))

    def mark(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: Unsafe(entry) if key == "change_message" and isinstance(entry, str) else mark(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [mark(entry) for entry in value]
        return value

    return yaml.dump(mark(content), Dumper=Dumper)
