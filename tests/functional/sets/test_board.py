"""A week of periodic sets, good, broken, overridden, late, superseded: what the board says of it, in a real browser too."""

from __future__ import annotations

import base64
import html.parser
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from tests import schemas
from tests.functional.runs.test_main_job import SiteTest
from tests.functional.sets.test_changes import LINKS, with_changelogs
from tests.functional.trunk.dlrn_server import DlrnServer
from tests.needs import needs
from topcoat.trunk import DlrnApi, TrunkHash
from topcoat_demo.rpms import make_repository

COMMITS = [(f"{number:040x}", f"{number + 4096:040x}") for number in range(1, 8)]
RULE = (
    "current-passed-ci: { candidate: consistent-ci, required: [deploy, scenario, upgrade], alternatives: { scenario: [scenario-b] }, "
    "informing: [deploy-arm], attempts: 2 }\n"
)
CHROMIUM = shutil.which("chromium")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
GOOD = ("deploy", "scenario", "upgrade")


class Links(html.parser.HTMLParser):
    """Every address of a page, and whether it holds a script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("href", "src") and value]
        self.scripts += tag == "script"


class Week(SiteTest):
    """Seven sets, one a day; made once."""

    def setUp(self):
        super().setUp()
        self.site.write_profile(links=LINKS)
        (self.site.tree / "criteria").mkdir()
        (self.site.tree / "criteria/site.yaml").write_text(RULE)
        self.dlrn = self.enterContext(DlrnServer(Path(self.enterContext(tempfile.TemporaryDirectory())), COMMITS))
        self.api = DlrnApi(self.dlrn.url, login=(self.dlrn.user, self.dlrn.password), first_wait=0.01)
        self.addCleanup(self.api.close)
        auths = json.loads(self.site.server.authfile.read_text())
        login = base64.b64encode(f"{self.dlrn.user}:{self.dlrn.password}".encode()).decode()
        auths["auths"][f"127.0.0.1:{self.dlrn.port}"] = {"auth": login}
        self.site.server.authfile.write_text(json.dumps(auths))
        self.hashes = [TrunkHash(commit, distro) for commit, distro in COMMITS]
        self.tags = [trunk.tag for trunk in self.hashes]

    def day(self, number, passed=GOOD, failed=(), images=True):
        """A candidate with votes; its images."""
        trunk = self.hashes[number]
        entries = [
            (1_700_000_000 + day * 86400, "An <b>Author</b> <a@example.org>", f"- day {day}, CVE-2024-1000{day}") for day in range(number, -1, -1)
        ]
        specs = [replace(spec, changelog=tuple(entries)) if "oslo" in spec.name else spec for spec in with_changelogs(f"1.{number}", ())]
        make_repository(self.site.current, specs)
        if images:
            self.succeed("build", "--tag", trunk.tag)
        self.api.promote(trunk, "consistent-ci")
        for job, success in (*((job, True) for job in passed), *((job, False) for job in failed)):
            self.api.vote(trunk, job, success=success, url=f"https://zuul.example.org/build/{number}-{job}")

    def promote(self, *words, code=0):
        answer = self.site.topcoat("promote", "--dlrn", self.dlrn.url, *words)
        self.assertEqual(code, answer.code, answer.output + answer.errors)

    def week(self):
        """Monday to Sunday."""
        self.day(0)
        self.promote()
        self.day(1, ("deploy",), ("scenario", "scenario", "upgrade", "upgrade"))
        self.promote(code=1)
        self.promote(code=1)
        self.day(2, ("deploy", "upgrade"), ("scenario", "scenario"))
        self.promote("--from", self.tags[2], "--override", "the scenario's mirror is <down>")
        self.day(3, ("deploy",), images=False)  # late: votes come when the next one is promoted
        self.promote(code=1)
        self.day(4, ("deploy", "upgrade", "scenario-b"), ("scenario", "scenario", "deploy-arm"))
        self.promote()
        self.day(5, (), (*GOOD, *GOOD), images=False)
        self.promote(code=1)
        self.day(6, ("deploy",), ("upgrade",))
        self.promote(code=1)

    def board(self, *words):
        output = self.site.directory / "board"
        answer = self.succeed(
            "board", "--output", str(output), "--dlrn", self.dlrn.url, "--zuul", "https://zuul.example.org/t/rdo", *words, work="fresh"
        )
        self.assertEqual("", answer.errors)
        for path in output.rglob("*.json"):
            schemas.check("changes" if path.is_relative_to(output / "changes") else "board", json.loads(path.read_text()))
        return output, json.loads((output / "board.json").read_text()), answer.output

    @needs("chromium")
    def test_the_week(self):
        self.week()
        folder, board, said = self.board()
        [stream] = board["streams"]
        lines = {line["source"]: line for line in stream["sets"]}
        self.assertEqual(self.tags[::-1], list(lines))
        phases = ["promoted", "rejected", "promoted", "superseded", "promoted", "rejected", "pending"]
        self.assertEqual(phases, [lines[tag]["phase"] for tag in self.tags])
        self.assertEqual([1, 2, 1, 1, 1, 1, 1], [lines[tag]["attempts"] for tag in self.tags])
        self.assertEqual("the scenario's mirror is <down>", lines[self.tags[2]]["override"])
        self.assertEqual([self.tags[6]], stream["queue"])
        self.assertEqual("", stream["alarm"])
        self.assertEqual(self.tags[4], stream["now"]["source"])
        # what still misses, and how it did before
        self.assertEqual([("scenario", "missing"), ("upgrade", "again")], sorted((one["job"], one["state"]) for one in stream["missing"]))
        before = next(one["before"] for one in stream["missing"] if one["job"] == "upgrade")
        self.assertEqual(["failed", "passed", "missing", "passed", "failed"], [one["state"] for one in before])
        for words in ("waits for scenario", "may be tried again: upgrade"):
            self.assertIn(words, said)
        self.pages(folder)
        self.pictures(folder)
        self.steps(folder, lines)

    def pages(self, folder):
        """Every page is whole: no script, no request, every link leads somewhere, every word of others is escaped."""
        paths = sorted(folder.rglob("*.html"))
        self.assertGreaterEqual(len(paths), 1 + 7 + 3 + 1)
        for path in paths:
            text = path.read_text()
            page = Links(text)
            self.assertEqual(0, page.scripts, path)
            for link in page.links:
                if not link.startswith(("https://", "#", "data:")):
                    self.assertTrue((path.parent / link.partition("#")[0]).is_file(), f"{path}: {link}")
            for raw in ("<down>", "<b>Author"):
                self.assertNotIn(raw, text, path)
        first = (folder / "index.html").read_text()
        self.assertIn("&lt;down&gt;", first)
        self.assertIn("https://zuul.example.org/t/rdo/builds?job_name=scenario", first)
        self.assertIn("https://zuul.example.org/build/6-upgrade", first)
        own = (folder / f"sets/current-passed-ci/{self.tags[4]}.html").read_text()
        for words in ("topcoat discover --tag current-passed-ci", "passed by another job: scenario-b", "deploy-arm", "podman pull", "5 images"):
            self.assertIn(words, own)

    def steps(self, folder, lines):
        """What changed between neighbours, what the set that waits would bring, and where a package's change is."""
        self.assertEqual([self.tags[0], self.tags[2], self.tags[4]], [lines[self.tags[number]]["against"] for number in (2, 4, 6)])
        shape = json.loads((folder / f"changes/current-passed-ci/{self.tags[4]}/{self.tags[6]}.json").read_text())
        self.assertEqual(["python3-oslo"], [row["source"] for row in shape["packages"]])
        self.assertEqual(2, len(shape["packages"][0]["changelog"]))
        package = json.loads((folder / "packages/current-passed-ci/python3-oslo.json").read_text())
        self.assertEqual([["1.4-1.el9"], ["1.2-1.el9"], ["1.0-1.el9"]], [step["versions"] for step in package["steps"]])
        self.assertEqual([2, 2, 0], [len(step["changelog"]) for step in package["steps"]])

    def pictures(self, folder):
        """Light and dark, the first page wide and narrow as well: pictures are kept where ``TOPCOAT_TEST_PICTURES`` says."""
        keep = Path(os.environ.get("TOPCOAT_TEST_PICTURES") or folder)
        for page in ("index", f"sets/current-passed-ci/{self.tags[4]}", "packages/current-passed-ci/python3-oslo"):
            seen = {}
            views = {"light": (1000, ()), "dark": (1000, ("--blink-settings=preferredColorScheme=0",)), "wide": (1500, ()), "narrow": (500, ())}
            for name, (width, options) in list(views.items())[: 4 if page == "index" else 2]:
                png = keep / f"{page.rpartition('/')[2][:20]}-{name}.png"
                errors = self.browse((folder / f"{page}.html").as_uri(), f"--screenshot={png}", f"--window-size={width},1500", *options)
                self.assertNotIn("CONSOLE", errors)
                seen[name] = png.read_bytes()
            self.assertNotEqual(seen["light"], seen["dark"])

    def browse(self, *words):
        argv = [CHROMIUM, *QUIET, f"--user-data-dir={self.site.directory}/profile", "--enable-logging=stderr", *words]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            return child.communicate(timeout=120)[1]
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def test_without_dlrn_the_history_alone_is_shown_and_a_hold_with_its_end(self):
        self.day(0)
        self.promote()
        self.succeed("hold", "current-passed-ci", "qemu loses <disks>")
        output = self.site.directory / "plain"
        said = self.succeed("board", "--output", str(output), work="fresh").output
        self.assertIn("topcoat hold current-passed-ci --release", said)
        first = (output / "index.html").read_text()
        self.assertIn("qemu loses &lt;disks&gt;", first)
        # the images are gone: what the set held is still known, and the page says that it cannot be had
        for name in ("base", "nova-base", "nova-api", "nova-compute", "keystone"):
            shutil.rmtree(self.site.server.storage / f"docker/registry/v2/repositories/site/{name}")
        self.succeed("board", "--output", str(output), work="fresher")
        own = (output / f"sets/current-passed-ci/{self.tags[0]}.html").read_text()
        self.assertIn("5 images of it are not in the registry any more", own)
        self.fail_with(2, "wants an address", "board", "--output", str(output), "--zuul", "javascript:alert(1)")

    def test_nothing_was_ever_promoted(self):
        folder, board, said = self.board()
        self.assertEqual(["current-passed-ci"], [stream["name"] for stream in board["streams"]])
        self.assertIn("nothing was promoted yet", said)
        self.assertIn("Nothing was promoted yet", (folder / "index.html").read_text())
