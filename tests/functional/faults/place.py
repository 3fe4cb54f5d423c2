"""A site for the matrix of faults: images, a registry whose behaviours and faults can be switched, repositories over HTTP, and their states.

This module must never reach past its own folder, and never leave a state as a case left it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.functional.faults import driver
from tests.functional.registry.behaviours import BehavingRegistry, Behaviour
from tests.functional.registry.spoiling import QuietServer, SpoiledHandler, Spoiler
from tests.functional.runs.site import Site, packages
from topcoat_demo.rpms import make_repository

RECIPES = """\
base:
  from: profile
  packages: [basetool]

nova-api:
  from: base
  packages: [openstack-nova-api]
  entrypoint: [/usr/bin/nova-api]
"""
NAMES = ("base", "nova-api")
FLOATING = ("current-passed-ci", "latest")


class WebRepository:
    """Serves a folder over HTTP, spoiled where a rule says so."""

    def __init__(self, folder: Path) -> None:
        self.spoiler = Spoiler(lambda verb, path: f"{verb} {_what(path)}")
        spoiler = self.spoiler

        class Handler(SpoiledHandler):
            def do_GET(self) -> None:
                self.spoiled(self.work)

            def work(self) -> None:
                path = folder / self.path.lstrip("/")
                body = path.read_bytes() if path.is_file() else b"no such file"
                self.send_response(200 if path.is_file() else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        Handler.spoiler = spoiler
        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def _what(path: str) -> str:
    for word in ("repomd", "primary", "filelists", "other", "updateinfo", "modules"):
        if word in path:
            return word
    return "package" if path.endswith(".rpm") else "file"


class _Server:
    """The registry of behaviours in the place of a registry process."""

    ca_file = None

    def __init__(self, directory: Path, registry: BehavingRegistry) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.registry = registry
        self.host = registry.host
        self.plain_http = (registry.host,)
        self.authfile = registry.write_authfile(directory / "auth.json")

    def stop(self) -> None:
        """End it."""
        self.registry.__exit__()


class FaultSite(Site):
    """Everything that the cases share. ``states`` holds the registry's contents by the name of a state."""

    RECIPES = RECIPES

    def __init__(self, directory: Path) -> None:
        self.registry = BehavingRegistry(Behaviour(bearer=True))
        self.states: dict[str, Mapping[str, object]] = {}
        super().__init__(directory, server=_Server(directory / "registry", self.registry))
        (directory / "web").mkdir()
        self.web = WebRepository(directory / "web")
        shutil.rmtree(self.current)
        self.current = make_repository(directory / "web" / "current", packages())
        gated = [spec for spec in packages(nova="2.0", oslo="1.1") if spec.name in ("openstack-nova-api", "python3-nova", "python3-oslo")]
        make_repository(directory / "web" / "gating", gated)
        self.write_profile(repositories=[{"id": "current", "baseurl": f"{self.web.url}/current", "priority": 10}])
        (self.tree / "lists").mkdir()
        (self.tree / "lists" / "deploy.yaml").write_text(json.dumps({"images": [{"image": name} for name in NAMES]}))

    @property
    def gating(self) -> str:
        """The repository under test."""
        return f"{self.web.url}/gating"

    def close(self) -> None:
        """End the servers."""
        self.web.close()
        super().close()

    def words(self, *words: str, work: str) -> list[str]:
        """The command line without the program."""
        return self.command(*words, work=work)[3:]

    def run(self, *words: str, work: str, conditions: driver.Conditions = driver.AS_HERE, seconds: float = 120) -> tuple[int, str, str]:
        """A command to its end: exit code, output, errors."""
        running = driver.start(self.words(*words, work=work), self.directory / f"{work}-said", conditions)
        code = running.wait(seconds)
        if code is None:
            running.kill()
            raise AssertionError(f"{' '.join(words)} was not over after {seconds} s")
        return code, running.out.read_text(errors="replace"), running.errors.read_text(errors="replace")

    def quiet(self) -> None:
        """No faults, no counts."""
        for spoiler in (self.registry.spoiler, self.web.spoiler):
            spoiler.reset()

    def show(self) -> dict[str, dict[str, str]]:
        """Tags that people see, by repository; records and what hangs on an image are left out: they hold times."""
        shown = {}
        for name, repository in self.registry.contents().items():
            tags = {tag: digest for tag, digest in repository.tags.items() if not tag.startswith("sha256-")}
            if tags and not name.rpartition("/")[2].startswith("topcoat-"):
                shown[name] = tags
        return shown

    def damage(self) -> list[str]:
        """What is wrong with the registry's contents: tags without manifest, manifests without their parts, bytes that are others."""
        found = []
        for name, repository in self.registry.contents().items():
            for digest, (_, body) in repository.manifests.items():
                if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
                    found.append(f"{name}@{digest} holds other bytes")
                document = json.loads(body)
                parts = [document["config"], *document["layers"]] if "config" in document else []
                for part in parts:
                    data = repository.blobs.get(part["digest"])
                    if data is None or len(data) != part["size"] or part["digest"] != f"sha256:{hashlib.sha256(data).hexdigest()}":
                        found.append(f"{name}@{digest} lacks {part['digest']}")
            found += [f"{name}:{tag} leads nowhere" for tag, digest in repository.tags.items() if digest not in repository.manifests]
        return found

    def floating(self) -> dict[str, dict[str, str | None]]:
        """What each floating tag shows for the whole set."""
        shown = self.show()
        return {tag: {name: shown.get(f"site/{name}", {}).get(tag) for name in NAMES} for tag in FLOATING}


def one_line_errors(text: str) -> list[str]:
    """The lines of standard error that start with ``error:``."""
    return re.findall(r"^error: .*$", text, re.M)
