"""Reaches a running podman container: commands and files go through ``podman exec``.

This plugin must never start, stop or change the container itself, and must work without topcoat on the path of the Ansible that runs it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: topcoat_container
short_description: Run tasks in a running podman container
description:
  - Commands and files go through C(podman exec); the container's name is the address of the host.
options:
  remote_addr:
    description: Name or id of the container.
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
  podman:
    description: The program with the options that name its storage, as one line of shell words.
    default: podman
    vars:
      - name: topcoat_container_podman
"""


class Connection(ConnectionBase):
    """One container."""

    transport = "topcoat_container"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def close(self) -> None:
        """Nothing is kept open."""
        self._connected = False

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a line of shell in the container."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        done = subprocess.run(self._inside("/bin/sh", "-c", cmd), input=in_data or b"", capture_output=True, check=False, env=self._environment())
        if done.returncode == 125:  # podman's own failures, podman-exec(1)
            raise AnsibleConnectionFailure(f"podman cannot reach the container: {done.stderr.decode(errors='replace').strip()}")
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Send a file."""
        super().put_file(in_path, out_path)
        with Path(in_path).open("rb") as source:
            self._copy(["/bin/sh", "-c", f"cat >{shlex.quote(out_path)}"], out_path, stdin=source)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Fetch a file."""
        super().fetch_file(in_path, out_path)
        with Path(out_path).open("wb") as sink:
            self._copy(["cat", in_path], in_path, stdout=sink)

    def _copy(self, words: Sequence[str], path: str, *, stdin: IO[bytes] | int = subprocess.DEVNULL, stdout: IO[bytes] | None = None) -> None:
        done = subprocess.run(self._inside(*words), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, check=False, env=self._environment())
        if done.returncode:
            raise AnsibleError(f"cannot copy {path}: {done.stderr.decode(errors='replace').strip()}")

    def _inside(self, *words: str) -> list[str]:
        return [*shlex.split(self.get_option("podman")), "exec", "--interactive", self.get_option("remote_addr"), *words]

    def _environment(self) -> dict[str, str]:
        """HOME is the work folder's here; podman looks for the caller's storage below the caller's own."""
        home = os.environ.get("TOPCOAT_CALLER_HOME")
        return {**os.environ, "HOME": home} if home else dict(os.environ)
