"""Sources of a job: from a recording bit for bit, from change URLs as Zuul would order and merge them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import unittest
from pathlib import Path

from tests.functional.reproduce.world import IDENTITY, World, git
from tests.functional.roles.inventories import HOST
from tests.unit.report import fixtures
from topcoat.errors import ContentError, UsageError
from topcoat.report import receipt_to_dict
from topcoat.reproduce.recorded import Committer
from topcoat.reproduce.run import ReproduceOptions, reproduce

OSLO, NOVA = "openstack/oslo.config", "openstack/nova"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="topcoat-reproduce-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.world = World(self.folder)
        self.addCleanup(self.world.close)
        for name in (OSLO, NOVA):
            self.world.project(name, {"file": f"{name}\n", "other": "1\n"})
        self.said = []

    def reproduce(self, *words, until="sources", **more):
        options = ReproduceOptions(
            work=self.folder / "work", until=until, git={HOST: (self.folder / "git").as_uri()},
            canonical={self.world.base.removeprefix("http://"): HOST},
            identities=(Committer(*IDENTITY),), **more,
        )  # fmt: skip
        return reproduce(words, options, say=self.said.append)

    def record(self, text, receipt=None):
        path = self.folder / "logs" / "zuul-info" / "inventory.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if receipt:
            beside = self.folder / "logs" / "container-images" / "controller" / "receipt.json"
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(receipt_to_dict(receipt)))
        return str(path)


class FromRecording(Case):
    def two_changes(self):
        self.world.change(OSLO, "101", {"file": "oslo changed\n"}, "Change oslo")
        self.world.change(NOVA, "205", {"file": "nova changed\n"}, f"Change nova\n\nDepends-On: {self.world.url(OSLO, '101')}")
        for name in (OSLO, NOVA):
            self.world.advance(name, {"other": "2\n"})

    def test_the_merges_of_the_recorded_zuul_are_found_again(self):
        self.two_changes()
        commits = {name: self.world.zuul_merge(name, number, seconds=1795000900) for name, number in ((OSLO, "101"), (NOVA, "205"))}
        for name in (OSLO, NOVA):  # and the branches have moved on since
            self.world.advance(name, {"other": "3\n"})
        outcome = self.reproduce(self.record(self.world.inventory([(OSLO, "101"), (NOVA, "205")], commits)))
        self.assertEqual(commits, {checkout.canonical_name.removeprefix(f"{HOST}/"): checkout.commit for checkout in outcome.checkouts})
        self.assertEqual(["", ""], [checkout.note for checkout in outcome.checkouts])
        nova = self.folder / "work" / "node" / "src" / HOST / NOVA
        self.assertEqual(("nova changed\n", "2\n"), ((nova / "file").read_text(), (nova / "other").read_text()))
        self.assertEqual("master", git(nova, "branch", "--show-current"))
        self.assertEqual(["101", "205"], [item["change"] for item in outcome.items])

    def test_a_time_in_the_receipt_is_enough_for_late_jobs(self):
        self.two_changes()
        seconds = 1795000900 + 90 * 86400  # far beyond what is searched second by second
        commit = self.world.zuul_merge(NOVA, "205", seconds=seconds)
        package = {"package": "python3-nova-1:31.1.0-1.el9.noarch", "commit": commit, "committed": seconds}
        receipt = dataclasses.replace(fixtures.green(), gated=(package,))
        outcome = self.reproduce(self.record(self.world.inventory([(NOVA, "205")], {NOVA: commit}), receipt))
        self.assertEqual(commit, outcome.checkouts[0].commit)

    def test_a_fast_forward_is_the_change_itself(self):
        commit = self.world.change(NOVA, "205", {"file": "nova changed\n"}, "Change nova")
        outcome = self.reproduce(self.record(self.world.inventory([(NOVA, "205")], {NOVA: commit})))
        self.assertEqual((commit, ""), (outcome.checkouts[0].commit, outcome.checkouts[0].note))

    def test_what_cannot_be_found_is_merged_anew_and_told(self):
        self.two_changes()
        outcome = self.reproduce(self.record(self.world.inventory([(NOVA, "205")], {NOVA: "0123456789" * 4})))
        self.assertIn("another release", outcome.checkouts[0].note)
        nova = self.folder / "work" / "node" / "src" / HOST / NOVA
        self.assertEqual(("nova changed\n", "2\n"), ((nova / "file").read_text(), (nova / "other").read_text()))
        again = self.reproduce(self.record(self.world.inventory([(NOVA, "205")], {NOVA: "0123456789" * 4})))
        self.assertEqual(outcome.checkouts[0].commit, again.checkouts[0].commit)

    def test_required_projects_without_a_change_are_at_their_recorded_commit(self):
        first = git(self.folder / "git" / OSLO, "rev-parse", "HEAD")
        self.world.advance(OSLO, {"other": "2\n"})
        outcome = self.reproduce(self.record(self.world.inventory([], {OSLO: first})))
        self.assertEqual((first, ""), (outcome.checkouts[0].commit, outcome.checkouts[0].note))

    def test_over_http_and_from_a_build(self):
        commit = self.world.change(NOVA, "205", {"file": "nova changed\n"}, "Change nova")
        build = "c" * 32
        self.world.files["/logs/zuul-info/inventory.yaml"] = self.world.inventory([(NOVA, "205")], {NOVA: commit}).encode()
        self.world.files[f"/api/tenant/example/build/{build}"] = json.dumps({"uuid": build, "log_url": f"{self.world.base}/logs/"}).encode()
        for word in (f"{self.world.base}/logs/zuul-info/inventory.yaml", f"{self.world.base}/t/example/build/{build}"):
            self.assertEqual(commit, self.reproduce(word).checkouts[0].commit)
        with self.assertRaisesRegex(UsageError, "nothing at"):
            self.reproduce(f"{self.world.base}/t/example/build/{'d' * 32}")

    def test_a_recording_that_leads_out_of_the_folder_is_refused(self):
        for folder in ("../../outside", "/etc/outside", "src/../../outside"):
            text = self.world.inventory([], {NOVA: "0" * 40}).replace(f"src/{HOST}/{NOVA}", folder)
            with self.assertRaisesRegex(UsageError, "leads out"):
                self.reproduce(self.record(text))
        self.assertFalse((self.folder / "outside").exists())

    def test_a_url_that_would_run_a_program_is_refused(self):
        text = self.world.inventory([], {NOVA: "0" * 40})
        options = ReproduceOptions(work=self.folder / "work", until="sources", git={f"{HOST}/{NOVA}": "ext::sh -c touch% /tmp/owned"})
        with self.assertRaisesRegex(UsageError, "not a git URL"):
            reproduce([self.record(text)], options, say=self.said.append)


class FromChanges(Case):
    def test_depends_on_over_two_projects(self):
        self.world.change(OSLO, "101", {"file": "oslo changed\n"}, "Change oslo")
        self.world.change(NOVA, "205", {"file": "nova changed\n"}, f"Change nova\n\nDepends-On: {self.world.url(OSLO, '101')}\nChange-Id: I1")
        outcome = self.reproduce(self.world.url(NOVA, "205"))
        self.assertEqual([OSLO, NOVA], [item["project"]["name"] for item in outcome.items])
        self.assertEqual("oslo changed\n", (self.folder / "work/node/src" / HOST / OSLO / "file").read_text())

    def test_a_circle_is_one_bundle(self):
        self.world.change(OSLO, "101", {"file": "oslo changed\n"}, f"Change oslo\n\nDepends-On: {self.world.url(NOVA, '205')}")
        self.world.change(NOVA, "205", {"file": "nova changed\n"}, f"Change nova\n\nDepends-On: {self.world.url(OSLO, '101')}")
        outcome = self.reproduce(self.world.url(NOVA, "205"))
        self.assertEqual(["101", "205"], [item["change"] for item in outcome.items])
        self.assertEqual(1, len({item["bundle_id"] for item in outcome.items}))

    def test_a_stack_of_changes_of_one_project(self):
        first = self.world.change(NOVA, "204", {"file": "first\n"}, "First")
        self.world.change(NOVA, "205", {"other": "second\n"}, "Second", on=first)
        outcome = self.reproduce(self.world.url(NOVA, "205"))
        self.assertEqual(["204", "205"], [item["change"] for item in outcome.items])
        nova = self.folder / "work/node/src" / HOST / NOVA
        self.assertEqual(("first\n", "second\n"), ((nova / "file").read_text(), (nova / "other").read_text()))

    def test_merged_dependencies_are_in_the_branch_already(self):
        self.world.change(OSLO, "101", {"file": "oslo changed\n"}, "Change oslo", status="MERGED")
        self.world.change(NOVA, "205", {"file": "nova changed\n"}, f"Change nova\n\nDepends-On: {self.world.url(OSLO, '101')}")
        self.assertEqual(["205"], [item["change"] for item in self.reproduce(self.world.url(NOVA, "205")).items])

    def test_abandoned_dependencies_are_an_error(self):
        self.world.change(OSLO, "101", {"file": "oslo changed\n"}, "Change oslo", status="ABANDONED")
        self.world.change(NOVA, "205", {"file": "nova changed\n"}, f"Change nova\n\nDepends-On: {self.world.url(OSLO, '101')}")
        with self.assertRaisesRegex(ContentError, "which is abandoned"):
            self.reproduce(self.world.url(NOVA, "205"))

    def test_an_older_patchset_can_be_named(self):
        self.world.change(NOVA, "205", {"file": "first try\n"}, "Change nova", patchset=1)
        self.world.change(NOVA, "205", {"file": "second try\n"}, "Change nova", patchset=2)
        self.reproduce(self.world.url(NOVA, "205") + "/1")
        self.assertEqual("first try\n", (self.folder / "work/node/src" / HOST / NOVA / "file").read_text())
        self.reproduce(self.world.url(NOVA, "205"))
        self.assertEqual("second try\n", (self.folder / "work/node/src" / HOST / NOVA / "file").read_text())
        with self.assertRaisesRegex(UsageError, "no patchset 9"):
            self.reproduce(self.world.url(NOVA, "205") + "/9")

    def test_a_conflict_says_so(self):
        self.world.change(NOVA, "205", {"file": "one way\n"}, "Change nova")
        self.world.advance(NOVA, {"file": "the other way\n"})
        with self.assertRaisesRegex(ContentError, "does not merge"):
            self.reproduce(self.world.url(NOVA, "205"))

    def test_unknown_changes(self):
        with self.assertRaisesRegex(UsageError, "has no change 999"):
            self.reproduce(self.world.url(NOVA, "999"))
