"""The machine that stands in for a node of the job: this one, another one over ssh, or a running container.

This module must never store a password; ssh keys stay where they are.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from topcoat.errors import UsageError

_FOLDER = "/var/tmp/topcoat-reproduce"
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_CONTAINER = re.compile(r"container:(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)(?P<folder>/.*)?")
_STEP = "write local, ssh://user@host:port/folder, or container:NAME/folder for a running podman container"


@dataclass(frozen=True)
class Node:
    """Where a job runs. ``host`` is empty for this machine; ``folder`` is where sources and work go on the other one.

    ``container``: ``host`` names a running podman container of this machine; ``podman`` is the program with the options that name its storage.
    """

    host: str = ""
    port: int = 22
    user: str = ""
    folder: str = _FOLDER
    key: Path | None = None
    container: bool = False
    podman: str = "podman"

    @classmethod
    def parse(cls, text: str, key: Path | None = None) -> Node:
        """``local``, ``ssh://[user@]host[:port][/folder]``, or ``container:name[/folder]``.

        :raises UsageError: none of them.
        """
        if text == "local":
            return cls()
        if container := _CONTAINER.fullmatch(text):
            return cls(container["name"], folder=_checked_folder(container["folder"] or ""), container=True)
        parts = urlsplit(text)
        try:
            port = parts.port or 22
        except ValueError:
            port = 0
        if parts.scheme != "ssh" or not parts.hostname or parts.password or not port or parts.query or parts.fragment:
            raise UsageError(f"not a node: {text!r}", next_step=_STEP)
        return cls(parts.hostname, port, parts.username or "", _checked_folder(parts.path), key)

    @property
    def remote(self) -> bool:
        """Whether it is another machine."""
        return bool(self.host)

    def inventory(self) -> dict[str, object]:
        """The host's entry in Ansible's inventory, with what roles expect of nodepool."""
        if not self.remote:
            address = {"private_ipv4": "127.0.0.1", "interface_ip": "127.0.0.1"}
            return {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3", "nodepool": address}
        if self.container:
            return {
                "ansible_connection": "topcoat_container",
                "ansible_host": self.host,
                "ansible_remote_tmp": f"{self.folder}/tmp",
                "topcoat_container_podman": self.podman,
                "ansible_python_interpreter": "/usr/bin/python3",
                "nodepool": {"private_ipv4": "127.0.0.1", "interface_ip": "127.0.0.1"},
            }
        entry: dict[str, object] = {
            "ansible_connection": "ssh",
            "ansible_host": self.host,
            "ansible_port": self.port,
            "ansible_remote_tmp": f"{self.folder}/tmp",
            "ansible_python_interpreter": "/usr/bin/python3",
            "nodepool": {"private_ipv4": self.host, "interface_ip": self.host},
        }
        if self.user:
            entry["ansible_user"] = self.user
        if self.key:
            entry["ansible_ssh_private_key_file"] = str(self.key.absolute())
        return entry

    def variables(self) -> dict[str, object]:
        """Variables of the roles that follow from where the node is."""
        if self.remote:
            return {"topcoat_work_dir": f"{self.folder}/topcoat", "build_gating_repo_source_root": self.folder}
        return {"ansible_become": False} if os.geteuid() == 0 else {}

    def send_playbook(self, node_folder: Path) -> str:
        """A playbook that puts the prepared sources on the node, as a site's base job does; one archive, since trees take minutes over ssh."""
        source = str(node_folder)
        tasks = [
            {"name": "Pack the sources", "ansible.builtin.command": {"argv": ["tar", "-C", source, "-czf", f"{source}/src.tar.gz", "src"]},
             "delegate_to": "localhost", "vars": {"ansible_connection": "local", "ansible_become": False}},
            {"name": "Remove what an earlier run left", "ansible.builtin.file": {"path": f"{self.folder}/src", "state": "absent"}},
            {"name": "Make the folder", "ansible.builtin.file": {"path": f"{self.folder}/topcoat", "state": "directory", "mode": "0755"}},
            {"name": "Send the sources", "ansible.builtin.unarchive": {
                "src": f"{source}/src.tar.gz", "dest": self.folder, "extra_opts": ["--no-same-owner"]}},
        ]  # fmt: skip
        return json.dumps([{"name": "Put the sources on the node", "hosts": "all", "tasks": tasks}], indent=1)


def _checked_folder(path: str) -> str:
    folder = path.rstrip("/") or _FOLDER
    if not _PLAIN.fullmatch(folder) or ".." in folder.split("/"):
        raise UsageError(f"not a plain folder on the node: {folder!r}", next_step="use letters, digits and / . _ -")
    return folder
