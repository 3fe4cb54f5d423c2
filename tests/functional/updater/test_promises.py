"""The promises of an update: the plan and nothing else, the same bytes again, nothing left behind however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
import unittest
from dataclasses import replace
from pathlib import Path

from tests.functional.updater.world import WorldCase, digests, mounts_below, without_change
from topcoat.builder import Updater
from topcoat.errors import ContentError
from topcoat.layers import LayerStore
from topcoat.model import Nevra, PackageChange
from topcoat.transactions import Options, Transactions
from topcoat_demo.rpms import File, RpmSpec, Trigger, directory, script

LIB = RpmSpec("python3-lib", "1.0", files=(directory("/usr/lib/lib"), File("/usr/lib/lib/a.py", "one\n")))
LIB2 = LIB.bump(version="2.0", files=(directory("/usr/lib/lib"), File("/usr/lib/lib/a.py", "two\n")))
OTHER = RpmSpec("python3-other", "1.0", files=(File("/usr/lib/other.py", "one\n"),))
OTHER2 = OTHER.bump(version="2.0", files=(File("/usr/lib/other.py", "two\n"),))


def state_of(directory: Path) -> dict[str, tuple]:
    """Everything about a tree that a write would change."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(directory))] = (
            status.st_mode,
            status.st_uid,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
        )
    return found


class Promise(WorldCase):
    def refused(self, base, line, *repositories) -> str:
        with self.assertRaises(ContentError) as caught:
            self.world.update(base, *repositories, line=line)
        self.assertIn("the plan is a promise", str(caught.exception))
        self.world.store.wait_swept()
        self.assertEqual(list((self.world.store.directory / "mounts").iterdir()), [])
        return str(caught.exception)

    def test_dnf_would_change_more_than_the_plan(self) -> None:
        base = self.world.base("promise/more", [LIB, OTHER])
        current = self.world.repository("current", [LIB2.bump(post="touch /var/lib/ran"), OTHER2])
        line, _ = self.world.plan(base, self.world.snapshot(current))
        self.assertEqual(len(line.changes), 2)
        text = self.refused(base, without_change(line, "python3-other"), current)
        self.assertIn("would install python3-other-0:2.0-1.el9.noarch, which the plan does not name", text)

    def test_rpm_takes_one_architecture_for_the_other(self) -> None:
        """Two builds of one name without a file that belongs to an architecture: dnf means to update one, rpm removes the other with it."""
        old, new = (RpmSpec("texts", version, arch="x86_64", files=(File("/opt/texts", version),)) for version in ("1", "2"))
        other = RpmSpec("texts", "2", arch="i686", files=(File("/opt/other", "2"),))
        base = self.world.base("promise/colour", [old, other])
        current = self.world.repository("current", [new])
        with self.assertRaises(ContentError) as caught:
            self.world.update(base, current)
        self.assertIn("another architecture's build for the newer one of texts-0:2-1.el9.i686", str(caught.exception))
        self.assertIn("built in one version", str(caught.exception))

    def test_dnf_would_change_less_than_the_plan(self) -> None:
        base = self.world.base("promise/less", [LIB, OTHER])
        line, _ = self.world.plan(base, self.world.snapshot(self.world.repository("current", [LIB2, OTHER2])))
        text = self.refused(base, line, self.world.repository("current", [LIB2]))
        self.assertIn("would not install python3-other-0:2.0-1.el9.noarch", text)

    def test_the_database_shows_another_change_afterwards(self) -> None:
        base = self.world.base("promise/after", [LIB, OTHER])
        current = self.world.repository("current", [LIB2])
        # The image is not the one that the plan was made for: dnf does what the plan says, but the plan says "from 0.9".
        line, _ = self.world.plan(base, self.world.snapshot(current))
        wrong = PackageChange(Nevra("python3-lib", 0, "0.9", "1.el9", "noarch"), line.changes[0].new, "current")
        self.refused(base, replace(line, changes=(wrong,)), current)

    def test_same_inputs_same_digest_in_clean_stores_at_another_time(self) -> None:
        watcher = RpmSpec("watcher", "1", triggers=(Trigger("triggerin", "python3-lib", "echo in > /var/lib/triggerin"),))
        base = self.world.base("promise/same", [LIB, OTHER, watcher])
        current = self.world.repository("current", [LIB2.bump(post="mkdir -p /var/lib/made; echo x > /var/lib/made/file"), OTHER2])
        results = []
        for _ in range(2):
            with LayerStore(self.world.path("clean")) as store:
                built = self.world.update(base, current, store=store)
                results.append((digests(built), built.image.config, built.inventory.key, built.inventory.solv_gz))
                time.sleep(1.1)  # file times have seconds
        self.assertEqual(results[0], results[1])

    def test_layers_below_stay_untouched(self) -> None:
        base = self.world.base("promise/below", [LIB, OTHER])
        lower = self.world.store.ensure(self.world.client, base.repository, base.image)
        before = [state_of(path) for path in lower]
        self.world.update(base, self.world.repository("current", [LIB2, OTHER2]))
        self.assertEqual([state_of(path) for path in lower], before)

    def test_an_update_of_an_updated_image_goes_on_the_image_below(self) -> None:
        base = self.world.base("promise/again", [LIB, OTHER])
        first = self.world.update(base, self.world.repository("current", [LIB2]))
        self.world.publish(first, base.repository)
        second = self.world.update(base, self.world.repository("current", [LIB2, OTHER2]))
        self.assertEqual(len(second.image.layers), len(base.image.layers) + 2, "files and package database")
        self.assertEqual({change.name for change in second.changes}, {"python3-lib", "python3-other"})


class Ends(WorldCase):
    def slow(self, name: str):
        """An image and a repository whose update waits in a scriptlet, which leaves a mark that it is there."""
        base = self.world.base(name, [LIB])
        return base, self.world.repository("current", [LIB2.bump(post="echo waiting; sleep 300")])

    def test_a_timeout_ends_scriptlet_worker_and_mounts(self) -> None:
        base, current = self.slow("ends/timeout")
        with self.assertRaises(ContentError) as caught:
            self.world.update(base, current, timeout=8.0)
        self.assertIn("scriptlet postin of python3-lib-2.0-1.el9.noarch took longer than 8 s", str(caught.exception))
        self.assertIn("waiting", self.world.log.read_text())
        self.assertEqual(sleepers(), [])
        self.assertEqual(mounts_below(self.world.directory), [])
        self.world.store.wait_swept()
        self.assertEqual(list((self.world.store.directory / "mounts").iterdir()), [])

    def test_a_worker_is_used_again_after_an_error_and_started_anew_after_a_timeout(self) -> None:
        base, _ = self.slow("ends/again")
        good = self.world.repository("good", [LIB2])
        snapshot = self.world.snapshot(good)
        line, request = self.world.plan(base, snapshot)
        with Transactions(snapshot, self.world.path("dnf"), options=Options(release="9"), workers=1, timeout=60) as transactions:
            updater = Updater(self.world.store, transactions)
            arguments = {"base_digest": base.digest, "client": self.world.client, "repository": base.repository}
            wrong = replace(line, changes=())
            with self.assertRaises(ContentError):
                updater.update(wrong, base.image, request=request, **arguments)
            first = updater.update(line, base.image, request=request, **arguments)
            child = transactions._workers[0][1]._child
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            second = updater.update(line, base.image, request=request, **arguments)
        self.assertEqual(digests(first), digests(second))

    def test_kill_9_in_the_middle_then_run_again(self) -> None:
        base, current = self.slow("ends/killed")
        program = textwrap.dedent(
            f"""
            import sys
            from pathlib import Path
            from topcoat.layers import LayerStore
            from topcoat.model import PlannedImage, Reason, Repository
            from topcoat.registry.registries import Registries
            from topcoat.rpm import inventory
            from topcoat.yum.repositories import freeze
            from topcoat.solver.solver import UpdateSolver
            from topcoat.transactions import Options, Transactions
            from topcoat.builder import Updater
            work = Path({str(self.world.directory / "killed")!r})
            registries = Registries(authfile=Path({str(self.world.server.authfile)!r}), ca_file=Path({str(self.world.server.ca_file)!r}))
            client = registries.client({self.world.server.host!r})
            manifest, image = client.image("ends/killed", {base.digest!r})
            store = LayerStore(work / "store")
            snapshot = freeze([Repository("current", {current.baseurl!r})], work / "frozen")
            solver = UpdateSolver(snapshot, arch="x86_64")
            lower = store.ensure(client, "ends/killed", image)
            found = inventory.from_root(lower[0])
            line = PlannedImage("ends/killed", Reason.RPM_UPGRADE, "", None, "", manifest.digest, solver.changes(found), manifest.digest)
            with Transactions(snapshot, work / "dnf", options=Options(release="9"), workers=1) as transactions:
                Updater(store, transactions).update(line, image, base_digest=manifest.digest, client=client, repository="ends/killed",
                                                    log=work / "log")
            """
        )
        log = self.world.directory / "killed" / "log"
        child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
        try:
            wait_for(lambda: log.exists() and "waiting" in log.read_text())
        finally:
            child.kill()
            child.wait()
        wait_for(lambda: sleepers() == [])
        self.assertEqual(mounts_below(self.world.directory), [])
        left = list((self.world.directory / "killed/store/mounts").iterdir())
        self.assertTrue(left, "the kill came too late to prove anything")
        with LayerStore(self.world.directory / "killed/store") as store:
            self.assertEqual(list((store.directory / "mounts").iterdir()), [])
            built = self.world.update(base, self.world.repository("current", [LIB2]), store=store)
        with LayerStore(self.world.path("clean")) as store:
            self.assertEqual(digests(self.world.update(base, self.world.repository("current", [LIB2]), store=store)), digests(built))

    def test_a_daemon_that_a_scriptlet_starts_does_not_outlive_the_worker(self) -> None:
        base = self.world.base("ends/daemon", [LIB])
        current = self.world.repository(
            "current", [LIB2.bump(files=(*LIB2.files, script("/usr/bin/daemon", "sleep 300 &")), post="/usr/bin/daemon >/dev/null 2>&1")]
        )
        built = self.world.update(base, current)
        self.assertTrue(built.layers)
        wait_for(lambda: sleepers() == [])


def sleepers() -> list[str]:
    """Processes that our scriptlets started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == b"sleep\x00300\x00":
                found.append(path.parent.name)
    return found


def wait_for(condition) -> None:
    """Until it holds; a minute at most."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("did not come true within a minute")


if __name__ == "__main__":
    unittest.main()
