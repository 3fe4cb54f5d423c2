"""The promotion board as files: every word of others is escaped, every link leads to a page, three names and else a count."""

from __future__ import annotations

import json
import posixpath
import re
import unittest
from urllib.parse import unquote

from topcoat.promotion.standing import PHASES
from topcoat.report import board as report

DAY = 86400.0
NOW = 1_795_000_000.0
HOSTILE = '"><script>alert(1)</script>'
EVIL = f"../../{HOSTILE}"


def job(name, state, kind="blocking", url=""):
    return {"job": name, "kind": kind, "state": state, "instead": "", "attempts": 1, "url": url}


def line(source, phase, age, *misses, **values):
    jobs = list(misses) or [job("deploy", "passed")]
    found = {"source": source, "phase": phase, "current": False, "time": NOW - age * DAY, "last": NOW - age * DAY, "attempts": 1, "override": ""}
    return {**found, "by": "me", "sentence": "", "misses": list(misses), "jobs": jobs, "against": "", "architectures": {}, **values}


def stream(name="current-passed-ci", *sets, **values):
    found = {"name": name, "now": {"source": "s1", "time": NOW - 3 * DAY, "by": "me", "images": 5}, "alarm": "", "hold": None, "promoting": ""}
    found |= {
        "next": {"sentence": "Nothing waits.", "command": "", "phase": "promoted"},
        "criteria": None,
        "queue": [],
        "missing": [],
        "packages": [],
    }
    return {**found, "sets": list(sets), **values}


def document(*streams):
    return {
        "schema": "x", "time": NOW, "place": "registry.example.org/site", "profile": "site", "phases": PHASES, "dlrn": "", "zuul": "",
        "architectures": [], "streams": list(streams),
    }  # fmt: skip


def image(name, **values):
    layers = [{"digest": "sha256:" + "1" * 64, "size": 1000}, {"digest": f"sha256:{name}", "size": 500}]
    found = {
        "name": name,
        "reference": f"r.example.org/site/{name}@sha256:{'a' * 64}",
        "there": True,
        "size": 1500,
        "layers": layers,
        "packages": 300,
    }
    return {**found, "recipe": "sha256:" + "b" * 64, "revision": "", "base": "", "base_digest": "", "signatures": [], **values}


def set_page(stream_name, one, images=()):
    return {"schema": "x", "stream": stream_name, **one, "tells": [], "previous": "", "images": list(images), "skew": []}


def side(images, wanted, differs=0, sentence="", absent=()):
    return {"images": images, "wanted": wanted, "absent": list(absent), "differs": differs, "sentence": sentence}


def files(board, images=(), packages=None, links=()):
    sets = {(one["name"], of["source"]): set_page(one["name"], of, images) for one in board["streams"] for of in one["sets"]}
    return report.files(board, sets, {}, packages or {}, links)


class Pages(unittest.TestCase):
    def assert_links(self, pages):
        for path, text in pages.items():
            for address in re.findall(r'(?:href|src)="([^"]*)"', text) if path.endswith(".html") else ():
                if not address.startswith(("#", "data:", "http")):
                    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(address.partition("#")[0])))
                    self.assertIn(where, pages, path)

    def test_hostile_words_stay_words(self):
        evil = line(EVIL, "rejected", 1, job(HOSTILE, "failed", url="javascript:alert(1)"), override=HOSTILE, sentence=HOSTILE, by=HOSTILE)
        evil["architectures"] = {HOSTILE: side(1, 2, 1, HOSTILE, [HOSTILE])}
        package = {"schema": "x", "stream": EVIL, "package": EVIL, "steps": [
            {"source": EVIL, "time": NOW, "versions": [HOSTILE], "images": [HOSTILE], "changelog": [{"time": 1, "author": HOSTILE, "text": HOSTILE}]},
        ]}  # fmt: skip
        missing = [{"job": HOSTILE, "state": "failed", "url": "", "before": [{"source": EVIL, "state": "failed", "url": ""}]}]
        one = stream(
            EVIL,
            evil,
            alarm=HOSTILE,
            next={"sentence": HOSTILE, "command": HOSTILE, "phase": "rejected"},
            packages=[EVIL],
            missing=missing,
            queue=[EVIL, "s"],
        )
        board = document(one) | {"architectures": [HOSTILE]}
        pages = files(board, (image(HOSTILE, base_digest=HOSTILE, revision=HOSTILE),), {(EVIL, EVIL): package})
        self.assertEqual(6 + 0, len(pages), list(pages))
        for path, text in pages.items():
            self.assertNotIn("..", path)
            self.assertRegex(path, r"^[A-Za-z0-9_+./-]+$")
            if path.endswith(".html"):
                self.assertNotIn("<script", text)
                self.assertNotIn("javascript:", text)
        del one["queue"][1:]
        self.assert_links(files(document(one), (), {(EVIL, EVIL): package}))

    def test_a_job_without_address_leads_to_its_builds(self):
        board = document(stream("n", line("s1", "pending", 1, job("deploy now", "missing"))))
        board["zuul"] = "https://zuul.example.org/t/rdo/"
        self.assertIn("https://zuul.example.org/t/rdo/builds?job_name=deploy%20now", files(board)["sets/n/s1.html"])

    def test_older_sets_are_folded_and_the_newest_are_not(self):
        sets = [line(f"s{number:02}", "promoted", number) for number in range(30)]
        text = files(document(stream("n", *sets)))["index.html"]
        self.assertLess(text.index(">s09<"), text.index("20 older"))
        self.assertGreater(text.index(">s10<"), text.index("20 older"))

    def test_what_is_not_known_is_not_shown_as_if_it_were(self):
        images = (image("nova-api", there=False, size=None, layers=[], packages=None, recipe=""), image("keystone", signatures=["tag", "bundle"]))
        text = files(document(stream("n", line("s1", "promoted", 1))), images)["sets/n/s1.html"]
        self.assertIn("1 image of it is not in the registry any more", text)
        self.assertIn("1 of 2 are signed", text)
        self.assertIn("for podman, and bundle", text)

    def test_each_architecture_has_a_column_and_what_lags_behind_is_named(self):
        sides = {"x86_64": side(104, 104), "aarch64": side(103, 104, 2, absent=["nova-compute"])}
        coming = {
            "x86_64": side(104, 104, sentence="built, not joined yet"),
            "aarch64": side(0, 104, sentence="no run of it has finished s2-aarch64"),
        }
        lines = (line("s2", "pending", 0, architectures=coming), line("s1", "promoted", 1, architectures=sides), line("s0", "promoted", 2))
        board = document(stream("n", *lines)) | {"architectures": ["x86_64", "aarch64"]}
        pages = {(one["name"], of["source"]): set_page(one["name"], of) for one in board["streams"] for of in one["sets"]}
        skew = {"source": "openstack-nova", "versions": {"x86_64": ["2-1"], "aarch64": ["1-1"]}, "images": ["nova-api", "nova-compute"]}
        pages["n", "s1"]["skew"] = [skew]
        found = report.files(board, pages, {}, {}, ())
        first, own = found["index.html"], found["sets/n/s1.html"]
        self.assertIn('<th scope="col">x86_64</th><th scope="col">aarch64</th>', first)
        for words in ("103 of 104", "2 packages differ", "none of 104", "no run of it has finished s2-aarch64", "built, not joined yet"):
            self.assertIn(words, first)
        for words in ("without nova-compute", "in different versions", "<td>2-1</td><td>1-1</td><td>nova-api, nova-compute</td>"):
            self.assertIn(words, own)
        self.assertNotIn("Architectures", found["sets/n/s0.html"])
        self.assertNotIn("in different versions", found["sets/n/s2.html"])

    def test_the_data_lies_beside_the_page(self):
        board = document(stream("n", line("s1", "promoted", 1)))
        pages = files(board)
        self.assertEqual(board, json.loads(pages["board.json"]))
        self.assertEqual("s1", json.loads(pages["sets/n/s1.json"])["source"])

    def test_nothing_at_all(self):
        self.assertIn("Nothing was ever promoted here", files(document())["index.html"])
        self.assertEqual("nothing was ever promoted here", report.text(document()))


class Words(unittest.TestCase):
    def test_three_names_else_a_count(self):
        bad = [job("a", "failed"), job("b", "missing"), job("c", "again")]
        self.assertEqual("a (failed), b (no vote yet), c (failed, may be tried again)", report.misses({"misses": bad}))
        self.assertEqual("2 failed, 1 failed, may be tried again, 1 no vote yet", report.misses({"misses": [*bad, job("d", "failed")]}))

    def test_ages(self):
        ages = [report.ago(seconds) for seconds in (5, 61, 7200, 3 * DAY)]
        self.assertEqual(["just now", "1 minute ago", "2 hours ago", "3 days ago"], ages)

    def test_names_of_files(self):
        self.assertEqual("python3-nova_x+y.z", report.file_name("python3-nova_x+y.z"))
        for word in ("", ".", "..", ".hidden", "a/b", "a\0b", "x" * 400, "é"):
            self.assertRegex(report.file_name(word), r"^[A-Za-z0-9_+-][A-Za-z0-9_.+-]*$")
        self.assertNotEqual(report.file_name("a/b"), report.file_name("a_b"))
        self.assertNotEqual(report.file_name("a/b"), report.file_name("a\\b"))
