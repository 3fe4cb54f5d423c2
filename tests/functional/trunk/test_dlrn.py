"""Votes, criteria and promotions with a real DLRN API server and a real registry."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.functional.promotion.base import SetCase
from tests.functional.registry.faults import Fault, FaultProxy
from tests.functional.trunk.dlrn_server import DlrnServer
from topcoat.errors import ContentError, InfrastructureError, UsageError
from topcoat.promotion import Control, History, Request, candidates
from topcoat.trunk import DlrnApi, TrunkHash
from topcoat.trunk.criteria import Criteria, TooOld

COMMITS = [(f"{number:040x}", f"{number + 4096:040x}") for number in range(1, 61)]


class Dlrn(SetCase):
    names = ("base", "nova-api")

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.dlrn = cls.enterClassContext(DlrnServer(Path(cls.enterClassContext(tempfile.TemporaryDirectory())), COMMITS))
        cls.left = [TrunkHash(commit, distro) for commit, distro in COMMITS]

    def setUp(self) -> None:
        # one server for all tests: each has its own commits and names
        self.waiting, self.name = (f"{word}-{self.id().rsplit('.', 1)[-1]}" for word in ("candidate", "passed"))
        self.rule = Criteria(self.name, self.waiting, ("deploy", "scenario"), (("scenario", ("scenario-b",)),))
        self.api = DlrnApi(self.dlrn.url, login=(self.dlrn.user, self.dlrn.password), first_wait=0.01)
        self.addCleanup(self.api.close)
        self.hashes = [self.left.pop() for _ in range(3)]

    def candidate(self, number: int, *passed: str, failed: tuple[str, ...] = ()) -> TrunkHash:
        trunk = self.hashes[number]
        self.api.promote(trunk, self.waiting)
        for job in passed:
            self.api.vote(trunk, job, success=True, url="http://x")
        for job in failed:
            self.api.vote(trunk, job, success=False, url="http://x")
        return trunk

    def test_votes_and_promotions_round_trip(self) -> None:
        trunk = self.candidate(0, "deploy", failed=("scenario",))
        self.assertEqual([("deploy", True), ("scenario", False)], [(vote.job, vote.success) for vote in self.api.votes(trunk)])
        self.assertEqual(trunk.tag, self.api.current(self.waiting).tag)
        self.assertEqual(trunk, self.api.find(trunk.tag, names=("other", self.waiting)).hash)
        before = len(self.api.promotions(self.waiting))
        self.api.promote(trunk, self.waiting)  # is it already
        self.assertEqual(before, len(self.api.promotions(self.waiting)))

    def test_an_old_candidate_is_found_behind_many_newer_ones(self) -> None:
        old, *others = self.hashes
        for trunks in ((old, *others), others):
            for trunk in trunks:
                self.api.promote(trunk, self.waiting)
            time.sleep(1.1)  # DLRN knows seconds only: the same twice in one of them is one promotion
        paged = DlrnApi(self.dlrn.url, first_wait=0.01, page=2)
        self.addCleanup(paged.close)
        self.assertEqual(old, paged.find(old.tag, names=(self.waiting,)).hash)
        self.assertEqual(list(self.api.history(self.waiting)), list(paged.history(self.waiting)))
        self.assertEqual(5, len(list(paged.history(self.waiting))))
        self.assertEqual(3, len(paged.promotions(self.waiting, limit=3)))

    def test_bad_logins_and_unknown_hashes(self) -> None:
        for login in (None, ("ci", "wrong")):
            with self.assertRaises(UsageError):
                DlrnApi(self.dlrn.url, login=login).promote(self.hashes[0], "x")
        with self.assertRaises(ContentError):
            self.api.votes(TrunkHash("f" * 40, "f" * 40))
        with self.assertRaises(UsageError):
            self.api.votes(TrunkHash.parse(self.hashes[0].tag))
        with self.assertRaises(InfrastructureError):
            DlrnApi("http://127.0.0.1:1", first_wait=0.01).promotions("x")

    def test_the_newest_candidate_that_passed_is_chosen(self) -> None:
        self.candidate(0, "deploy", "scenario")
        self.candidate(1, "deploy", "scenario-b")  # the alternative stands in
        self.candidate(2, "deploy", failed=("scenario",))
        self.assertEqual(self.hashes[1], candidates.newest(self.api, self.rule, now=time.time()).hash)
        self.api.promote(self.hashes[1], self.name)
        with self.assertRaises(ContentError) as caught:
            candidates.newest(self.api, self.rule, now=time.time())  # only the failed one is newer
        self.assertIn("failed: scenario", str(caught.exception))
        self.api.vote(self.hashes[2], "scenario", success=True, url="http://x", at=time.time() + 5)  # a rerun repairs it
        self.assertEqual(self.hashes[2], candidates.newest(self.api, self.rule, now=time.time()).hash)
        self.api.promote(self.hashes[2], self.name)
        self.assertIsNone(candidates.newest(self.api, self.rule, now=time.time()))

    def test_too_old_candidates(self) -> None:
        self.candidate(0, "deploy", "scenario")
        later = time.time() + 100 * 3600
        for too_old, outcome in ((TooOld.FAIL, None), (TooOld.ALLOW, self.hashes[0])):
            rule = Criteria(self.name, self.waiting, ("deploy",), (), 48, too_old)
            if outcome:
                self.assertEqual(outcome, candidates.newest(self.api, rule, now=later).hash)
            else:
                with self.assertRaises(ContentError) as caught:
                    candidates.newest(self.api, rule, now=later)
                self.assertIn("too old", str(caught.exception))
        self.assertIsNone(candidates.newest(self.api, Criteria(self.name, self.waiting, ("deploy",), (), 48, TooOld.SKIP), now=later))

    def test_a_promotion_whose_answer_is_lost_counts_when_the_list_shows_it(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

        def rule(request):
            return Fault(reset_after=True) if request.verb == "POST" else None

        proxy = self.enterContext(FaultProxy(f"127.0.0.1:{self.dlrn.port}", folder, rule))
        api = DlrnApi(f"https://{proxy.host}", login=(self.dlrn.user, self.dlrn.password), ca_file=proxy.ca_file, first_wait=0.01)
        self.addCleanup(api.close)
        self.assertEqual(self.hashes[0].tag, api.promote(self.hashes[0], self.name).tag)
        proxy.rule = lambda request: Fault(status=500) if request.verb == "POST" else None
        with self.assertRaises(InfrastructureError):
            api.promote(self.hashes[1], self.name)

    def command(self, space: str, *words: str, proxy: FaultProxy | None = None) -> subprocess.CompletedProcess:
        """``topcoat promote`` as a user calls it, with a profile and a recipe tree of two images.

        :param proxy: the registry is spoken to through it.
        """
        tree = self.folder / f"tree-{space}"
        host = proxy.host if proxy else self.server.host
        if not tree.exists():
            (tree / "openstack").mkdir(parents=True)
            (tree / "profiles").mkdir()
            (tree / "base.yaml").write_text("base: { from: profile, packages: [bash] }\n")
            (tree / "openstack/nova.yaml").write_text("nova-api: { from: base, packages: [nova], entrypoint: [/bin/nova] }\n")
            (tree / "profiles/test.yaml").write_text(
                "distro: demo\nrelease: '9'\narch: x86_64\n"
                f"base: {{ image: {self.server.host}/x/y:z, digest: 'sha256:{'0' * 64}' }}\n"
                "repositories: [{ id: base, baseurl: 'file:///x' }]\n"
                f"registry: '{host}'\nnamespace: {space}\nreference_tag: {self.name}\n"
            )
            (tree / "criteria.yaml").write_text(f"{self.name}: {{ candidate: {self.waiting}, required: [deploy] }}\n")
        auths = json.loads((self.proxied_authfile(proxy) if proxy else self.server.authfile).read_text())
        login = base64.b64encode(f"{self.dlrn.user}:{self.dlrn.password}".encode()).decode()
        auths["auths"][f"127.0.0.1:{self.dlrn.port}"] = {"auth": login}
        authfile = self.folder / f"auth-{space}.json"
        authfile.touch(mode=0o600)
        authfile.write_text(json.dumps(auths))
        command = [sys.executable, "-m", "topcoat", "--recipes", str(tree), "--profile", "test", "--authfile", str(authfile)]
        command += ["--ca-file", str(proxy.ca_file)] if proxy else ["--plain-http", self.server.host]
        command += ["promote", *words]
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))}
        done = subprocess.run(command, capture_output=True, text=True, env=plain)
        for secret in (self.server.password, self.dlrn.password, login):
            self.assertNotIn(secret, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done

    def key(self) -> Path:
        """A signing key without a passphrase."""
        path = self.folder / "signing.key"
        if not path.exists():
            path.touch(mode=0o600)
            pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*pkcs8))
        return path

    def summary(self, space: str, digest: str) -> tuple[str, dict]:
        """(name of the subject, predicate) of the verification summary of an image."""
        client, repository = self.client(), f"{space}/nova-api"
        (layer,) = client.manifest(repository, f"{digest.replace(':', '-')}.att", cached=False).document["layers"]
        self.assertEqual("https://slsa.dev/verification_summary/v1", layer["annotations"]["predicateType"])
        statement = json.loads(base64.b64decode(json.loads(client.blob(repository, layer["digest"]))["payload"]))
        (subject,) = statement["subject"]
        self.assertEqual(digest, f"sha256:{subject['digest']['sha256']}")
        return subject["name"], statement["predicate"]

    def test_the_whole_command(self) -> None:
        space = "whole-command"
        sets = {trunk.tag: self.push_set(space, trunk.tag) for trunk in self.hashes[:2]}
        criteria = ("--criteria", str(self.folder / f"tree-{space}/criteria.yaml"), "--dlrn", self.dlrn.url)
        self.command(space, "--help")
        self.candidate(0, "deploy")
        signing = ("--sign-key", str(self.key()), "--verifier", "https://zuul.example.org/t/main")
        done = self.command(space, *criteria, *signing, "--format", "json")
        self.assertEqual(0, done.returncode, done.stderr)
        subject, summary = self.summary(space, sets[self.hashes[0].tag]["nova-api"])
        self.assertEqual(f"{self.server.host}/{space}/nova-api", subject)
        self.assertEqual(f"{subject}:{self.name}", summary["resourceUri"])
        self.assertEqual(("PASSED", "https://zuul.example.org/t/main"), (summary["verificationResult"], summary["verifier"]["id"]))
        said = summary["https://topcoat.dev/promotion/1"]
        self.assertEqual((self.hashes[0].tag, ["deploy"]), (said["source"], said["rule"]["required"]))
        self.assertEqual([("deploy", "passed")], [(job["job"], job["state"]) for job in said["jobs"]])
        self.assertNotIn("override", said)
        self.assertEqual("promoted", json.loads(done.stdout)["state"])
        self.assertEqual(sets[self.hashes[0].tag], self.shown(space, self.name))
        self.assertEqual(self.hashes[0], self.api.current(self.name).hash)
        done = self.command(space, *criteria)
        self.assertIn("nothing newer", done.stdout)
        self.candidate(1)
        done = self.command(space, "--from", self.hashes[1].tag, *criteria)
        self.assertEqual(1, done.returncode)
        self.assertIn("no vote from deploy", done.stderr)
        self.assertEqual(sets[self.hashes[0].tag], self.shown(space, self.name))
        self.api.vote(self.hashes[1], "deploy", success=True, url="http://x")
        done = self.command(space, "--from", self.hashes[1].tag, *criteria, "--dry-run")
        self.assertIn(f"would move {self.name} of 2 images", done.stdout)
        self.assertEqual(self.hashes[0], self.api.current(self.name).hash)
        done = self.command(space, "--from", self.hashes[1].tag, *criteria)
        self.assertEqual(sets[self.hashes[1].tag], self.shown(space, self.name))
        self.assertEqual(self.hashes[1], self.api.current(self.name).hash)
        done = self.command(space, "--rollback")
        self.assertIn("is back at", done.stdout)
        self.assertEqual(sets[self.hashes[0].tag], self.shown(space, self.name))

    def test_the_criteria_of_the_profile(self) -> None:
        space = "of-the-profile"
        sets = {trunk.tag: self.push_set(space, trunk.tag) for trunk in self.hashes[:2]}
        self.command(space, "--help")  # writes the tree
        self.assertIn("what shall be promoted", self.command(space, "--dlrn", self.dlrn.url).stderr)
        rules = self.folder / f"tree-{space}/criteria/test.yaml"
        rules.parent.mkdir()

        def promote(rule: str, *words: str) -> subprocess.CompletedProcess:
            rules.write_text(f"{self.name}: {{ candidate: {self.waiting}, required: [deploy, scenario], {rule} }}\n")
            return self.command(space, "--dlrn", self.dlrn.url, *words)

        self.candidate(0, "deploy", "scenario-b", failed=("scenario",))
        self.assertIn("failed: scenario", promote("").stderr)
        second = "alternatives: { scenario: [scenario-a, scenario-b] }"
        for word, code, said in (("fail", 1, "too old"), ("skip", 0, "nothing newer")):
            done = promote(f"{second}, max_age_hours: 0.000001, too_old: {word}")
            self.assertEqual(code, done.returncode, done.stderr)
            self.assertIn(said, done.stdout + done.stderr)
            self.assertEqual(dict.fromkeys(self.names), self.shown(space, self.name))
        done = promote(f"{second}, max_age_hours: 0.000001, too_old: allow")
        self.assertIn("scenario-b in place of scenario", done.stderr)
        self.assertEqual(sets[self.hashes[0].tag], self.shown(space, self.name))
        self.candidate(1, "deploy", "scenario")
        self.assertEqual(0, promote("max_age_hours: 24").returncode)
        self.assertEqual(sets[self.hashes[1].tag], self.shown(space, self.name))
        self.assertEqual(self.hashes[1], self.api.current(self.name).hash)
        self.assertIn("criteria for 'other'", promote("", "--to", "other").stderr)

    def test_what_became_of_every_attempt_is_kept(self) -> None:
        space = "attempts"
        sets = {trunk.tag: self.push_set(space, trunk.tag) for trunk in self.hashes[:2]}
        first, second = (trunk.tag for trunk in self.hashes[:2])
        self.command(space, "--help")
        criteria = ("--criteria", str(self.folder / f"tree-{space}/criteria.yaml"), "--dlrn", self.dlrn.url)
        history = History(Control(self.client(), space))
        self.candidate(0, failed=("deploy",))
        for _ in range(2):
            self.assertEqual(1, self.command(space, *criteria).returncode)
        [rejected] = history.newest(self.name, 9)
        self.assertEqual(("rejected", first, 2, "failed: deploy"), (rejected.state, rejected.source, rejected.times, rejected.sentence))
        self.assertEqual([("deploy", "blocking", "failed")], [(job.job, job.kind, job.state) for job in rejected.jobs])
        # a person may pass over the criteria, for one set and with a reason
        self.assertIn("--from", self.command(space, *criteria, "--override", "I know why").stderr)
        self.assertIn("one line", self.command(space, "--from", first, *criteria, "--override", " ").stderr)
        self.assertIn("nothing to pass over", self.command(space, "--from", first, "--override", "x").stderr)
        done = self.command(space, "--from", first, *criteria, "--override", "known flake of the job", "--sign-key", str(self.key()))
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(sets[first], self.shown(space, self.name))
        _, summary = self.summary(space, sets[first]["nova-api"])
        self.assertEqual("FAILED", summary["verificationResult"], "a person's word is no passed rule")
        self.assertEqual("known flake of the job", summary["https://topcoat.dev/promotion/1"]["override"])
        promoted = history.newest(self.name, 9)[0]
        self.assertEqual(("promoted", "known flake of the job", "failed"), (promoted.state, promoted.override, promoted.jobs[0].state))
        self.assertEqual(sets[first], promoted.record.images.as_dict())
        # superseded: both meet the criteria, and somebody names the one that came before
        self.candidate(1, "deploy")
        self.api.vote(self.hashes[0], "deploy", success=True, url="http://x")
        control = Control(self.client(), space)
        control.clear(self.name)
        done = self.command(space, "--from", first, *criteria)
        self.assertIn(f"{first} is superseded: {second}", done.stderr)
        self.assertEqual("superseded", history.newest(self.name, 1)[0].state)
        self.assertEqual(0, self.command(space, "--from", second, *criteria).returncode)

    def test_without_a_history_to_write_into_nobody_passes_over_the_criteria(self) -> None:
        space = "unwritable"
        sets = {trunk.tag: self.push_set(space, trunk.tag) for trunk in self.hashes[:2]}
        first, second = (trunk.tag for trunk in self.hashes[:2])
        proxy = self.proxy()
        proxy.rule = lambda request: Fault(status=403) if request.verb == "PUT" and ".history-" in request.target else None
        self.command(space, "--help", proxy=proxy)
        criteria = ("--criteria", str(self.folder / f"tree-{space}/criteria.yaml"), "--dlrn", self.dlrn.url)
        self.candidate(0, failed=("deploy",))
        done = self.command(space, "--from", first, *criteria, "--override", "known flake", proxy=proxy)
        self.assertNotEqual(0, done.returncode, done.stdout)
        self.assertEqual(dict.fromkeys(self.names), self.shown(space, self.name), "no tag moves before the reason is on record")
        self.assertIsNone(Control(self.client(), space).read(self.name))
        self.assertIsNone(self.api.current(self.name))
        # a promotion that needs no reason is not kept from it, and says what it could not write
        self.candidate(1, "deploy")
        done = self.command(space, "--from", second, *criteria, proxy=proxy)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("the history cannot be written", done.stderr)
        self.assertEqual(sets[second], self.shown(space, self.name))

    def test_dlrn_that_dies_brings_the_tags_back(self) -> None:
        space = "dies"
        self.push_set(space, self.hashes[0].tag)

        def announce() -> None:
            DlrnApi("http://127.0.0.1:1", first_wait=0.01).promote(self.hashes[0], self.name)

        with self.assertRaises(InfrastructureError):
            self.promoter(space).promote(Request(self.hashes[0].tag, self.name), announce=announce)
        self.assertEqual(dict.fromkeys(self.names), self.shown(space, self.name))
