"""What is read out of a recording, and where projects are fetched from."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import unittest
from pathlib import Path

import yaml

from tests.unit.report import fixtures
from topcoat.errors import UsageError
from topcoat.report import receipt_to_dict
from topcoat.reproduce.request import open_recording
from topcoat.reproduce.run import ReproduceOptions, from_recording, git_url

HOST = "review.example.org"
NAME = f"{HOST}/openstack/nova"
PROJECT = {"name": "openstack/nova", "short_name": "nova", "canonical_hostname": HOST, "canonical_name": NAME, "src_dir": f"src/{NAME}"}


def variables(change_url="https://review.example.org/c/openstack/nova/+/205", **item):
    entry = {"project": PROJECT, "branch": "master", "change": "205", "patchset": "3", "change_url": change_url, **item}
    return {"items": [entry], "projects": {NAME: {**PROJECT, "checkout": "master", "commit": "c" * 40}}, "buildset": "b" * 32}


class Recordings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def read(self, content, name="zuul-info/inventory.yaml", **options):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
        return from_recording(open_recording(path), ReproduceOptions(work=self.top / "work", **options))

    def inventory(self, **more):
        return {"all": {"hosts": {"first": {}, "second": {}}, "vars": {"x": 1, "nodepool": {}, "zuul": variables(**more)}}}

    def test_variables_host_and_source(self):
        inputs = self.read(self.inventory(commit_id="d" * 40))
        self.assertEqual(({"x": 1}, "first"), (inputs.variables, inputs.host))
        (source,) = inputs.sources
        self.assertEqual(("https://review.example.org/openstack/nova", "master", "c" * 40), (source.url, source.branch, source.commit))
        self.assertEqual([("refs/changes/05/205/3", "d" * 40)], [(merge.ref, merge.commit) for merge in source.merges])

    def test_the_review_server_is_where_changes_are_fetched_from(self):
        cases = {
            "http://127.0.0.1:8080/205": "http://127.0.0.1:8080/openstack/nova",
            "https://x.example.org/r/c/nova/+/205": "https://x.example.org/r/openstack/nova",
        }
        for url, expected in cases.items():
            self.assertEqual(expected, self.read(self.inventory(change_url=url)).sources[0].url)

    def test_the_caller_wins(self):
        self.assertEqual("file:///x", self.read(self.inventory(), git={NAME: "file:///x", HOST: "file:///y"}).sources[0].url)
        self.assertEqual("file:///y/openstack/nova", self.read(self.inventory(), git={HOST: "file:///y/"}).sources[0].url)
        self.assertEqual("https://review.example.org/openstack/nova", git_url(NAME, {}))

    def test_the_variables_alone_are_enough(self):
        inputs = self.read({"zuul": variables()}, name="zuul.yaml")
        self.assertEqual((["205"], "controller"), ([item["change"] for item in inputs.zuul["items"]], inputs.host))

    def test_the_receipt_beside_and_the_times_in_it(self):
        ours = {"package": "python3-nova-1:2.0-1.noarch", "commit": "c" * 40, "committed": 1795319100}
        others = ({"package": "python3-x-1-1.noarch", "commit": "d" * 40, "committed": 1795319200}, {"package": "python3-y-1-1.noarch"})
        receipt = dataclasses.replace(fixtures.green(), gated=(ours, *others))
        for name, where in (("zuul-info/inventory.yaml", "container-images/first"), ("zuul.yaml", "container-images/node")):
            folder = self.top / where
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "receipt.json").write_text(json.dumps(receipt_to_dict(receipt)))
            inputs = self.read(self.inventory() if "inventory" in name else {"zuul": variables()}, name=name)
            self.assertEqual(receipt, inputs.original)
            self.assertEqual((1795319100,), inputs.sources[0].times)

    def test_a_time_that_is_none_is_one_line(self):
        folder = self.top / "container-images" / "first"
        folder.mkdir(parents=True)
        for committed in ("1", -5, True, 1.5, 10**400, [], "x"):
            receipt = receipt_to_dict(
                dataclasses.replace(fixtures.green(), gated=({"package": "p-1-1.noarch", "commit": "c" * 40, "committed": committed},))
            )
            (folder / "receipt.json").write_text(json.dumps(receipt))
            with self.subTest(committed=str(committed)[:20]), self.assertRaisesRegex(UsageError, "committed|number") as caught:
                self.read(self.inventory())
            self.assertNotIn("\n", str(caught.exception))

    def test_the_time_limit_of_the_job_holds_for_each_playbook(self):
        content = self.inventory()
        zuul = content["all"]["vars"]["zuul"]
        for said, expected in ((None, 10800.0), (0, 10800.0), (5400, 5400.0)):
            zuul["timeout"] = said
            self.assertEqual(expected, self.read(content).timeout)
        zuul["timeout"] = "an hour"
        with self.assertRaisesRegex(UsageError, "timeout"):
            self.read(content)

    def test_periodic_items_have_no_change(self):
        content = self.inventory()
        entry = content["all"]["vars"]["zuul"]["items"][0]
        for name in ("change", "patchset", "change_url"):
            del entry[name]
        self.assertEqual((), self.read(content).sources[0].merges)
