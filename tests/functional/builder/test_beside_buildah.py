"""Builds as buildah and podman pull them, beside ``buildah bud`` of the same Containerfile without us."""

import json
import os
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

from tests.functional.builder.case import BuildCase
from tests.functional.equality.zoo import MADE, NEW
from tests.functional.layers.others import TOOLS, Storage, differences, tree
from tests.functional.updater.world import need, rpm
from topcoat import containerfile
from topcoat.layers import BuiltImage
from topcoat.model import CopyFile, Package, Recipe, Step
from topcoat.model.recipe import User
from topcoat.registry.oci import DOCKER_MANIFEST, OCI_MANIFEST
from topcoat_demo.beside import LIMITS
from topcoat_demo.rpms import File, RpmSpec, config, directory, script

SERVICE = RpmSpec(
    "service",
    "3.0",
    epoch=1,
    requires=("hardlinks", "volatile"),
    files=(
        script("/usr/bin/service", "echo service 3.0"),
        script("/usr/bin/healthy", "echo healthy"),
        config("/etc/service/service.conf", "[DEFAULT]\n", user="root", group="svc", mode=0o640),
        directory("/var/lib/service", user="svc", group="svc", mode=0o750),
        directory("/run/service", user="svc", group="svc"),
        File("/run/dnf/owned", "o"),
        File("/root/.cache/owned", "o"),
        File("/var/tmp/.hidden/owned", "o"),
    ),
    post="mkdir -p /tmp/litter/of/mine /var/tmp/litter; echo > /tmp/litter/of/mine/x; ln -s nowhere /tmp/.litter; echo > /run/dnf/litter",
)
# In a build /dev is the machine's, or a small file system of its own: dnf refuses what it cannot put there.
ZOO = tuple(replace(spec, files=tuple(file for file in spec.files if not file.path.startswith("/dev/"))) for spec in NEW)
PACKAGES = ("service", *sorted({spec.name for spec in NEW}))
# What buildah or its dnf leaves, nobody owns, and no container needs; and the package database, which rpm compares.
LITTER = (
    "var/lib/rpm",
    "var/lib/dnf",
    "run/litter",
    "etc/hostname",
    "etc/resolv.conf",
    "packages",
    *(f"usr/lib/python3.{minor}/__pycache__/sitecustomize.cpython-3{minor}.pyc" for minor in range(9, 20)),
)
# Written in the build by others than packages; its times are those of the day.
TODAY = (*MADE, "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/passwd-", "etc/group-", "etc/stepped")


class BesideBuildah(BuildCase):
    packages = (*ZOO, SERVICE)

    @classmethod
    def setUpClass(cls) -> None:
        need("podman", "runc")
        super().setUpClass()
        cls.others = Storage(cls.world.path("others"))
        cls.addClassCleanup(cls.others.run, "buildah", "rm", "--all")
        cls.addClassCleanup(cls.others.run, "podman", "image", "unmount", "--all")
        folder = cls.world.path("tree")
        (folder / "conf.d/sub").mkdir(parents=True)
        (folder / "conf.d/sub/b.conf").write_text("b\n")
        cls.recipe = Recipe(
            "service",
            "service",
            "openstack",
            None,
            users=(User("svc", 42400, 42400),),
            packages=tuple(map(Package, PACKAGES)),
            copies=(
                CopyFile(folder / "conf.d", "/etc/service/conf.d", owner="svc:svc"),
                CopyFile(folder / "conf.d", "/srv/a/b", owner="svc"),
                CopyFile(folder / "conf.d/sub/b.conf", "/srv/c/d/b.conf", owner="daemon:adm"),
                CopyFile(folder / "conf.d/sub/b.conf", "/opt/k"),
            ),
            environment=(("LANG", "C.UTF-8"),),
            labels=(("org.example", "1"),),
            ports=("8774",),
            volumes=("/var/lib/service",),
            workdir="/srv/a/b/sub/here",
            entrypoint=("/usr/bin/service",),
            command=("--help",),
            user="svc",
            stop_signal="SIGWINCH",
            healthcheck=("/usr/bin/healthy",),
        )

    @contextmanager
    def plain(self, recipe: Recipe, image_format: str) -> Iterator[tuple[Path, dict]]:
        """The Containerfile built by buildah on its own: its files and its configuration."""
        reference = f"{self.world.server.host}/base/real@{self.base_digest}"
        rendered = containerfile.render(recipe, parent_reference=reference, profile=self.profile, labels={"l": "m"})
        context, repos = self.world.path("context"), self.world.path("repos")
        containerfile.write_context(rendered, context)
        repos.mkdir()
        packages = Path(self.profile.repositories[0].baseurl.removeprefix("file://"))
        (repos / "current.repo").write_text("[current]\nname=current\nbaseurl=file:///packages\ngpgcheck=0\n")
        volumes = ["--volume", f"{repos}:/etc/yum.repos.d:ro", "--volume", f"{packages}:/packages:ro"]
        options = ["--isolation", "chroot", "--network", "host", "--layers=false", "--format", image_format, "--identity-label=false", "--quiet"]
        options += LIMITS
        identity = self.others.run("buildah", "bud", *options, *self.access(), *volumes, str(context)).splitlines()[-1]
        inspected = json.loads(self.others.run("buildah", "inspect", "--type", "image", identity))
        container = self.others.run("buildah", "from", "--pull=never", identity)
        yield Path(self.others.run("buildah", "mount", container)), inspected["Docker"]["config"]
        self.others.run("buildah", "rm", container)
        self.others.run("buildah", "rmi", "--force", identity)

    def reference(self, digest: str) -> str:
        return f"docker://{self.world.server.host}/demo/beside@{digest}"

    def facts(self, root: Path) -> dict[str, list[str]]:
        """What rpm says of an image; whether a time differs is told for packages' files only, not for the account files that the build wrote."""
        rpm(root, "--verifydb")
        headers = rpm(root, "-qa", "--qf", "%{nevra} %{sha256header} %{sigmd5} %{installtime} [%{filestates},]\n")
        return {
            "headers": sorted(headers.splitlines()),
            "verified": sorted(line.replace("T", ".", 1) if "  c /etc/" in line else line for line in rpm(root, "-Va", check=False).splitlines()),
        }

    def compare(self, recipe: Recipe, built: list[BuiltImage], image_format: str) -> list[str]:
        """Nothing differs from a plain build; the digests of what was published."""
        digests = [self.world.publish(one, "demo/beside", f"{image_format}-{one.method}", source="base/real") for one in built]
        with self.plain(recipe, image_format) as (plain, settings):
            expected, facts = tree(plain, without=LITTER), self.facts(plain)
            self.assertEqual([line for line in facts["verified"] if "  c /etc/" not in line], [])
            for one, digest in zip(built, digests, strict=True):
                self.assertEqual({key: settings.get(key) for key in one.image.config["config"]}, one.image.config["config"])
                for tool in TOOLS:
                    with self.subTest(tool, way=one.method), self.others.unpacked(tool, self.reference(digest), *self.access()) as root:
                        self.assertEqual(differences(*map(undated, (expected, tree(root, without=LITTER)))), {})
                        if tool == "buildah":  # podman mounts images read-only, and rpm wants to lock
                            self.assertEqual(self.facts(root), facts)
        return digests

    def test_nothing_differs_in_dockers_format(self) -> None:
        self.maxDiff = None
        profile = replace(self.profile, image_format="docker")
        built = [self.contained(self.recipe, profile=profile), self.direct(self.recipe, profile=profile)]
        self.assertEqual([one.image.media_type for one in built], [DOCKER_MANIFEST] * 2)
        for digest in self.compare(self.recipe, built, "docker"):
            with self.subTest(digest):
                self.assert_healthy(digest)

    def test_nothing_differs_in_the_oci_format(self) -> None:
        self.maxDiff = None
        profile = replace(self.profile, image_format="oci")
        recipe = replace(self.recipe, healthcheck=(), steps=(Step("echo step > /etc/stepped"),))
        built = self.contained(recipe, profile=profile)
        self.assertEqual(built.image.media_type, OCI_MANIFEST)
        self.compare(recipe, [built], "oci")

    def assert_healthy(self, digest: str) -> None:
        """podman sees the health check, and it ends well in a container that runs."""
        identity = self.others.run("podman", "pull", "--quiet", *self.access(), self.reference(digest))
        self.assertEqual(self.others.run("podman", "image", "inspect", "--format", "{{.HealthCheck.Test}}", identity), "[CMD /usr/bin/healthy]")
        options = [*LIMITS, "--network=host", "--entrypoint=/bin/sleep"]
        with mock.patch.dict(os.environ, DISABLE_HC_SYSTEMD="true"):  # no timer: we ask ourselves
            container = self.others.run("podman", "--runtime", "runc", "run", "--detach", *options, identity, "600").splitlines()[-1]
            try:
                self.others.run("podman", "--runtime", "runc", "healthcheck", "run", container)
                log = json.loads(self.others.run("podman", "container", "inspect", "--format", "{{json .State.Health}}", container))
            finally:
                self.others.run("podman", "--runtime", "runc", "rm", "--force", "--time=0", container)
        self.assertEqual((log["Status"], log["Log"][-1]["ExitCode"]), ("healthy", 0), log)


def undated(entries: dict[str, tuple]) -> dict[str, tuple]:
    """Without the times of what the build itself wrote."""
    hide = {path for path in entries if any(path == made or path.startswith(made + "/") for made in TODAY)}
    return {path: (*facts[:3], 0, *facts[4:]) if path in hide else facts for path, facts in entries.items()}


if __name__ == "__main__":
    unittest.main()
