"""Scriptlets, steps and spec files that take more than they may: each ends in one line that names the limit, and the next update works."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from tests.functional.gating.test_build import SPEC, tree
from tests.functional.isolation.left import sleeping
from tests.functional.updater.test_promises import LIB, LIB2
from tests.functional.updater.world import WorldCase, need
from topcoat.builder import Buildah, Builder
from topcoat.errors import ContentError
from topcoat.gating.rpmbuild import RpmBuild
from topcoat.gating.source import SourceTree
from topcoat.model import Base, ImageReference, Profile, Recipe, Step
from topcoat.process.bounds import Bounds
from topcoat.process.network import PrivateNetwork
from topcoat.transactions import Options, Transactions
from topcoat.yum.server import RepositoryServer

SCRIPTLET = "scriptlet postin of python3-lib"
PYTHON_BOMB = "x=x; while :; do x=$x$x; done"


class Limits(WorldCase):
    def refused(self, post: str, words: str, *, named: str = "postin", timeout: float = 120.0, **bounds: int) -> ContentError:
        """Update an image with a package that has this scriptlet; the error, whose one line holds the words."""
        base = self.world.base(f"limits/{self._testMethodName.replace('_', '-')}", [LIB])
        with self.assertRaises(ContentError) as caught:
            self.world.update(base, self.world.repository("current", [LIB2.bump(post=post)]), timeout=timeout, bounds=Bounds(**bounds))
        self.assertIn(words, str(caught.exception))
        self.assertIn(named, caught.exception.what)
        self.assertNotIn("\n", str(caught.exception))
        self.assertIn("in the log", caught.exception.next_step)
        self.assertTrue(self.world.update(base, self.world.repository("current", [LIB2])).layers, "the next one is not hurt")
        return caught.exception

    def test_an_endless_sleep(self) -> None:
        error = self.refused("sleep 3011", "took longer than 6 s and was ended", timeout=6)
        self.assertIn(SCRIPTLET, error.what)
        self.assertEqual(sleeping(3011), [])

    def test_a_loop_that_does_nothing_but_run(self) -> None:
        self.refused("while :; do :; done", "took longer than 6 s and was ended", timeout=6)

    def test_a_fork_bomb(self) -> None:
        self.refused("while :; do sleep 3012 & done", "needed more than the 64 processes that it may have", processes=64)
        self.assertEqual(sleeping(3012), [])

    def test_memory_in_one_process(self) -> None:
        self.refused(PYTHON_BOMB, SCRIPTLET, memory=256 << 20)

    def test_memory_in_many_processes(self) -> None:
        each = "for i in 1 2 3 4 5 6 7 8; do (x=$(busybox yes | busybox head -c 90000000); busybox sleep 30) & done; wait"
        self.refused(each, "needed more than the 256 MiB of memory that it may have", named="", memory=256 << 20)

    def test_one_file_without_end(self) -> None:
        self.refused("busybox cat /dev/zero >/usr/filler", "wrote more than the 64 MiB that it may", disk=64 << 20)

    def test_a_file_that_is_only_said_to_be_long(self) -> None:
        self.refused("busybox truncate -s 100G /usr/long", SCRIPTLET, disk=64 << 20)

    def test_many_files(self) -> None:
        post = "i=0; while :; do i=$((i+1)); busybox head -c 1000000 /dev/zero >/usr/filler-$i || exit 1; done"
        self.refused(post, "wrote more than the 64 MiB that it may", disk=64 << 20)

    def test_many_empty_files(self) -> None:
        post = "i=0; while :; do i=$((i+1)); : >/usr/empty-$i; done"
        self.refused(post, "made more than the 2000 files that it may", files=2000)


class Steps(WorldCase):
    """``run`` steps of a recipe, as buildah runs them."""

    @classmethod
    def setUpClass(cls) -> None:
        need("buildah")
        super().setUpClass()
        cls.base = cls.world.base("limits/base", [LIB])
        cls.snapshot = cls.world.snapshot(cls.world.repository("current", [LIB2]))
        cls.addClassCleanup(cls.snapshot.close)
        cls.network = PrivateNetwork()
        cls.addClassCleanup(cls.network.close)
        cls.server = RepositoryServer(cls.snapshot, cls.network)
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def build(self, line: str, *, timeout: float = 120.0, **bounds: int) -> str:
        """Build an image with this step; the log."""
        host, server = self.world.server.host, self.world.server
        log = self.world.path("build.log")
        profile = Profile("test", "demo", "9", "x86_64", Base(f"{host}/limits/base", self.base.digest), (), host, "demo")
        storage = Buildah(self.world.path("storage"), authfile=server.authfile, certificates=server.certificates, bounds=Bounds(**bounds))
        with Transactions(self.snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1) as transactions:
            parts = (self.world.store, transactions, storage, self.world.path("work"))
            builder = Builder(*parts, repo_file=self.server.repo_file(), release="9", network=self.network.path, timeout=timeout)
            builder.build(
                Recipe("image", "image", "infra", None, steps=(Step(line),)),
                profile=profile,
                parent=self.base.image,
                parent_reference=ImageReference(host, "limits/base", digest=self.base.digest),
                labels={},
                log=log,
            )
        return log.read_text()

    def refused(self, line: str, words: str, *, timeout: float = 120.0, **bounds: int) -> None:
        with self.assertRaises(ContentError) as caught:
            self.build(line, timeout=timeout, **bounds)
        said = str(caught.exception)
        self.assertIn(words, said)
        self.assertIn("buildah", said)
        self.assertNotIn("\n", said)

    def test_output_without_end_is_cut(self) -> None:
        log = self.build("busybox yes | busybox head -c 5000000", output=1 << 20)
        self.assertIn("[the rest of the output is left out]", log)
        self.assertLess(log.count("y\n"), 1 << 20)

    def test_an_endless_sleep(self) -> None:
        self.refused("sleep 3013", "took longer than 10 s and was ended", timeout=10)
        self.assertEqual(sleeping(3013), [])

    def test_a_fork_bomb(self) -> None:
        self.refused("while :; do sleep 3014 & done", "needed more than the 200 processes that it may have", processes=200)
        self.assertEqual(sleeping(3014), [])

    def test_memory(self) -> None:
        line = "for i in 1 2 3 4 5 6 7 8; do (x=$(busybox yes | busybox head -c 90000000); echo $x | busybox wc -c) & done; wait; exit 1"
        self.refused(line, "needed more than the 256 MiB of memory that it may have", memory=256 << 20)


class SpecFiles(unittest.TestCase):
    """Lines of a spec file, where it is read and where it is built."""

    def refused(self, spec: str, words: str, *, timeout: float = 60.0, **bounds: int) -> None:
        with tempfile.TemporaryDirectory() as name:
            build = RpmBuild(Path(name) / "top", log=Path(name) / "log", timeout=timeout, bounds=Bounds(**bounds))
            with self.assertRaises(ContentError) as caught:
                build.build(SourceTree.at(tree(Path(name) / "foo", spec)))
        self.assertIn(words, str(caught.exception))
        self.assertIn("rpmbuild", str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_an_endless_sleep(self) -> None:
        self.refused(SPEC.replace("%install\n", "%install\nsleep 3015\n"), "took longer than 5 s and was ended", timeout=5)
        self.assertEqual(sleeping(3015), [])

    def test_a_fork_bomb(self) -> None:
        bomb = SPEC.replace("%install\n", "%install\nwhile :; do sleep 3016 & done\n")
        self.refused(bomb, "needed more than the 100 processes that it may have", processes=100)
        self.assertEqual(sleeping(3016), [])

    def test_a_disk_filler(self) -> None:
        filler = SPEC.replace("%install\n", "%install\ni=0; while head -c 1000000 /dev/zero >filler-$((i+=1)); do :; done\n")
        self.refused(filler, "wrote more than the 64 MiB that it may", disk=64 << 20)

    def test_output_without_end_is_cut(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            log = Path(name) / "log"
            build = RpmBuild(Path(name) / "top", log=log, timeout=60, bounds=Bounds(output=1 << 20))
            built = build.build(SourceTree.at(tree(Path(name) / "foo", SPEC.replace("%install\n", "%install\nyes | head -c 5000000\n"))))
            self.assertEqual(len(built), 1)
            self.assertLess(log.stat().st_size, 3 << 20)  # the spec file is read by one program, and built by another
