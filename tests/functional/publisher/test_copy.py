"""``topcoat copy`` between two registries: what is missing travels, once, also after a run that was cut off."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.parse

import yaml

from tests.functional.registry.base import ProxyCase, make_image, random_bytes
from tests.functional.registry.faults import Fault, FaultProxy
from topcoat.publisher import Publisher
from topcoat.registry import Credentials, RegistryClient, digest_of, oci
from topcoat_demo.registry import RegistryServer

SHARED = 2_000_000
OWN = 1_200_000
IMAGES = 12
"""So many that enough is left to be cut off after the runs that were cut off before, however many uploads were on their way."""


class Copies(ProxyCase):
    """A source registry with a set on one base, and an external image for two architectures; an empty target behind a proxy."""

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        publisher = Publisher(self.registries())
        self.base = random_bytes("base", SHARED)
        self.digests = {}
        for number in range(IMAGES):
            image, blobs = make_image(self.base, random_bytes((self.space, number), OWN))
            name = f"{self.server.host}/{self.space}/image-{number}"
            self.digests[f"image-{number}"] = publisher.publish(name, image, blobs, ["hash-1"]).digest
            publisher.attach_inventory(name, self.digests[f"image-{number}"], {"inventory": b"x"})
        children = []
        for architecture in ("amd64", "arm64"):
            image, blobs = make_image(random_bytes((self.space, architecture), OWN), architecture=architecture)
            child = publisher.publish(f"{self.server.host}/vendor-{self.space}/daemon", image, blobs)
            children.append(oci.Descriptor(oci.OCI_MANIFEST, child.digest, 1, platform=(("architecture", architecture), ("os", "linux"))))
        body = oci.index_manifest(children)
        self.digests["daemon"] = self.client().put_manifest(f"vendor-{self.space}/daemon", "v7", body, oci.OCI_INDEX)

        self.target = self.enterContext(RegistryServer(self.folder / f"target-{self.space}", tls=False))
        self.spoiler = self.enterContext(FaultProxy(self.target.host, self.folder))
        there = json.loads(self.target.authfile.read_text())["auths"][self.target.host]
        accounts = {**json.loads(self.server.authfile.read_text())["auths"], self.spoiler.host: there}
        self.authfile = self.folder / f"auth-{self.space}.json"
        self.authfile.touch(mode=0o600)
        self.authfile.write_text(json.dumps({"auths": accounts}))
        self.list = self.folder / f"list-{self.space}.yaml"
        rows = [
            {"reference": f"{self.server.host}/{self.space}/image-{number}@{self.digests[f'image-{number}']}", "tag": "hash-1"}
            for number in range(IMAGES)
        ]
        rows.append({"reference": f"{self.server.host}/vendor-{self.space}/daemon:v7", "tag": "v7", "external": True})
        self.list.write_text(yaml.safe_dump({"images": rows}))
        self.there = RegistryClient(self.target.host, Credentials.from_authfile(self.target.authfile), plain_http=True)
        self.addCleanup(self.there.close)

    def words(self, *words: str) -> list[str]:
        command = [sys.executable, "-m", "topcoat", "--authfile", str(self.authfile), "--ca-file", str(self.spoiler.ca_file)]
        command += ["--plain-http", self.server.host, "copy", "--to", f"{self.spoiler.host}/mirror", "--format", "json"]
        return [*command, *(words or ("--list", str(self.list)))]

    def copy(self, *words: str, code: int = 0) -> list[dict]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))}
        done = subprocess.run(self.words(*words), capture_output=True, text=True, env=plain)
        self.assertEqual(code, done.returncode, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return json.loads(done.stdout) if not code else []

    def sent(self) -> list[str]:
        """Digests of the blobs whose bytes were sent since the last ``forget``."""
        puts = [
            urllib.parse.urlsplit(request.target) for request in self.spoiler.seen if request.verb == "PUT" and "/blobs/uploads/" in request.target
        ]
        return [urllib.parse.parse_qs(parts.query)["digest"][0] for parts in puts]

    def stored(self) -> set[str]:
        """Blobs that the target registry keeps."""
        return self.target.stored_blobs()

    def check(self) -> None:
        """The target holds everything, whole."""
        for name, digest in self.digests.items():
            tag = "v7" if name == "daemon" else "hash-1"
            self.assertEqual(digest, self.there.head(f"mirror/{name}", tag))
            top = self.there.manifest(f"mirror/{name}", digest)
            for manifest in (top, *(self.there.manifest(f"mirror/{name}", child.digest) for child in top.children)):
                self.assertTrue(all(self.there.has_blob(f"mirror/{name}", blob.digest) for blob in manifest.blobs))
            if name != "daemon":
                self.assertEqual(1, len(self.there.referrers(f"mirror/{name}", digest)), "the inventory follows")

    def test_each_blob_travels_once_and_the_second_run_sends_nothing(self) -> None:
        rows = self.copy()
        self.check()
        sent = self.sent()
        self.assertEqual(len(sent), len(set(sent)))
        self.assertEqual(IMAGES - 1, sum(row["bytes_mounted"] for row in rows) // SHARED, "the base is mounted for all but the first")
        self.spoiler.forget()
        again = self.copy()
        self.assertEqual({True}, {row["unchanged"] for row in again})
        self.assertEqual([], self.sent())
        self.assertEqual({"GET", "HEAD"}, {request.verb for request in self.spoiler.seen})

    def test_a_new_image_on_the_same_base_brings_its_own_layer_alone(self) -> None:
        self.copy()
        image, blobs = make_image(self.base, random_bytes("new", OWN))
        name = f"{self.server.host}/{self.space}/image-new"
        self.digests["image-new"] = Publisher(self.registries()).publish(name, image, blobs, ["hash-1"]).digest
        Publisher(self.registries()).attach_inventory(name, self.digests["image-new"], {"inventory": b"x"})
        rows = yaml.safe_load(self.list.read_text())["images"]
        self.list.write_text(yaml.safe_dump({"images": [{"reference": f"{name}:hash-1"}, *rows]}))
        self.spoiler.forget()
        self.copy()
        self.check()
        self.assertNotIn(digest_of(self.base), self.sent())
        self.assertIn(digest_of(random_bytes("new", OWN)), self.sent())

    def test_a_missing_image_is_told_before_anything_travels(self) -> None:
        self.copy(f"{self.server.host}/{self.space}/image-0:hash-1", f"{self.server.host}/{self.space}/nowhere:hash-1", code=1)
        self.assertEqual([], self.sent())

    def test_killed_while_layers_travel_and_run_again_sends_only_the_rest(self) -> None:
        for kill_at in (1, 2, 4):
            uploads = itertools.count(1)
            child = subprocess.Popen(self.words(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

            def kill(request, kill_at=kill_at, uploads=uploads, child=child):  # type: ignore[no-untyped-def]
                if request.verb == "PUT" and request.body_size >= OWN and next(uploads) == kill_at:
                    os.kill(child.pid, signal.SIGKILL)
                    return Fault(reset_after=True)  # the registry has it, nobody was told
                return None

            self.spoiler.rule = kill
            self.assertEqual(-signal.SIGKILL, child.wait(60))
            self.spoiler.rule = lambda request: None
        before = self.stored()
        self.assertIn(digest_of(self.base), before)
        self.assertGreaterEqual(sum(digest_of(random_bytes((self.space, number), OWN)) in before for number in range(IMAGES)), 1)
        self.spoiler.forget()
        self.copy()
        self.check()
        large = {digest_of(self.base), *(digest_of(random_bytes((self.space, number), OWN)) for number in range(IMAGES))}
        self.assertEqual([], [digest for digest in self.sent() if digest in large & before])
