"""The start-script set mounted into a real image: configuration in place, service started, as podman runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.needs import needs
from topcoat_demo import distribution

SCRIPTS = Path(__file__).parents[3] / "container-images" / "start-scripts"
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none")


@needs("podman", "skopeo", root=True)
class InAnImage(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="topcoat-start-image-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        made = distribution.shared()
        if made.real is None:
            self.fail("the real base image of the demo distribution is not made")
        root, runroot = self.folder / "root", self.folder / "run"
        self.podman = ["podman", "--root", str(root), "--runroot", str(runroot), "--runtime", "runc"]
        target = f"containers-storage:[overlay@{root}+{runroot}]localhost/base:latest"
        subprocess.run(["skopeo", "copy", "-q", f"oci:{made.real.directory}", target], check=True, timeout=300)
        self.addCleanup(subprocess.run, [*self.podman, "rmi", "-a", "-f"], capture_output=True, timeout=300, check=False)

    def test_configuration_is_copied_and_the_command_replaces_the_shell(self) -> None:
        files = self.folder / "config_files"
        files.mkdir()
        (files / "service.conf").write_text("setting = 1\n")
        command = "sh -c $* -- eval stat -c %a:%U /etc/service/service.conf; cat /etc/service/service.conf; echo pid $$; echo arguments first"
        config = {
            "command": command,
            "config_files": [{"source": "/var/lib/kolla/config_files/*.conf", "dest": "/etc/service/", "owner": "daemon", "perm": "0640"}],
            "permissions": [{"path": "/etc/service", "owner": "root:root", "perm": "0750"}],
        }
        (files / "config.json").write_text(json.dumps(config))
        mounts = ["-v", f"{files}:/var/lib/kolla/config_files:ro"]
        for name in ("kolla_start", "kolla_set_configs"):
            mounts += ["-v", f"{SCRIPTS / name}:/usr/local/bin/{name}:ro"]
        arguments = ["run", "--rm", *LIMITS, *mounts, "-e", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS", "--entrypoint", "/usr/local/bin/kolla_start"]
        done = subprocess.run([*self.podman, *arguments, "localhost/base", "second"], capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("640:daemon\nsetting = 1\npid 1\narguments first second", done.stdout)
