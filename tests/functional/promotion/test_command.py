"""``topcoat promote`` as a user calls it: several registries, killed at any point, two at once, and images for several architectures."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tests import schemas
from tests.functional.promotion.base import SetCase
from tests.functional.registry.base import make_image, random_bytes
from tests.functional.registry.faults import Fault
from topcoat.model import labels
from topcoat.promotion import Control, History
from topcoat.promotion.history import HOLD_TYPE
from topcoat.publisher import Publisher
from topcoat.registry import Credentials, RegistryClient, oci
from topcoat.sets.contents import unpack
from topcoat_demo.registry import RegistryServer

KILLS = 12
SECOND_MOVE = 0


class CommandCase(SetCase):
    """A recipe tree of four images and the command."""

    names = ("base", "nova-base", "nova-api", "nova-compute")

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.tree = self.folder / f"tree-{self.space}"
        (self.tree / "openstack").mkdir(parents=True)
        (self.tree / "base.yaml").write_text("base: { from: profile, packages: [bash] }\n")
        (self.tree / "openstack/nova.yaml").write_text(
            "nova-base: { from: base }\n" + "".join(f"{name}: {{ from: nova-base }}\n" for name in self.names[2:])
        )

    def profile(self, host: str, space: str) -> str:
        """A profile for a registry and a namespace; its file."""
        path = self.tree / f"{host.replace(':', '-')}-{space}.yaml"
        path.write_text(
            f"distro: demo\nrelease: '9'\narch: x86_64\nbase: {{ image: {host}/x/y:z, digest: 'sha256:{'0' * 64}' }}\n"
            f"repositories: [{{ id: base, baseurl: 'file:///x' }}]\nregistry: '{host}'\nnamespace: {space}\nreference_tag: floating\n"
        )
        return str(path)

    def words(self, *words: str, host: str = "", authfile: Path | None = None, access: tuple[str, ...] = ()) -> list[str]:
        """The command line of a promotion in the registry of the case, or in another one."""
        command = [sys.executable, "-m", "topcoat", "--recipes", str(self.tree), "--profile", self.profile(host or self.server.host, self.space)]
        command += ["--authfile", str(authfile or self.server.authfile), "--plain-http", self.server.host, *access]
        return [*command, "promote", "--format", "json", *words]

    @staticmethod
    def environment() -> dict[str, str]:
        """That of a user who has set nothing."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))}

    def run_words(self, words: list[str], code: int = 0) -> dict:
        """Run a command; its answer."""
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment())
        self.assertEqual(code, done.returncode, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn(self.server.password, done.stdout + done.stderr)
        return json.loads(done.stdout) if not code else {"error": done.stderr}


class SeveralRegistries(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = self.enterContext(RegistryServer(self.folder / f"other-{self.space}", tls=False))
        accounts = [json.loads(server.authfile.read_text())["auths"] for server in (self.server, self.other)]
        self.authfile = self.folder / f"both-{self.space}.json"
        self.authfile.touch(mode=0o600)
        self.authfile.write_text(json.dumps({"auths": {**accounts[0], **accounts[1]}}))
        self.there = RegistryClient(self.other.host, Credentials.from_authfile(self.other.authfile), plain_http=True)
        self.addCleanup(self.there.close)

    def promote(self, tag: str, *words: str, code: int = 0) -> dict:
        also = ["--also", f"{self.other.host}/mirror"]
        access = ("--plain-http", self.other.host)
        found = self.run_words(self.words("--from", tag, *also, *words, authfile=self.authfile, access=access), code)
        if not code:
            schemas.check("promotion", found)
        return found

    def both(self, tag: str) -> list[dict[str, str | None]]:
        """What the two registries show under a tag."""
        return [self.shown(self.space, tag), {name: self.there.head(f"mirror/{name}", tag) for name in self.names}]

    def test_a_set_is_copied_and_moved_in_both_and_comes_back_in_both(self) -> None:
        one, two = (self.push_set(self.space, tag) for tag in ("one", "two"))
        answer = self.promote("one")
        self.assertEqual(("promoted", 8), (answer["state"], answer["moved"]))
        self.assertEqual([one, one], self.both("floating"))
        for name, digest in one.items():
            self.assertEqual(1, len(self.there.referrers(f"mirror/{name}", digest)), "inventories follow")
        self.assertEqual("unchanged", self.promote("one")["state"])
        self.assertIn("named twice", self.promote("one", "--also", f"{self.other.host}/mirror", code=2)["error"])
        self.assertEqual("would-promote", self.promote("two", "--dry-run")["state"])
        self.assertEqual([one, one], self.both("floating"))
        self.assertEqual("promoted", self.promote("two")["state"])
        self.assertEqual([two, two], self.both("floating"))
        access = ("--plain-http", self.other.host)
        words = self.words("--rollback", "--also", f"{self.other.host}/mirror", authfile=self.authfile, access=access)
        self.assertEqual("rolled-back", self.run_words(words)["state"])
        self.assertEqual([one, one], self.both("floating"))

    def test_a_registry_that_is_away_leaves_the_other_as_it_was(self) -> None:
        one = self.push_set(self.space, "one")
        self.push_set(self.space, "two")
        self.promote("one")
        self.other.stop()
        self.assertIn(self.other.host, self.promote("two", code=3)["error"])
        self.assertEqual(one, self.shown(self.space, "floating"))
        self.other.start()
        self.assertEqual([one, one], self.both("floating"))
        self.assertEqual("promoted", self.promote("two")["state"])

    def test_an_index_survives_with_every_architecture(self) -> None:
        self.push_set(self.space, "one")
        publisher, client = Publisher(self.registries()), self.client()
        name, children = f"{self.space}/nova-api", []
        for architecture in ("amd64", "arm64"):
            image, blobs = make_image(random_bytes(architecture, 1000), architecture=architecture)
            child = publisher.publish(f"{self.server.host}/{name}", image, blobs)
            publisher.attach_inventory(f"{self.server.host}/{name}", child.digest, {"inventory": architecture.encode()})
            manifest = client.manifest(name, child.digest)
            platform = (("architecture", architecture), ("os", "linux"))
            children.append(oci.Descriptor(manifest.media_type, manifest.digest, len(manifest.body), platform=platform))
        index = client.put_manifest(name, "one", oci.index_manifest(children), oci.OCI_INDEX)
        self.assertEqual("promoted", self.promote("one")["state"])
        for reader, path in ((client, name), (self.there, "mirror/nova-api")):
            self.assertEqual(index, reader.head(path, "floating"))
            for child in reader.manifest(path, "floating", cached=False).children:
                manifest = reader.manifest(path, child.digest, cached=False)
                self.assertTrue(all(reader.has_blob(path, blob.digest) for blob in manifest.blobs))
                self.assertEqual(1, len(reader.referrers(path, child.digest)))
        # a child without its inventory is a hole in the set
        client.delete_tag(name, oci.referrers_tag(children[1].digest))
        self.push_set(self.space, "two", tuple(other for other in self.names if other != "nova-api"))
        client.put_manifest(name, "two", client.manifest(name, index).body, oci.OCI_INDEX)
        self.assertIn(children[1].digest, self.promote("two", code=1)["error"])


class Killed(CommandCase):
    def test_killed_at_any_request_and_run_again_the_set_is_whole(self) -> None:
        sets = {tag: self.push_set(self.space, tag) for tag in ("one", "two")}
        proxy = self.proxy()
        options = {"host": proxy.host, "authfile": self.proxied_authfile(proxy), "access": ("--ca-file", str(proxy.ca_file))}
        self.run_words(self.words("--from", "two", "--older", **options))
        proxy.forget()
        self.run_words(self.words("--from", "one", "--older", **options))
        last = len(proxy.seen)
        self.assertGreater(last, 30)
        mixed = 0
        # anywhere, and twice where it hurts: between the first and the second tag that moves
        points = [*random.Random(20261122).sample(range(1, last + 1), KILLS - 2), SECOND_MOVE, SECOND_MOVE]
        for attempt, point in enumerate(points):
            target, old = ("two", "one") if attempt % 2 == 0 else ("one", "two")
            proxy.forget()
            child = subprocess.Popen(
                self.words("--from", target, "--older", **options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment()
            )
            moves = itertools.count(1)

            def kill(request, point=point, child=child, moves=moves, attempt=attempt):  # type: ignore[no-untyped-def]
                is_move = (request.verb, request.target.rpartition("/")[2]) == ("PUT", "floating") and "promotions" not in request.target
                here = is_move and next(moves) == 2 if point == SECOND_MOVE else request.number == point
                if not here:
                    return None
                os.kill(child.pid, signal.SIGKILL)
                # in turn: the registry has never seen the request, or has done it
                return Fault(reset_before=True) if point == SECOND_MOVE or attempt % 4 < 2 else Fault(reset_after=True)

            proxy.rule = kill
            child.wait(60)
            proxy.rule = lambda request: None
            with self.subTest(point=point, target=target, code=child.returncode):
                self.assertIn(child.returncode, (-signal.SIGKILL, 0))
                shown = self.shown(self.space, "floating")
                mixed += shown not in (sets[old], sets[target])
                answer = self.run_words(self.words("--from", target, "--older", **options))
                self.assertIn(answer["state"], ("promoted", "unchanged"))
                self.assertEqual(sets[target], self.shown(self.space, "floating"))
                record = Control(self.client(), self.space).read("floating")
                self.assertEqual((target, sets[target]), (record.source, record.images.as_dict()))
                self.assertIsNone(Control(self.client(), self.space).read("floating.pending"))
        self.assertGreater(mixed, 0, "no kill fell between two moves, so nothing was repaired")


class AtOnce(CommandCase):
    def test_two_commands_at_once_end_with_one_whole_set(self) -> None:
        sets = {tag: self.push_set(self.space, tag) for tag in ("one", "two")}
        words = [self.words("--from", tag, "--older", "--wait", "60") for tag in sets for _ in range(2)]
        children = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment()) for line in words]
        answers = [child.communicate(timeout=120) for child in children]
        self.assertEqual([0] * 4, [child.returncode for child in children], answers)
        states = [json.loads(output)["state"] for output, _errors in answers]
        self.assertLessEqual(2, states.count("promoted"))
        self.assertLessEqual(set(states), {"promoted", "unchanged"})
        record = Control(self.client(), self.space).read("floating")
        self.assertEqual(self.shown(self.space, "floating"), record.images.as_dict())
        self.assertEqual(sets[record.source], record.images.as_dict())
        left = [tag for tag in self.client().tags(f"{self.space}/topcoat-promotions") if ".lock-" in tag]
        self.assertEqual([], left)


class Told(CommandCase):
    def topcoat(self, *words: str, code: int = 0) -> dict | list:
        line = self.words()
        place = line.index("promote")
        return self.run_words([*line[:place], *words, "--format", "json"], code)

    def test_nobody_promotes_to_a_name_that_is_held(self) -> None:
        sets = {tag: self.push_set(self.space, tag) for tag in ("one", "two", "three")}
        self.run_words(self.words("--from", "one"))
        self.run_words(self.words("--from", "two"))
        self.assertFalse(self.topcoat("hold", "floating")["held"])
        self.assertIn("wants a reason", self.topcoat("hold", "floating", " ", code=2)["error"])
        self.topcoat("hold", "floating", "two breaks the deployment")
        for words in (("--from", "three"), ("--from", "three", "--older"), ("--from", "three", "--dry-run")):
            error = self.run_words(self.words(*words), 1)["error"]
            self.assertIn("two breaks the deployment", error)
            self.assertIn("topcoat hold floating --release", error)
        self.assertEqual(sets["two"], self.shown(self.space, "floating"))
        self.assertEqual("rolled-back", self.run_words(self.words("--rollback"))["state"])
        self.assertEqual(sets["one"], self.shown(self.space, "floating"))
        self.topcoat("hold", "floating", "--release")
        self.assertEqual("promoted", self.run_words(self.words("--from", "three"))["state"])
        told = self.topcoat("history", "floating")
        states = [(entry["state"], entry["source"], entry["times"]) for entry in told]
        expected = [("promoted", "three", 1), ("off", "", 1), ("rolled-back", "one", 1), ("held", "three", 2), ("on", "", 1), ("promoted", "two", 1)]
        self.assertEqual([*expected, ("promoted", "one", 1)], states)
        self.assertRegex(told[1]["sentence"], r"^held since \d{4}-\d\d-\d\d \d\d:\d\d UTC: two breaks the deployment$")
        # what is told is no record: a collection and a rollback see the records alone
        self.assertEqual({"floating", "floating.previous"}, set(Control(self.client(), self.space).records()))
        self.assertEqual(("floating",), Control(self.client(), self.space).floating_names())

    def test_a_hold_that_others_wrote_moves_no_cursor(self) -> None:
        history = History(Control(self.client(), self.space))
        hold = {"reason": "\x1b[2J\x9b31m\u202enothing is held", "by": "x\x07y", "time": 1.0}
        history._control.documents.write("floating.hold", HOLD_TYPE, {labels.HOLD: json.dumps(hold)})
        line = [word for word in self.words() if word not in ("--format", "json")]
        said = subprocess.run([*line[: line.index("promote")], "hold", "floating"], capture_output=True, text=True, check=True)
        self.assertIn("nothing is held", said.stdout)
        self.assertTrue(all(map(str.isprintable, said.stdout.splitlines())), said.stdout)

    def test_a_set_of_long_ago_does_not_come_back_unasked(self) -> None:
        for tag in ("one", "two", "three", "four"):
            self.push_set(self.space, tag)
            if tag != "four":
                self.run_words(self.words("--from", tag))
        error = self.run_words(self.words("--from", "one"), 1)["error"]
        self.assertIn("one is older than what floating shows: floating showed it before", error)
        self.assertEqual("older", self.topcoat("history")[0]["state"])
        self.assertEqual("promoted", self.run_words(self.words("--from", "four"))["state"])
        self.assertEqual("promoted", self.run_words(self.words("--from", "one", "--older"))["state"])

    def test_a_name_that_could_be_a_record_is_refused(self) -> None:
        self.push_set(self.space, "one")
        for name in ("floating.hold", "floating.history-1", "floating.lock-x", "floating.previous", "floating.pending", "topcoat-gc.seen", "x" * 100):
            self.assertIn("cannot be promoted to", self.run_words(self.words("--from", "one", "--to", name), 2)["error"])

    def test_what_a_promoted_set_holds_is_written_down_and_damage_of_it_does_no_harm(self) -> None:
        self.push_set(self.space, "one")
        answer = self.run_words(self.words("--from", "one"))
        history = History(Control(self.client(), self.space))
        [entry] = history.newest("floating", 5)
        self.assertEqual(answer["entry"], entry.id)
        self.assertEqual(set(self.names), set(unpack(history.contents(entry.contents.digest))))
        for broken in (b"{}", b"x" * 100):
            history.write(entry, broken)
            self.assertEqual([], self.topcoat("changes", "floating", "one")["packages"])
