"""Scriptlets of a package under test that try to leave their image: real packages, the whole way of an update."""

import contextlib
import os
import socket
import tempfile
import threading
import unittest.mock
from pathlib import Path

from tests.functional.isolation.left import sleeping
from tests.functional.updater.test_promises import LIB, LIB2
from tests.functional.updater.world import WorldCase
from topcoat.builder import Updater
from topcoat.errors import ContentError, TopcoatError
from topcoat.transactions import Options, Transactions
from topcoat_demo.rpms import Trigger

SECRET = "correct horse battery staple"
# Out of the image's root with the tools of a busybox: a descriptor of its root is kept while the root becomes /proc, which does not hold it.
ESCAPE = (
    "exec 3</; busybox chroot /proc /$$/root/usr/bin/busybox sh -c '"
    "cd -P /self/fd/3 && for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cd -P ..; done; %s'"
)


class Scriptlets(WorldCase):
    def run_as(self, kind: str, body: str, **more: object) -> str:
        """Update an image with a package that has this scriptlet; returns the log."""
        base = self.world.base(f"isolation/{self._testMethodName.replace('_', '-')}", [LIB])
        changed = LIB2.bump(**{kind: body}, **more)
        with contextlib.suppress(ContentError):
            self.world.update(base, self.world.repository("current", [changed]))
        return self.world.log.read_text()

    def planted(self) -> Path:
        """A secret of the machine, where registries' passwords lie."""
        holder = tempfile.TemporaryDirectory(prefix="topcoat-home-", dir="/var/tmp")
        self.addCleanup(holder.cleanup)
        path = Path(holder.name) / ".docker" / "config.json"
        path.parent.mkdir()
        path.write_text(SECRET)
        self.enterContext(unittest.mock.patch.dict(os.environ, {"REGISTRY_AUTH_FILE": str(path), "HOME": holder.name}))
        return path

    def test_out_of_the_image_there_is_no_machine(self) -> None:
        secret = self.planted()
        inner = f"echo escaped; ls; cat .{secret}; cat ./root/.docker/config.json; ls ./sys ./run ./home; touch ./planted ./usr/planted"
        for kind in ("pre", "post", "preun", "postun", "posttrans"):
            with self.subTest(kind):
                base = self.world.base(f"isolation/out-{kind}", [LIB.bump(**{kind: ESCAPE % inner}) if kind.endswith("un") else LIB])
                changed = LIB2 if kind.endswith("un") else LIB2.bump(**{kind: ESCAPE % inner})
                with contextlib.suppress(ContentError):
                    self.world.update(base, self.world.repository("current", [changed]))
                log = self.world.log.read_text()
                self.assertIn("escaped", log)
                self.assertIn("ld.so.cache" if "ld.so.cache" in log else "usr", log)
                self.assertNotIn(SECRET, log)
                for name in ("sys", "run", "home"):
                    self.assertIn(f"{name}: No such file or directory", log)
                self.assertIn("planted: Read-only file system", log)
        self.assertFalse(Path("/planted").exists() or Path("/usr/planted").exists())

    def test_a_trigger_is_held_like_a_scriptlet(self) -> None:
        trigger = Trigger("triggerin", "python3-lib", ESCAPE % "echo escaped; ls ./sys")
        self.assertIn("sys: No such file or directory", self.run_as("triggers", (trigger,)))

    def test_neither_environment_nor_descriptors_hold_anything(self) -> None:
        secret = self.planted()
        log = self.run_as("post", "cat /proc/self/environ /proc/1/environ; ls -l /proc/self/fd /proc/1/fd; cat $REGISTRY_AUTH_FILE </dev/null")
        self.assertNotIn("REGISTRY_AUTH_FILE=", log)
        self.assertNotIn(str(secret), log)
        self.assertNotIn(SECRET, log)
        self.assertIn("/proc/1/fd/0: cannot read link: Permission denied", log)

    def test_the_machine_s_disk_and_server_are_out_of_reach(self) -> None:
        answered = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        server.accept()[0].close()
                        answered.set()

            threading.Thread(target=serve, daemon=True).start()
            major, minor = os.major(os.stat("/").st_dev), os.minor(os.stat("/").st_dev)
            log = self.run_as(
                "post",
                f"busybox mknod /usr/disk b {major} {minor}; busybox head -c 4096 /usr/disk && echo read; "
                f"echo x | busybox nc -w 2 127.0.0.1 {server.getsockname()[1]} && echo connected; "
                "busybox mount -t tmpfs none /usr/share && echo mounted; busybox unshare -U true && echo unshared; "
                "busybox mount -o remount,rw /proc && echo remounted",
            )
        self.assertIn("/usr/disk: Permission denied", log)
        for word in ("read\n", "connected", "\nmounted", "unshared", "remounted"):
            self.assertNotIn(word, log)
        self.assertFalse(answered.is_set())

    def test_what_it_leaves_running_ends_with_its_transaction(self) -> None:
        base = self.world.base("isolation/behind", [LIB])
        snapshot = self.world.snapshot(self.world.repository("current", [LIB2.bump(post="busybox setsid sleep 3002 >/dev/null 2>&1 &")]))
        line, request = self.world.plan(base, snapshot)
        with Transactions(snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1, timeout=60) as transactions:
            updater = Updater(self.world.store, transactions)
            built = updater.update(line, base.image, base_digest=base.digest, client=self.world.client, repository=base.repository, request=request)
            self.assertTrue(built.layers)
            self.assertEqual(sleeping(3002), [])

    def test_a_fork_bomb_ends_and_the_next_update_works(self) -> None:
        base = self.world.base("isolation/bomb", [LIB])
        bomb = LIB2.bump(post="while :; do sleep 3003 & done")
        with self.assertRaises(TopcoatError):
            self.world.update(base, self.world.repository("current", [bomb]), timeout=60)
        self.assertEqual(sleeping(3003), [])
        self.assertTrue(self.world.update(base, self.world.repository("current", [LIB2])).layers)

    def test_layers_below_and_other_images_are_not_there_to_be_written(self) -> None:
        base = self.world.base("isolation/below", [LIB])
        store = os.fspath(self.world.store.directory)
        inner = f"ls .{store}; ls .{store}/layers; ls .{store}/mounts"
        with contextlib.suppress(ContentError):
            self.world.update(base, self.world.repository("current", [LIB2.bump(post=ESCAPE % inner)]))
        log = self.world.log.read_text()
        self.assertIn("layers: No such file or directory", log)
        listed = log.partition("layers: No such file")[2].split()
        self.assertEqual(len([word for word in listed if word.startswith("w-")]), 1, log)

    def test_what_it_does_to_the_metadata_cache_no_other_image_sees(self) -> None:
        base, other = self.world.base("isolation/cache", [LIB]), self.world.base("isolation/cache-other", [LIB])
        store = os.fspath(self.world.store.directory)
        look = f'for f in $(find .{store} -name "*.solv"); do echo spoilt >$f && echo spoilt-it; done'
        spoil = ESCAPE % look
        snapshot = self.world.snapshot(self.world.repository("current", [LIB2.bump(post=spoil)]))
        log = self.world.path("update.log")
        with Transactions(snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1, timeout=60) as transactions:
            updater = Updater(self.world.store, transactions)
            for image in (base, other):
                line, request = self.world.plan(image, snapshot)
                built = updater.update(
                    line, image.image, base_digest=image.digest, client=self.world.client, repository=image.repository, request=request, log=log
                )
                self.assertTrue(built.layers)
        self.assertIn("spoilt-it", log.read_text())
        for path in self.world.directory.glob("*-dnf/**/*.solv"):
            self.assertNotEqual(path.read_bytes(), b"spoilt\n")

    def test_output_without_end_is_cut(self) -> None:
        log = self.run_as("post", "busybox yes | busybox head -c 100000000")
        self.assertIn("[the rest of the output is left out]", log)
        self.assertLess(len(log), 80 << 20)
