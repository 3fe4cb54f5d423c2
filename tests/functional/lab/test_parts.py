"""The parts of the Zuul lab that need no server."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import yaml

from tests.needs import needs
from topcoat.errors import UsageError
from zuul_lab import gerrit, sandbox, services, zuul
from zuul_lab.layout import REPOSITORY, Places, places_from
from zuul_lab.registry_view import without_epoch
from zuul_lab.scenes import Finished
from zuul_lab.sets_world import base_of_two, sets_world
from zuul_lab.verdict import Verdict


def places_in(folder: Path) -> Places:
    return Places(folder / "cache", folder / "state", folder / "logs")


class Folders(unittest.TestCase):
    def test_arguments_win_over_the_environment_and_that_over_defaults(self):
        found = places_from({"HOME": "/home/a", "TOPCOAT_ZUUL_LAB_LOGS": "/var/l", "TOPCOAT_ZUUL_LAB_STATE": "/var/s"}, state="/var/x")
        self.assertEqual((found.cache, found.state, found.logs), (Path("/home/a/.cache/topcoat/zuul-lab"), Path("/var/x"), Path("/var/l")))


class Preparation(unittest.TestCase):
    def test_the_repositorys_own_list_names_what_the_lab_starts(self):
        listed = subprocess.run([REPOSITORY / "tools/setup-node", "--list", "zuul"], capture_output=True, text=True, check=True).stdout.split()
        needed = {"zookeeper", "postgresql", "maven", "openssh-server", "bubblewrap", "docker-registry", "apache2-utils", "skopeo", "iproute2"}
        self.assertLessEqual(needed, set(listed))

    def test_a_war_that_does_not_exist_is_refused_by_name(self):
        with self.assertRaisesRegex(UsageError, "TOPCOAT_GERRIT_WAR names /nowhere.war"):
            gerrit.war({"TOPCOAT_GERRIT_WAR": "/nowhere.war"})

    def test_a_named_war_is_what_is_started(self):
        with tempfile.NamedTemporaryFile(suffix=".war") as war:
            argv = gerrit.program(places_in(Path("/tmp")), {"TOPCOAT_GERRIT_WAR": war.name})
        self.assertEqual(argv[-2:], ["-jar", war.name])


class Sets(unittest.TestCase):
    def test_the_base_for_two_machines_is_the_same_each_time_and_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = (base_of_two(Path(folder) / name) for name in ("a", "b"))
            self.assertEqual(first, second)
            blobs = Path(folder) / "a/blobs/sha256"
            for path in blobs.iterdir():
                self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
            index = json.loads((blobs / first.partition(":")[2]).read_text())
            self.assertEqual([entry["platform"]["architecture"] for entry in index["manifests"]], ["amd64", "arm64"])
            self.assertTrue(all((blobs / entry["digest"].partition(":")[2]).exists() for entry in index["manifests"]))

    def test_the_pages_examples_are_found_and_carry_the_labs_names(self):
        files = sets_world().site()
        words = {"@NODES@": "[]", "@BASE_VARIABLES@": "{}", "@LOGS@": "/l", "@LOGS_URL@": "http://l"}
        for name, text in files.items():
            for word, value in words.items():
                text = text.replace(word, value)
            yaml.safe_load(text)
            if name.startswith("zuul.d/"):
                self.assertNotRegex(text, r"example\.org|quay\.io|site-x86-64|site-aarch64|openstack/nova", name)


class Site(unittest.TestCase):
    def test_every_file_is_yaml_once_the_names_are_put_in(self):
        words = {"@NODES@": "[]", "@BASE_VARIABLES@": "{}", "@PATTERNS@": "[]", "@REGISTRY@": "r:1", "@LOGS@": "/l", "@LOGS_URL@": "http://l"}
        files = sorted((REPOSITORY / "tools/zuul_lab/site").rglob("*.yaml"))
        self.assertGreater(len(files), 5)
        for path in files:
            text = path.read_text()
            for word, value in words.items():
                text = text.replace(word, value)
            self.assertIsInstance(yaml.safe_load(text), list, path.name)
            self.assertNotRegex(text, "@[A-Z_]+@")


class Orders(unittest.TestCase):
    def test_the_operators_token_is_signed_and_soon_over(self):
        with tempfile.TemporaryDirectory() as folder:
            places = places_in(Path(folder))
            places.etc.mkdir(parents=True)
            (places.etc / "operator.secret").write_text("hush")
            head, body, signature = zuul.Zuul(places)._token().split(".")
        wanted = hmac.new(b"hush", f"{head}.{body}".encode(), hashlib.sha256).digest()
        self.assertEqual(base64.urlsafe_b64decode(signature + "=="), wanted)
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        self.assertEqual(claims["zuul"], {"admin": ["lab"]})
        self.assertLessEqual(claims["exp"] - time.time(), 600)


class Results(unittest.TestCase):
    def test_artifacts_of_images_are_found_by_image(self):
        image = {"type": "container_image", "image": "base", "digest": "sha256:1", "action": "reuse"}
        builds = {
            "container-images-provider": {
                "artifacts": [
                    {"name": "page", "url": "http://x/report.html", "metadata": {"type": "topcoat_report"}},
                    {"name": "demo/base:abc", "url": "docker://10.99.0.12:5000/demo/base:abc", "metadata": image},
                ]
            }
        }
        found = Finished("SUCCESS", builds, "abc").artifacts()
        self.assertEqual(found, {"base": {**image, "host": "10.99.0.12:5000", "path": "demo/base"}})

    def test_an_epoch_is_not_part_of_what_rpm_lists(self):
        self.assertEqual(without_epoch("python3-nova-1:29.0.0-0.1.el9"), "python3-nova-29.0.0-0.1.el9")
        self.assertEqual(without_epoch("python3-nova-29.0.0-0.1.el9"), "python3-nova-29.0.0-0.1.el9")

    def test_one_failure_makes_the_story_fail_and_the_rest_is_still_told(self):
        said = []
        verdict = Verdict(said.append)
        with verdict.scene("first"):
            raise KeyError("digest")
        with verdict.scene("second"):
            verdict.equal("two is two", 2, 2)
        with tempfile.TemporaryDirectory() as folder:
            code = verdict.summary(Path(folder) / "summary.json")
            document = json.loads((Path(folder) / "summary.json").read_text())
        self.assertEqual(code, 1)
        self.assertEqual(said[-1], "1 passed, 1 failed")
        self.assertIn("digest", document["failed"][0]["found"])

    def test_a_story_without_any_check_is_no_success(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(Verdict(lambda line: None).summary(Path(folder) / "summary.json"), 1)


@needs("ip", "nsenter", "unshare", root=True)
class Sandbox(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="topcoat-lab-test-")
        self.addCleanup(folder.cleanup)
        self.places = places_in(Path(folder.name))
        self.places.logs.mkdir()
        self.pid = sandbox.start(self.places)
        self.addCleanup(sandbox.stop, self.places)

    def test_nothing_is_left_of_what_ran_inside(self):
        script = "import subprocess as s; print(s.Popen(['sleep', '300'], start_new_session=True, stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
        inside = subprocess.run(sandbox.argv_inside(self.pid, [sys.executable, "-c", script]), capture_output=True, text=True, check=True)
        self.assertIn("sleep", sandbox.enter(self.places, ["cat", f"/proc/{inside.stdout.strip()}/cmdline"]))
        net = os.readlink(f"/proc/{self.pid}/ns/net")
        self.assertTrue(sandbox.stop(self.places))
        self.assertFalse(self.places.state.exists())
        self.assertEqual([pid for pid in os.listdir("/proc") if pid.isdigit() and self._network_of(pid) == net], [])
        self.assertFalse(sandbox.stop(self.places))

    @staticmethod
    def _network_of(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            return ""

    def test_the_network_is_empty_but_for_loopback_and_names_lead_there(self):
        links = sandbox.enter(self.places, ["ip", "-brief", "link"]).splitlines()
        self.assertEqual([line.split()[0] for line in links], ["lo"])
        self.assertIn("127.0.0.1", sandbox.enter(self.places, ["getent", "hosts", "zuul.topcoat.test"]))

    def test_a_second_lab_in_the_same_folder_is_refused(self):
        with self.assertRaisesRegex(UsageError, "a lab runs already"):
            sandbox.start(self.places)


class Waiting(unittest.TestCase):
    def test_a_service_that_ends_is_reported_with_its_last_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            places = places_in(Path(folder))
            places.state.mkdir()
            service = services.start(places, "short", ["sh", "-c", "echo the key is missing; exit 1"])
            with self.assertRaisesRegex(Exception, "short ended before it answers: the key is missing"):
                services.wait_until("it answers", lambda: False, timeout=60, service=service)


if __name__ == "__main__":
    unittest.main()
