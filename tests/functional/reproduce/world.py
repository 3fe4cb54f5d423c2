"""A small world to reproduce in: git repositories with changes, a server that answers as a Gerrit does, and merges as Zuul's merger makes them.

It must never listen on anything but loopback.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.functional.roles.inventories import HOST
from tests.functional.roles.inventories import project as described

IDENTITY = ("Zuul", "zuul@ci.example.org")


def git(directory, *words, seconds=1795000000, identity=("Ada", "ada@example.org")):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": identity[0], f"GIT_{role}_EMAIL": identity[1], f"GIT_{role}_DATE": f"{seconds} +0000"}
    return subprocess.run(["git", "-C", str(directory), *words], env=environment, check=True, capture_output=True, text=True).stdout.strip()


class World:
    """Projects with changes; ``base`` is the address of the Gerrit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.changes: dict[str, dict] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.files: dict[str, bytes] = {}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def project(self, name: str, files: dict[str, str]) -> Path:
        folder = self.root / "git" / name
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch", "master")
        self.write(folder, files)
        git(folder, "commit", "--quiet", "-m", "Start")
        return folder

    def write(self, folder: Path, files: dict[str, str]) -> None:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        git(folder, "add", "-A")

    def url(self, project: str, number: str) -> str:
        return f"{self.base}/c/{project}/+/{number}"

    def change(
        self, project: str, number: str, files: dict[str, str], message: str, *, on: str = "master", status: str = "NEW", patchset: int = 1
    ) -> str:
        """Upload a patchset of a change; returns its commit."""
        folder = self.root / "git" / project
        git(folder, "checkout", "--quiet", "--detach", on)
        self.write(folder, files)
        git(folder, "commit", "--quiet", "-m", message, seconds=1795000100 + int(number))
        commit = git(folder, "rev-parse", "HEAD")
        ref = f"refs/changes/{int(number) % 100:02d}/{number}/{patchset}"
        git(folder, "update-ref", ref, commit)
        git(folder, "checkout", "--quiet", "master")
        known = self.changes.setdefault(number, {"_number": int(number), "project": project, "branch": "master", "topic": None, "revisions": {}})
        known["status"] = status
        known["revisions"][commit] = {
            "_number": patchset,
            "ref": ref,
            "commit": {"message": message + "\n", "parents": [{"commit": git(folder, "rev-parse", f"{commit}^")}]},
        }
        return commit

    def advance(self, project: str, files: dict[str, str]) -> str:
        """Another change merges: the branch moves on."""
        folder = self.root / "git" / project
        self.write(folder, files)
        git(folder, "commit", "--quiet", "-m", "Something else", seconds=1795000050)
        return git(folder, "rev-parse", "HEAD")

    def zuul_merge(self, project: str, number: str, *, seconds: int) -> str:
        """The commit that Zuul's merger makes of a change on the branch of now; it exists in no repository that can be fetched from."""
        folder = self.root / "git" / project
        shape = self.changes[number]
        commit, revision = max(shape["revisions"].items(), key=lambda entry: entry[1]["_number"])
        scratch = self.root / "merger" / project
        subprocess.run(["git", "clone", "--quiet", str(folder), str(scratch)], check=True, capture_output=True)
        git(scratch, "fetch", "--quiet", "origin", revision["ref"])
        git(scratch, "merge", "--quiet", "-s", "resolve", "-m", f"Merge '{revision['ref']}'", "FETCH_HEAD", seconds=seconds, identity=IDENTITY)
        assert commit in git(scratch, "log", "--format=%H")
        return git(scratch, "rev-parse", "HEAD")

    def inventory(self, items: list[tuple[str, str]], projects: dict[str, str], **zuul) -> str:
        """A recorded inventory. :param items: (project, change number). :param projects: project → recorded commit."""
        entries = []
        for project, number in items:
            revisions = self.changes[number]["revisions"]
            commit, revision = max(revisions.items(), key=lambda entry: entry[1]["_number"])
            entries.append({
                "project": described(project), "branch": "master", "change": number, "patchset": str(revision["_number"]), "commit_id": commit,
                "change_url": self.url(project, number), "change_message": revision["commit"]["message"], "topic": None,
            })  # fmt: skip
        variables = {
            "build": "a" * 32, "buildset": "b" * 32, "pipeline": "check", "job": "container-images-provider", "tenant": "example", "branch": "master",
            "items": entries, "project": described(items[-1][0]) if items else {}, "timeout": 600,
            "projects": {f"{HOST}/{name}": {**described(name), "checkout": "master", "required": True, "commit": commit}
                         for name, commit in projects.items()},
            **zuul,
        }  # fmt: skip
        return yaml.safe_dump({"all": {"hosts": {"controller": {"ansible_connection": "ssh"}}, "vars": {"greeting": "hello", "zuul": variables}}})

    def _handler(self):
        world = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def answer(self, status, body, kind="application/json"):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                parts = urlsplit(self.path)
                if parts.path in world.files:
                    self.answer(200, world.files[parts.path], "text/plain")
                elif parts.path == "/changes/":
                    query = parse_qs(parts.query)["q"][0]
                    if match := re.fullmatch(r"change:(\d+)", query):
                        found = [world.changes[match[1]]] if match[1] in world.changes else []
                    else:
                        commit = query.removeprefix("commit:")
                        found = [change for change in world.changes.values() if commit in change["revisions"]]
                    self.answer(200, b")]}'\n" + json.dumps(found).encode())
                else:
                    self.answer(404, b"not here")

        return Handler
