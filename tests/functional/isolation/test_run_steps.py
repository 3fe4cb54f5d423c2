"""``run`` steps of an unreviewed recipe that try to leave their build: real builds by buildah."""

import base64
import os
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest.mock
from pathlib import Path

from tests.functional.isolation.left import sleeping
from tests.functional.updater.test_promises import LIB, LIB2
from tests.functional.updater.world import WorldCase, need
from topcoat.builder import Buildah, Builder
from topcoat.errors import ContentError
from topcoat.model import Base, ImageReference, Profile, Recipe, Step
from topcoat.process.network import PrivateNetwork
from topcoat.transactions import Options, Transactions
from topcoat.yum.server import RepositoryServer
from topcoat_demo.rpms import File

SECRET = "correct horse battery staple"
RIGHTS = "00000000800005fb"  # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SETFCAP


def _keyring_asker() -> str:
    """A program (ELF, x86-64) that asks for the number of its keyring and ends with 0 when it is told: a call that needs no right, only no filter."""
    code = bytes.fromhex("b8fa00000031ffbe fdffffff31d20f05c1e81f89c7b83c0000000f05")
    start = 0x400078
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 0x1000)
    return base64.b64encode(header + segment + code).decode()


class RunSteps(WorldCase):
    @classmethod
    def setUpClass(cls) -> None:
        need("buildah")
        super().setUpClass()
        cls.base = cls.world.base("isolation/base", [LIB])
        repository = cls.world.repository("current", [LIB2])
        snapshot = cls.world.snapshot(repository)
        cls.addClassCleanup(snapshot.close)
        network = PrivateNetwork()
        cls.addClassCleanup(network.close)
        cls.server = RepositoryServer(snapshot, network)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.transactions = Transactions(snapshot, cls.world.path("dnf"), options=Options(release="9"), workers=1)
        cls.addClassCleanup(cls.transactions.close)
        host = cls.world.server.host
        cls.profile = Profile("test", "demo", "9", "x86_64", Base(f"{host}/isolation/base", cls.base.digest), (repository,), host, "demo")
        cls.storage = Buildah(cls.world.path("storage"), authfile=cls.world.server.authfile, certificates=cls.world.server.certificates)
        words = (cls.world.store, cls.transactions, cls.storage, cls.world.path("work"))
        cls.builder = Builder(*words, repo_file=cls.server.repo_file(), release="9", network=network.path)

    def build(self, *lines: str, network: bool = False) -> str:
        """Build a recipe with these steps, each of which may fail; the log of the build."""
        log = self.world.path("build.log")
        self.builder.build(
            Recipe("image", "image", "infra", None, steps=tuple(Step(f"{{ {line} ; }} || true", network=network) for line in lines)),
            profile=self.profile,
            parent=self.base.image,
            parent_reference=ImageReference(self.world.server.host, "isolation/base", digest=self.base.digest),
            labels={},
            log=log,
        )
        return log.read_text()

    def test_the_rights_are_few_and_the_root_is_not_left(self) -> None:
        log = self.build(
            "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status",
            "exec 3</; busybox chroot /proc /$$/root/usr/bin/busybox sh -c 'cd -P /self/fd/3; cd -P ../../../..; ls' && echo out",
            "mkdir -p /cell; busybox chroot /cell /bin/sh && echo out",
            "busybox mount -t tmpfs none /mnt && echo out",
            "busybox unshare -U true && echo out; busybox unshare -m true && echo out",
            "busybox mount -o remount,rw /proc/sys && echo out; echo x >/proc/sysrq-trigger && echo out",
            "ls /proc/1/root/ && echo out; ls -l /proc/1/cwd/ && echo out",
            # A user namespace is refused by the kernel too, in a chroot, in which some versions of buildah start steps: this is the filter's alone.
            f"echo {_keyring_asker()} | busybox base64 -d >/ask; chmod 755 /ask; /ask && echo out; echo asked $?",
        )
        self.assertIn("\nasked 1\n", log)
        self.assertIn(f"CapEff:\t{RIGHTS}", log)
        self.assertIn(f"CapBnd:\t{RIGHTS}", log)
        self.assertIn("Seccomp:\t2", log)
        self.assertIn("chroot: can't change root directory", log)
        self.assertNotIn("\nout\n", log)

    def test_devices_of_the_machine_are_out_of_reach(self) -> None:
        device = os.stat("/").st_dev
        places = ("/disk", "/dev/disk", "/tmp/disk", "/var/cache/dnf/disk", "/etc/yum.repos.d/disk")
        log = self.build(
            *(f"busybox mknod {place} b {os.major(device)} {os.minor(device)} && head -c 512 {place} && echo out" for place in places),
            "busybox mount; ls -l /dev",
        )
        self.assertNotIn("\nout\n", log)
        self.assertNotIn("\nbrw", log)

    def test_passwords_and_other_images_are_not_there(self) -> None:
        with tempfile.TemporaryDirectory(prefix="topcoat-home-", dir="/var/tmp") as home:
            secret = Path(home, ".docker", "config.json")
            secret.parent.mkdir()
            secret.write_text(SECRET)
            with unittest.mock.patch.dict(os.environ, {"REGISTRY_AUTH_FILE": str(secret), "TOPCOAT_SECRET": SECRET}):
                log = self.build(
                    f"cat {secret}; cat {self.world.server.authfile}; cat $REGISTRY_AUTH_FILE </dev/null",
                    "for p in /proc/[0-9]*; do cat $p/environ; echo; cat $p/cmdline; echo; ls -l $p/root/ $p/fd; done; echo looked",
                )
        self.assertIn("looked", log)
        for word in (SECRET, str(secret) + "\n", "TOPCOAT_SECRET=", "REGISTRY_AUTH_FILE=", "--authfile"):
            self.assertNotIn(word, log.replace(f"can't open '{secret}'", ""))

    def test_processes_of_the_machine_cannot_be_seen_or_ended(self) -> None:
        outsider = subprocess.Popen(["sleep", "301"])
        try:
            log = self.build(f"kill -9 {outsider.pid} && echo out", "cat /proc/[0-9]*/cmdline")
            with self.assertRaises(ContentError):
                self.build("kill -9 -1")
            self.assertNotIn("\nout\n", log)
            self.assertNotIn("sleep\x00301", log)
            self.assertIsNone(outsider.poll())
        finally:
            outsider.kill()
            outsider.wait()

    def test_what_it_leaves_running_ends_with_its_build(self) -> None:
        self.build("busybox setsid sleep 3001 >/dev/null 2>&1 & true")
        self.assertEqual(sleeping(3001), [])

    def test_the_frozen_repositories_are_the_whole_network_unless_the_recipe_asks(self) -> None:
        reached = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind(f"\0topcoat-run-{os.getpid()}")
            abstract.listen()

            def serve() -> None:
                while True:
                    try:
                        server.accept()[0].close()
                    except OSError:
                        return
                    reached.set()

            threading.Thread(target=serve, daemon=True).start()
            lines = (
                f"busybox wget -q -O - {self.server.url('current')}repodata/repomd.xml | grep -q revision && echo repositories",
                f"busybox nc -w 3 127.0.0.1 {server.getsockname()[1]} </dev/null; echo tried",
                "cat /proc/net/unix",
            )
            closed = self.build(*lines)
            self.assertIn("\nrepositories\n", closed)
            self.assertIn("tried", closed)
            self.assertNotIn(f"topcoat-run-{os.getpid()}", closed)
            self.assertFalse(reached.is_set())
            opened = self.build(*lines, network=True)
            self.assertIn("\nrepositories\n", opened)
            self.assertTrue(reached.wait(5))
            server.shutdown(socket.SHUT_RDWR)


class Folders(WorldCase):
    def test_nobody_runs_an_image_s_set_user_id_file_on_the_machine(self) -> None:
        """While a transaction runs, and afterwards in buildah's storage: what an account without rights can reach of images."""
        setuid = File("/usr/bin/rise", Path("/usr/bin/id"), mode=0o4755)
        base = self.world.base("isolation/setuid", [LIB.bump(files=(*LIB.files, setuid))])
        changed = LIB2.bump(files=(*LIB2.files, setuid), post="echo waiting; busybox sleep 5")
        self.world.directory.chmod(0o755)
        found: list[str] = []
        look = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "find", self.world.store.directory, "-name", "rise"]

        def watch() -> None:
            log = self.world.directory
            for _ in range(600):
                if any("waiting" in path.read_text(errors="replace") for path in log.glob("*-update.log")):
                    found.append(subprocess.run(list(map(str, look)), capture_output=True, text=True, check=False).stdout)
                    return
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        self.world.update(base, self.world.repository("current", [changed]))
        watcher.join()
        self.assertEqual(found, [""])
        self.assertTrue(list((self.world.store.directory / "layers").rglob("rise")), "root sees it: the search is right")
        storage = self.world.path("storage")
        Buildah(storage)
        self.assertEqual(storage.stat().st_mode & 0o077, 0)
