"""A small site for tests of whole runs: a registry, repositories, a recipe tree, a profile, and the ``topcoat`` command.

This module must never reach past its own folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.functional.updater.world import World, busybox
from topcoat_demo.filesystem import filesystem
from topcoat_demo.rpms import RpmSpec, make_repository, script

RECIPES = """\
base:
  from: profile
  description: the root of the tree
  packages: [basetool]

nova-base:
  from: base
  packages: [python3-nova]

nova-api:
  from: nova-base
  packages: [openstack-nova-api]
  entrypoint: [/usr/bin/nova-api]

nova-compute:
  from: nova-base
  packages: [openstack-nova-compute]
  entrypoint: [/usr/bin/nova-compute]

keystone:
  from: base
  packages: [python3-keystone]
"""


def packages(nova: str = "1.0", oslo: str = "1.0", keystone: str = "1.0") -> list[RpmSpec]:
    """The packages of this site."""
    return [
        RpmSpec("basetool", "1.0", files=(script("/usr/bin/basetool", "echo 1.0"),)),
        RpmSpec("python3-oslo", oslo, files=(script("/usr/lib/oslo", f"echo {oslo}"),)),
        RpmSpec("python3-nova", nova, epoch=1, requires=("python3-oslo",), files=(script("/usr/lib/nova", f"echo {nova}"),)),
        RpmSpec("openstack-nova-api", nova, epoch=1, requires=("python3-nova",), files=(script("/usr/bin/nova-api", f"echo api {nova}"),)),
        RpmSpec("openstack-nova-compute", nova, epoch=1, requires=("python3-nova",), files=(script("/usr/bin/nova-compute", f"echo {nova}"),)),
        RpmSpec("python3-keystone", keystone, requires=("python3-oslo",), files=(script("/usr/bin/keystone", f"echo {keystone}"),)),
    ]


@dataclass
class Answer:
    """What one command left."""

    code: int
    output: str
    errors: str
    receipt: Mapping[str, object] = field(default_factory=dict)

    def image(self, name: str) -> Mapping[str, object]:
        """One image's line of the receipt."""
        return next(image for image in self.receipt["images"] if image["name"] == name)  # type: ignore[union-attr,index]

    def actions(self) -> dict[str, str]:
        """Image → action."""
        return {image["name"]: image["action"] for image in self.receipt["images"]}  # type: ignore[union-attr,index]

    def digests(self) -> dict[str, str]:
        """Image → digest."""
        return {image["name"]: image["digest"] for image in self.receipt["images"]}  # type: ignore[union-attr,index]


class Site(World):
    """A world with recipes and a profile in it."""

    RECIPES = RECIPES

    def __init__(self, directory: Path, *, server: Any = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, server=server)
        self.tree = directory / "container-images"
        (self.tree / "profiles").mkdir(parents=True)
        (self.tree / "openstack").mkdir()
        self.write_recipes(self.RECIPES)
        self.current = directory / "current"
        make_repository(self.current, packages())
        self.tiny = self.base("tiny", [], config={"Cmd": ["/bin/sh"]})
        self.write_profile()

    def write_recipes(self, text: str) -> None:
        """Replace the recipe tree."""
        base, _, rest = text.partition("\n\n")
        (self.tree / "base.yaml").write_text(base + "\n")
        (self.tree / "openstack" / "nova.yaml").write_text(rest)

    def write_profile(self, **extra: object) -> None:
        """Write the profile ``site``; JSON is YAML."""
        profile = {
            "distro": "demo",
            "release": "9",
            "arch": "x86_64",
            "base": {"image": f"{self.server.host}/tiny:current-passed-ci", "digest": self.tiny.digest},
            "repositories": [{"id": "current", "baseurl": self.current.as_uri(), "priority": 10}],
            "registry": self.server.host,
            "namespace": "site",
            **extra,
        }
        (self.tree / "profiles" / "site.yaml").write_text(json.dumps(profile, indent=1))

    def repository_of(self, rpms: Sequence[RpmSpec], name: str = "gating") -> Path:
        """A folder with a yum repository."""
        self._number = getattr(self, "_number", 0) + 1
        return make_repository(self.directory / f"{name}-{self._number}", rpms)

    def command(self, *words: str, work: str = "work", environment: Mapping[str, str] | None = None) -> list[str]:
        """The command line of ``topcoat`` for this site."""
        return [
            sys.executable,
            "-m",
            "topcoat",
            "--recipes",
            str(self.tree),
            "--profile",
            "site",
            "--authfile",
            str(self.server.authfile),
            *(("--ca-file", str(self.server.ca_file)) if self.server.ca_file else ("--plain-http", self.server.host)),
            "--work-dir",
            str(self.directory / work),
            "--progress",
            "plain",
            *words,
        ]

    def topcoat(self, *words: str, work: str = "work", environment: Mapping[str, str] | None = None) -> Answer:
        """Run the command as a user would."""
        done = subprocess.run(
            self.command(*words, work=work), capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False, timeout=600
        )
        receipt = self.directory / work / "receipt.json"
        content = json.loads(receipt.read_text()) if receipt.exists() and words and words[0] == "build" else {}
        return Answer(done.returncode, done.stdout, done.stderr, content)


def base_packages() -> list[RpmSpec]:
    """What the tiny image is made of."""
    return [filesystem(), busybox()]
