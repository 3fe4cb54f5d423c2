"""Building: the Containerfile through buildah and directly from the host, compared member by member."""

import contextlib
import hashlib
import json
import subprocess
import tarfile
import time
import unittest
from dataclasses import replace
from pathlib import Path

from tests.functional.builder.case import BuildCase
from tests.functional.updater.world import WorldCase, digests, mounts_below, need, rpm
from topcoat.builder import Builder, DirectBuilder, refusal
from topcoat.builder.layer_and_image import finish
from topcoat.distgit import Commit, ExportOptions, ExportRepository, write_image
from topcoat.errors import ContentError, InfrastructureError
from topcoat.layers import BuiltImage, LayerStore
from topcoat.model import Base, CopyFile, ImageReference, Package, Profile, Recipe, Step
from topcoat.model.recipe import User
from topcoat.registry import image_manifest
from topcoat.rpm import inventory
from topcoat.transactions import Options, Transactions
from topcoat_demo.rpms import File, RpmSpec, Trigger, config, directory, script

LIB = RpmSpec(
    "python3-lib", "1.0", files=(directory("/usr/lib/lib"), File("/usr/lib/lib/a.py", "one\n"), File("/usr/share/doc/lib/README", "r", doc=True))
)
SERVICE = RpmSpec(
    "openstack-svc",
    "3.0",
    epoch=1,
    requires=("python3-lib",),
    recommends=("never-wanted",),
    files=(
        script("/usr/bin/svc", "echo svc 3.0"),
        config("/etc/svc/svc.conf", "[DEFAULT]\n", user="root", group="svc", mode=0o640),
        directory("/var/lib/svc", user="svc", group="svc", mode=0o750),
        directory("/run/svc", user="svc", group="svc"),
        File("/usr/bin/bind", "b", mode=0o755, caps="cap_net_bind_service=ep"),
        File("/usr/libexec/svc-1", "same", hardlink="g", mode=0o755),
        File("/usr/libexec/svc-2", "same", hardlink="g", mode=0o755),
    ),
    post="echo made > /var/lib/svc/made; mkdir -p /var/lib/svc/deep/er",
    triggers=(Trigger("triggerin", "python3-lib", "echo trigger > /var/lib/triggered"),),
)
NEVER = RpmSpec("never-wanted", "1", files=(File("/usr/lib/never", "n"),))
BAD = RpmSpec("bad-scriptlet", "1", post="exit 4")


def members(built: BuiltImage) -> dict[str, tuple]:
    """Everything about each member of the new layers; the bytes of the package database are compared by rpm instead."""
    found = {}
    for number, layer in enumerate(built.layers):
        with tarfile.open(layer.path) as archive:
            for member in archive:
                content = ""
                if member.isreg() and not member.name.endswith("/rpmdb.sqlite"):
                    content = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
                attributes = tuple(sorted(member.pax_headers.items()))
                entry = (number, member.type, oct(member.mode), member.uid, member.gid, int(member.mtime), member.linkname, content, attributes)
                found[member.name] = entry
    return found


class Ways(BuildCase):
    packages = (LIB, SERVICE, NEVER, BAD)

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        tree = cls.world.path("tree")
        (tree / "conf.d/sub").mkdir(parents=True)
        (tree / "conf.d/a.conf").write_text("a\n")
        (tree / "conf.d/sub/b.conf").write_text("b\n")
        (tree / "tool").write_text("#!/bin/sh\n")
        (tree / "tool").chmod(0o755)
        cls.recipe = Recipe(
            "svc",
            "svc",
            "openstack",
            None,
            description="A service",
            users=(User("svc", 42400, 42400, groups=("extra",)), User("extra", 42401, 42401, home="/var/lib/extra", shell="/bin/sh")),
            packages=(Package("openstack-svc"),),
            copies=(
                CopyFile(tree / "conf.d", "/etc/svc/conf.d"),
                CopyFile(tree / "tool", "/usr/local/bin/tool", mode=0o700, owner="svc:svc"),
                CopyFile(tree / "tool", "/var/run/new/place/"),
            ),
            environment=(("LANG", "C.UTF-8"), ("PATH", "/opt/bin:/usr/bin")),
            labels=(("org.example", "1"),),
            ports=("8774", "53/udp"),
            volumes=("/var/lib/svc",),
            workdir="/var/lib/work/here",
            entrypoint=("/usr/bin/svc",),
            command=("--help",),
            user="svc",
            stop_signal="SIGWINCH",
            healthcheck=("/usr/bin/true", "x"),
        )

    def assert_same_members(self, one: BuiltImage, two: BuiltImage) -> None:
        sides = members(one), members(two)
        different = {
            name: [side.get(name) for side in sides] for name in sides[0].keys() | sides[1].keys() if sides[0].get(name) != sides[1].get(name)
        }
        self.assertEqual(different, {})

    def test_both_ways_make_the_same_image(self) -> None:
        one, two = self.contained(self.recipe), self.direct(self.recipe)
        self.assertEqual((one.method, two.method), ("containerfile", "direct"))
        self.maxDiff = None
        self.assertEqual(one.image.config["config"], two.image.config["config"])
        self.assert_same_members(one, two)
        self.assertEqual(digests(one), digests(two), "even the package database is the same, where image and host have the same rpm")
        self.assertEqual(one.inventory.packages, two.inventory.packages)
        self.assertEqual(
            {key: value for key, value in one.image.config.items() if key != "rootfs"}, {k: v for k, v in two.image.config.items() if k != "rootfs"}
        )
        said = []
        for built in (one, two):
            digest = self.world.publish(built, "demo/svc", built.method, source="base/real")
            with self.world.tree("demo/svc", digest) as root:
                said.append((rpm(root, "-qa", "--qf", "%{nevra} %{installtime}\n"), rpm(root, "-V", "openstack-svc", "python3-lib")))
                self.assertNotIn("never-wanted", said[-1][0])
        self.assertEqual(said[0], said[1])

    def test_an_exported_tree_builds_the_same_image(self) -> None:
        """Exported, committed, cloned by someone with another umask, and built by buildah from what the clone holds."""
        exported, clone = self.world.path("exported"), self.world.path("clone")
        content = self.world.path("content")
        write_image(self.recipe, self.profile, ExportOptions("unused", required_labels=False, labels=(("l", "m"),)), content / "svc")
        ExportRepository(exported).commit_folders(content, Commit("export"))
        subprocess.run(["sh", "-c", 'umask 022; exec git clone -q "$1" "$2"', "sh", str(exported), str(clone)], check=True)
        # git keeps no times; a build system that wants equal layers sets them, as doc/source/user/life-of-a-tag.rst says
        subprocess.run(["find", str(clone / "svc"), "-depth", "-exec", "touch", "-h", "-d", "@315532800", "{}", "+"], check=True)
        given = {"volumes": [f"{self.builder._repositories}:/etc/yum.repos.d:ro"], "cache": (self.builder._cache, "var/cache/dnf")}
        stored = self.buildah.build(clone / "svc", timeout=600, host=self.world.server.host, **given)
        built = finish(
            self.world.store,
            self.transactions,
            self.recipe,
            upper=stored.upper,
            lower=stored.lower,
            runtime=stored.config["config"],
            parent=self.parent,
            parent_inventory=None,
            method="export",
            profile=self.profile,
            stages=[],
        )
        direct = self.direct(self.recipe)
        self.assertEqual((digests(direct), direct.image.config), (digests(built), built.image.config))
        self.assertEqual(image_manifest(direct.image), image_manifest(built.image))

    def test_two_clean_builds_have_one_digest(self) -> None:
        for way in ("contained", "direct"):
            with self.subTest(way):
                results = []
                for _ in range(2):
                    if way == "contained":
                        work = self.world.path("work")
                        with LayerStore(self.world.path("store")) as store:
                            builder = Builder(
                                store, self.transactions, self.storage(), work, repo_file=self.repo_file, release="9", network=self.network.path
                            )
                            built = self.contained(self.recipe, builder)
                    else:  # dnf's own caches are cold in the second run, warm in the first
                        with self.pool() if results else contextlib.nullcontext(self.transactions) as transactions:
                            built = self.direct(self.recipe, transactions=transactions)
                    results.append((digests(built), built.image.config))
                    time.sleep(1.1)
                self.assertEqual(results[0], results[1])

    def test_a_child_stands_on_its_parents_published_layers(self) -> None:
        parent = self.direct(replace(self.recipe, name="parent", packages=(Package("python3-lib"),), copies=(), volumes=(), user=None))
        digest = self.world.publish(parent, "demo/parent", source="base/real")
        _, image = self.world.client.image("demo/parent", digest)
        reference = ImageReference(self.world.server.host, "demo/parent", digest=digest)
        child = replace(self.recipe, name="child", parent="parent", users=(), copies=(), volumes=())
        known = parent.inventory
        one = self.contained(child, parent=image, parent_reference=reference, parent_inventory=known)
        two = self.direct(child, parent=image, repository="demo/parent", parent_inventory=known)
        for built in (one, two):
            self.assertEqual(built.image.layers[:-2], image.layers, "files, and the package database last")
            self.assertEqual([str(change) for change in built.changes], ["openstack-svc (none) -> 1:3.0-1.el9"])
        self.assert_same_members(one, two)

    def test_only_words_about_the_image_add_no_layer(self) -> None:
        plain = Recipe("plain", "svc", "openstack", None, environment=(("A", "1"),), entrypoint=("/usr/bin/true",))
        for built in (self.contained(plain), self.direct(plain)):
            self.assertEqual(built.layers, ())
            self.assertEqual(built.image.layers, self.parent.layers)
            self.assertEqual(built.image.config["config"]["Entrypoint"], ["/usr/bin/true"])
            self.assertIn("bash", {nevra.name for nevra in built.inventory.nevras})

    def test_steps_run_in_a_container_only(self) -> None:
        recipe = replace(self.recipe, steps=(Step("echo step > /etc/step; touch /var/cache/dnf/junk /tmp/junk"),))
        self.assertEqual(refusal(recipe, self.profile), "it has run steps")
        with self.assertRaises(ContentError):
            self.direct(recipe)
        names = members(self.contained(recipe))
        self.assertIn("etc/step", names)
        self.assertEqual([name for name in names if name.startswith(("var/cache/dnf/", "tmp/", "etc/yum.repos.d", "proc", "dev"))], [])

    def test_no_image_downloads_metadata(self) -> None:
        self.contained(replace(self.recipe, packages=(Package("python3-lib"),)))
        self.assertIn("Last metadata expiration check", self.log.read_text())

    def test_a_failing_step_says_why_and_leaves_no_container(self) -> None:
        recipe = replace(self.recipe, packages=(), users=(), copies=(), steps=(Step("echo the-reason >&2; exit 7"),))
        with self.assertRaises(ContentError) as caught:
            self.contained(recipe)
        self.assertIn("RUN failed: the-reason", str(caught.exception))
        self.assertLess(len(str(caught.exception)), 400)
        self.assertEqual(self.buildah.clean(), 0)

    def test_a_missing_package_is_the_recipes_fault_in_both_ways(self) -> None:
        recipe = replace(self.recipe, packages=(Package("openstack-nowhere"),))
        for way in (self.contained, self.direct):
            with self.assertRaises(ContentError) as caught:
                way(recipe)
            self.assertIn("openstack-nowhere", str(caught.exception))

    def test_a_failing_scriptlet_fails_the_direct_build(self) -> None:
        bad = self.world.snapshot(self.world.repository("bad", [LIB.bump(post="exit 4")]))
        recipe = replace(self.recipe, packages=(Package("python3-lib"),))
        with Transactions(bad, self.world.path("dnf"), options=Options(release="9"), workers=1) as transactions, self.assertRaises(ContentError):
            DirectBuilder(self.world.store, transactions).build(
                recipe, profile=self.profile, parent=self.parent, client=self.world.client, repository="base/real", labels={}
            )

    def test_a_failing_scriptlet_fails_the_build_in_a_container(self) -> None:
        """dnf says "Complete!" and ends with 0."""
        with self.assertRaises(ContentError) as caught:
            self.contained(replace(self.recipe, packages=(Package("bad-scriptlet"),), users=(), copies=()))
        self.assertIn("%post(bad-scriptlet-1-1.el9.noarch) scriptlet failed, exit status 4", str(caught.exception))

    def test_a_parent_that_is_not_there_is_infrastructure(self) -> None:
        missing = ImageReference(self.world.server.host, "base/real", digest="sha256:" + "0" * 64)
        with self.assertRaises(InfrastructureError):
            self.contained(self.recipe, parent_reference=missing)

    def test_a_timeout_leaves_no_container_and_no_mount(self) -> None:
        storage = self.storage()
        work = self.world.path("work")
        builder = Builder(
            self.world.store, self.transactions, storage, work, repo_file=self.repo_file, release="9", network=self.network.path, timeout=20
        )
        with self.assertRaises(ContentError):
            self.contained(replace(self.recipe, packages=(), steps=(Step("sleep 333"),)), builder)
        storage.clean()
        self.assertEqual(mounts_below(storage._root), [])
        listed = storage._root / "overlay-containers/containers.json"
        self.assertEqual(json.loads(listed.read_text()) if listed.exists() else [], [])
        alive = [path for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists() and b"sleep\x00333" in path.read_bytes()]
        self.assertEqual(alive, [])

    def test_the_published_image_runs(self) -> None:
        need("podman", "runc")
        digest = self.world.publish(self.direct(replace(self.recipe, user=None, command=None)), "demo/run", source="base/real")
        storage = self.world.path("podman")
        base = ["podman", "--root", storage / "root", "--runroot", storage / "run", "--storage-driver", "overlay", "--runtime", "runc"]
        options = ["--rm", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--network=host", "--authfile", self.world.server.authfile]
        access = ["--cert-dir", self.world.server.certificates]
        reference = f"{self.world.server.host}/demo/run@{digest}"
        subprocess.run([*base, "pull", "-q", "--authfile", self.world.server.authfile, *access, reference], check=True, capture_output=True)
        done = subprocess.run([*base, "run", *options, reference], capture_output=True, text=True, check=False)
        asked = subprocess.run(
            [*base, "run", *options, "--entrypoint", "rpm", reference, "-q", "openstack-svc"], capture_output=True, text=True, check=False
        )
        subprocess.run([*base, "rmi", "-f", reference], check=False, capture_output=True)
        self.assertEqual((done.stdout, asked.stdout), ("svc 3.0\n", "openstack-svc-3.0-1.el9.noarch\n"), done.stderr + asked.stderr)


class Tiny(WorldCase):
    def test_a_base_without_package_manager_is_built_from_the_host(self) -> None:
        base = self.world.base("tiny/base", [])
        repository = self.world.repository("current", [LIB, SERVICE])
        profile = Profile("t", "demo", "9", "x86_64", Base("x/y"), (repository,), "x", "y")
        recipe = Recipe("t", "t", "openstack", None, users=(User("svc", 42400, 42400),), packages=(Package("openstack-svc"),), user="svc")
        with Transactions(self.world.snapshot(repository), self.world.path("dnf"), options=Options(release="9"), workers=1) as transactions:
            builder = DirectBuilder(self.world.store, transactions)
            built = builder.build(recipe, profile=profile, parent=base.image, client=self.world.client, repository="tiny/base", labels={})
        with self.world.tree("tiny/base", self.world.publish(built, "tiny/base")) as root:
            self.assertEqual(rpm(root, "-V", "openstack-svc", "python3-lib"), "")
            self.assertEqual((root / "var/lib/svc").stat().st_uid, 42400)
            self.assertEqual(inventory.from_root(root).nevras, built.inventory.nevras)


if __name__ == "__main__":
    unittest.main()
