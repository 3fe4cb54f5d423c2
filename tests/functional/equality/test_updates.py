"""An updated image as buildah and podman pull it, beside ``dnf -y update`` in a container of the same base image."""

import os
import subprocess
import time
from pathlib import Path

from tests.functional.equality.storage import StorageCase
from tests.functional.equality.zoo import LITTER, MADE, NEW, OLD
from tests.functional.layers.others import TOOLS, differences, tree
from tests.functional.updater.world import digests, rpm
from topcoat.registry.oci import DOCKER_MANIFEST
from topcoat_demo.rpms import RpmSpec, make_repository


class Beside(StorageCase):
    """A world with a container storage of its own, and plain dnf on a root."""

    def reference(self, digest: str) -> str:
        return f"docker://{self.world.server.host}/zoo@{digest}"

    def dnf(self, root: Path, repository: Path, *arguments: str) -> None:
        home = self.world.path("home")
        home.mkdir()
        (home / ".rpmmacros").write_text("%_dbpath /var/lib/rpm\n%_db_backend sqlite\n%_pkgverify_level none\n")
        words = [
            "dnf",
            "-y",
            f"--installroot={root}",
            "--releasever=9",
            "--disablerepo=*",
            f"--repofrompath=current,{repository.as_uri()}",
            "--nogpgcheck",
        ]
        options = {"reposdir": "/nonexistent", "tsflags": "nodocs", "install_weak_deps": 0, "clean_requirements_on_remove": 0, "plugins": 0}
        options |= {"module_platform_id": "platform:el9", "cachedir": home / "cache"}
        words += [f"--setopt={name}={value}" for name, value in options.items()]
        environment = {**os.environ, "HOME": str(home)}
        done = subprocess.run([*words, *arguments], capture_output=True, text=True, check=False, env=environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def facts(self, root: Path) -> dict[str, object]:
        """What rpm says of an image."""
        verified = sorted(rpm(root, "-Va", check=False).splitlines())
        rpm(root, "--verifydb")
        headers = rpm(root, "-qa", "--qf", "%{nevra} %{sha256header} %{sigmd5} [%{filestates},]\n")
        self.assertEqual([line for line in verified if " c " not in line], [])
        return {"headers": sorted(headers.splitlines()), "verified": verified}


class Updates(Beside):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        root = cls.world.root(OLD)
        (root / "etc/kept").write_text("changed by the administrator\n")
        (root / "etc/replaced").write_text("changed as well\n")
        (root / "opt/f/sub/unowned").write_text("of nobody\n")
        cls.base = cls.world.publish_root(root, "zoo")
        cls.repository = cls.world.repository("current", NEW)
        cls.built = cls.world.update(cls.base, cls.repository)
        cls.digest = cls.world.publish(cls.built, "zoo")

    def test_nothing_differs_from_plain_dnf(self) -> None:
        self.maxDiff = None
        directory = Path(self.repository.baseurl.removeprefix("file://"))
        with self.storage.unpacked("buildah", self.reference(self.base.digest), *self.access()) as plain:
            self.dnf(plain, directory, "update")
            own = str(self.world.directory).lstrip("/")  # dnf repeats the path of its cache inside the root
            expected = tree(plain, without=(*LITTER, own))
            facts = self.facts(plain)
            for tool in TOOLS:
                with self.subTest(tool), self.storage.unpacked(tool, self.reference(self.digest), *self.access()) as root:
                    found = tree(root, without=LITTER)
                    self.assertEqual(differences(*map(undated, (expected, found))), {})
                    for path in LITTER[:4]:
                        self.assertFalse(os.path.lexists(root / path), path)
                    if tool == "buildah":  # podman mounts images read-only, and rpm wants to lock
                        self.assertEqual(facts, self.facts(root))
                        later = make_repository(self.world.path("later"), [RpmSpec("hardlinks", "3"), RpmSpec("fresh", "1")])
                        self.dnf(root, later, "install", "fresh")
                        self.dnf(root, later, "update")
                        self.assertIn("hardlinks-3-1.el9.noarch", rpm(root, "-qa"))

    def test_two_runs_give_the_same_digest_whatever_the_clock_says(self) -> None:
        time.sleep(1.1)
        again = self.world.update(self.base, self.repository)
        self.assertEqual((digests(self.built), self.built.image.config), (digests(again), again.image.config))
        self.assertLess(self.built.image.config["created"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "not in the future")

    def test_a_health_check_in_dockers_format_survives(self) -> None:
        check = {"Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 30_000_000_000}}
        root = self.world.root([RpmSpec("hardlinks", "1")])
        base = self.world.publish_root(root, "health", config=check, media_type=DOCKER_MANIFEST)
        digest = self.world.publish(self.world.update(base, self.repository), "health")
        identity = self.storage.run("podman", "pull", "--quiet", *self.access(), f"docker://{self.world.server.host}/health@{digest}")
        shown = self.storage.run("podman", "image", "inspect", "--format", "{{.HealthCheck.Test}} {{.ManifestType}}", identity)
        self.assertEqual(shown, f"[CMD /bin/true] {DOCKER_MANIFEST}")


def undated(entries: dict[str, tuple]) -> dict[str, tuple]:
    """Without the times of what scriptlets wrote."""
    hide = {path for path in entries if any(path == made or path.startswith(made + "/") for made in MADE)}
    return {path: (*facts[:3], 0, *facts[4:]) if path in hide else facts for path, facts in entries.items()}
