"""Runs playbooks as an executor of Zuul does, on this machine: same variables, same order, one result file, everything below one folder.

This module must never touch the caller's home: HOME, Ansible's folders and the fact cache are all below the work folder.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from topcoat.errors import ContentError, InfrastructureError, TopcoatError
from topcoat.process import Processes, run
from topcoat.reproduce.jobs import Playbook
from topcoat.reproduce.node import Node

_PLUGINS = Path(__file__).resolve().parent / "plugins"
_CONNECTIONS = Path(__file__).resolve().parent / "connections"


@dataclass(frozen=True)
class Places:
    """Where things are below the work folder of one reproduction."""

    root: Path

    @property
    def node(self) -> Path:
        """The home of the stand-in for a node; ``src`` lies in it."""
        return self.root / "node"

    @property
    def topcoat(self) -> Path:
        """``topcoat_work_dir`` of the roles."""
        return self.node / "topcoat"

    @property
    def logs(self) -> Path:
        """What a job would leave on the log server."""
        return self.root / "logs"

    @property
    def executor(self) -> Path:
        """Inventory, variables, facts, results."""
        return self.root / "executor"

    @property
    def results(self) -> Path:
        """What the job returned: ``{"data": ..., "secret_data": ...}``; readable by its owner only."""
        return self.executor / "results.json"


@dataclass
class Player:
    """Writes what Ansible needs and runs one playbook after the other."""

    places: Places
    zuul: Mapping[str, object]
    variables: Mapping[str, object]
    extra: Mapping[str, object]
    host: str = "controller"
    node: Node = field(default_factory=Node)
    processes: Processes | None = None
    say: Callable[[str], None] = field(default=lambda line: None)

    def prepare(self) -> None:
        """Write inventory, variables and configuration.

        :raises InfrastructureError: there is no ansible-playbook.
        """
        for folder in (self.places.executor, self.places.logs, self.places.topcoat, self.places.root / "home", self.places.root / "bin"):
            folder.mkdir(parents=True, exist_ok=True)
        self.places.root.chmod(0o700)
        executor = self.places.executor
        zuul = {
            **self.zuul,
            "executor": {
                "hostname": "localhost",
                "src_root": str(self.places.node / "src"),
                "log_root": str(self.places.logs),
                "work_root": str(executor),
                "result_data_file": str(self.places.results),
                "inventory_file": str(executor / "inventory.yaml"),
            },
        }
        self._write("inventory.yaml", {"all": {"hosts": {self.host: self.node.inventory()}, "vars": dict(self.variables)}})
        extra = {"zuul": _unsafe(zuul), "zuul_user_dir": str(self.places.node), **self._own(), **self.extra}
        self._write("zuul_vars.yaml", extra)
        (executor / "ansible.cfg").write_text(
            "[defaults]\n"
            f"action_plugins = {_PLUGINS}\nconnection_plugins = {_CONNECTIONS}\n"
            # Also where a task for another node is handed to this machine.
            f"local_tmp = {executor}/tmp\nremote_tmp = {executor}/remote\nretry_files_enabled = False\n"
            f"gathering = smart\nfact_caching = jsonfile\nfact_caching_connection = {executor}/facts\nfact_caching_timeout = 0\n"
            "localhost_warning = False\nnocows = True\n"
            # Keys of hosts are remembered here; no shared connection, since the path of its socket may get too long.
            f"[ssh_connection]\nssh_args = -o ControlMaster=no -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={executor}/known_hosts\n",
            encoding="utf-8",
        )
        self._write_command()

    def _own(self) -> dict[str, object]:
        """What differs from a node of Zuul: folders, and on this machine the tool runs from the checkout instead of being installed."""
        if self.node.remote:
            return self.node.variables()
        return {
            "topcoat_work_dir": str(self.places.topcoat),
            "topcoat_command": str(self.places.root / "bin" / "topcoat"),
            "install_topcoat_enabled": False,
            "build_gating_repo_source_root": str(self.places.node),
            **self.node.variables(),
        }

    def send_sources(self, timeout: float) -> None:
        """Put the sources on another machine; on this one they are there."""
        if self.node.remote:
            path = self.places.executor / "send.yaml"
            path.write_text(self.node.send_playbook(self.places.node), encoding="utf-8")
            self.run(Playbook("pre", path, ()), timeout=timeout)

    def found(self, name: str) -> Path | None:
        """A file that the job left in its work folder: there, or where its post playbooks fetched it to."""
        folders = [*([] if self.node.remote else [self.places.topcoat]), self.places.logs / "container-images" / self.host]
        return next((folder / name for folder in folders if (folder / name).is_file()), None)

    def _write_command(self) -> None:
        command = self.places.root / "bin" / "topcoat"
        source = shlex.quote(str(self.places.topcoat / "source" / "tools"))
        command.write_text(
            f'#!/bin/sh\nPYTHONPATH={source} exec {shlex.quote(sys.executable)} -c "from topcoat.cli import main; main()" "$@"\n', encoding="utf-8"
        )
        command.chmod(0o755)

    def _write(self, name: str, content: object) -> None:
        path = self.places.executor / name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yaml.dump(content, stream, Dumper=_Dumper, sort_keys=False, allow_unicode=True)

    def run(self, playbook: Playbook, *, success: bool = True, timeout: float = 10800) -> None:
        """Run one playbook.

        :raises ContentError: it failed; the message ends with Ansible's last lines, the log holds all of them.
        """
        executor = self.places.executor
        command = ansible_playbook()
        environment = {
            "PATH": f"{Path(command).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "HOME": str(self.places.root / "home"),
            "TOPCOAT_CALLER_HOME": os.environ.get("HOME", ""),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(executor / "ansible.cfg"),
            "ANSIBLE_HOME": str(executor / "ansible"),
            "ANSIBLE_ROLES_PATH": ":".join(str(path) for path in playbook.roles),
            "ANSIBLE_NOCOLOR": "1",
            "ZUUL_RETURN_FILE": str(self.places.results),
            **{
                name: os.environ[name]
                for name in ("https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "PIP_INDEX_URL", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR")
                if name in os.environ
            },
        }
        argv = [command, "-i", str(executor / "inventory.yaml"), "-e", f"@{executor / 'zuul_vars.yaml'}"]
        if playbook.phase == "post":
            argv += ["-e", json.dumps({"zuul_success": success})]
        log = self.places.root / "job-output.txt"
        self.say(f"{playbook.phase}: {playbook.path.parent.name}/{playbook.path.name}")
        run([*argv, str(playbook.path)], timeout=timeout, log=log, env=environment, cwd=executor, failure=ContentError, processes=self.processes)

    def forget(self) -> None:
        """Remove what an earlier reproduction in the same folder left, so that it cannot pass for the result of this one."""
        self.places.results.unlink(missing_ok=True)
        for name in ("plan.json", "receipt.json"):
            (self.places.topcoat / name).unlink(missing_ok=True)
        shutil.rmtree(self.places.logs, ignore_errors=True)

    def returned(self) -> dict[str, dict[str, object]]:
        """What the job has returned so far."""
        if not self.places.results.is_file():
            return {"data": {}, "secret_data": {}}
        returned: dict[str, dict[str, object]] = json.loads(self.places.results.read_text("utf-8"))
        return returned

    def play(self, playbooks: Sequence[Playbook], *, timeout: float) -> None:
        """Pre and run stop at the first failure; post playbooks always run, with ``zuul_success``, and the first failure is raised at the end."""
        failure: TopcoatError | None = None
        for playbook in playbooks:
            if failure is not None and playbook.phase != "post":
                continue
            try:
                self.run(playbook, success=failure is None, timeout=timeout)
            except TopcoatError as error:
                self.say(f"{playbook.phase}: {playbook.path.name} failed")
                failure = failure or error
        if failure is not None:
            raise failure


class _Unsafe(str):
    """Text that must not be read as a template: what authors wrote, for example in a commit message."""


class _Dumper(yaml.SafeDumper):
    """Writes such text with the tag that Zuul uses."""


_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


def _unsafe(value: object) -> object:
    """The same value with all text marked."""
    if isinstance(value, Mapping):
        return {str(name): _unsafe(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unsafe(entry) for entry in value]
    return _Unsafe(value) if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")) else value


def ansible_playbook() -> str:
    """The program, beside this Python or on the path.

    :raises InfrastructureError: there is none.
    """
    beside = Path(sys.executable).parent / "ansible-playbook"
    found = str(beside) if beside.is_file() else shutil.which("ansible-playbook")
    if not found:
        raise InfrastructureError(
            "ansible-playbook is not installed", retriable=False, next_step="pip install 'topcoat[reproduce]', or use --until sources"
        )
    return found
