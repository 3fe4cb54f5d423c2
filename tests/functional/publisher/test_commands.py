"""``topcoat discover``, ``copy``, ``gc`` and ``base`` as a user calls them, against a real registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import yaml

from tests import schemas
from tests.functional.promotion.base import SetCase
from tests.functional.promotion.test_base_image import GOOD, layer
from tests.functional.registry.base import make_image
from topcoat.publisher import Publisher

HASH = "1" * 40 + "_22222222"


class Commands(SetCase):
    names = ("base", "nova-api")

    def setUp(self) -> None:
        self.space = self.id().rsplit(".", 1)[-1].replace("_", "-").lower()
        self.digests = self.push_set(self.space, HASH)
        self.tree = self.folder / self.space
        for folder in ("openstack", "profiles", "lists"):
            (self.tree / folder).mkdir(parents=True)
        (self.tree / "base.yaml").write_text("base: { from: profile, packages: [bash] }\n")
        (self.tree / "openstack/nova.yaml").write_text("nova-api: { from: base, packages: [nova], entrypoint: [/bin/nova] }\n")
        (self.tree / "lists/deploy.yaml").write_text(
            "images:\n  - { image: nova-api, parameters: [NovaApiImage], services: [NovaApi] }\n"
            "external:\n  - { reference: 'quay.invalid/ceph/daemon:v1', parameters: [CephImage] }\n"
        )
        self.write_profile(f"image: '{self.server.host}/{self.space}/base:{HASH}'")

    def write_profile(self, base: str, digest: str = "''") -> None:
        """Write the profile; ``base`` is what it says about the base image beside its digest."""
        (self.tree / "profiles/test.yaml").write_text(
            f"variables:\n  base_digest: {digest}  # tested\ndistro: demo\nrelease: '9'\narch: x86_64\n"
            f"base: {{ {base}, digest: '${{base_digest}}' }}\nrepositories: [{{ id: base, baseurl: 'file:///x' }}]\n"
            f"registry: '{self.server.host}'\nnamespace: {self.space}\nreference_tag: passed\n"
        )

    def topcoat(self, *words: str, code: int = 0) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "topcoat", "--recipes", str(self.tree), "--profile", "test", "--authfile", str(self.server.authfile)]
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOPCOAT_", "REGISTRY_AUTH"))}
        done = subprocess.run([*command, "--plain-http", self.server.host, *words], capture_output=True, text=True, env=plain)
        self.assertEqual(code, done.returncode, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn(self.server.password, done.stdout + done.stderr)
        return done

    def test_discover_writes_list_and_environment(self) -> None:
        output, environment = self.tree / "out/images.yaml", self.tree / "out/environment.yaml"
        self.topcoat("promote", "--from", HASH)
        self.topcoat("discover", "--hash", "--output", str(output), "--environment", str(environment))
        pinned = f"{self.server.host}/{self.space}/nova-api@{self.digests['nova-api']}"
        expected = {"parameter_defaults": {"CephImage": "quay.invalid/ceph/daemon:v1", "NovaApiImage": pinned}}
        self.assertEqual(expected, yaml.safe_load(environment.read_text()))
        listed = yaml.safe_load(output.read_text())
        schemas.check("discovered", listed)
        row = listed["images"][0]
        self.assertEqual((HASH, "record"), (row["tag"], row["found_by"]))
        # the list is what copy reads
        (self.tree / "only.yaml").write_text(yaml.safe_dump({"images": [row]}))
        self.topcoat("copy", "--to", f"{self.server.host}/mirror", "--list", str(self.tree / "only.yaml"))
        self.assertEqual(self.digests["nova-api"], self.client().head("mirror/nova-api", HASH))
        again = json.loads(
            self.topcoat("copy", "--to", f"{self.server.host}/mirror", "--list", str(self.tree / "only.yaml"), "--format", "json").stdout
        )
        self.assertEqual([True], [entry["unchanged"] for entry in again])

    def test_a_missing_image_is_an_error_unless_it_may_be_left_out(self) -> None:
        self.assertIn("nova-api", self.topcoat("discover", "--tag", "other", code=1).stderr)
        done = self.topcoat("discover", "--tag", "other", "--present-only")
        self.assertIn("left out", done.stderr)
        self.assertNotIn("nova-api", done.stdout)
        self.topcoat("discover", "--include", "nothing", code=2)
        self.topcoat("discover", "--include", "(", code=2)
        self.topcoat("discover", "--hash", "--stable", code=2)

    def test_gc_changes_nothing_unless_told(self) -> None:
        self.push_set(self.space, "closed")
        words = ("gc", "--older-than", "0", "--keep-newest", "0", "--keep-tag", HASH)
        self.assertIn(f"would remove {self.space}/nova-api:closed", self.topcoat(*words).stdout)
        self.assertIn("closed", self.client().tags(f"{self.space}/nova-api"))
        self.assertIn("all", self.topcoat(*words, "--delete").stdout)
        tags = {tag for tag in self.client().tags(f"{self.space}/nova-api") if not tag.startswith("sha256-")}
        self.assertEqual({HASH}, tags)
        self.topcoat(*words, "--delete", "--dry-run", code=2)
        self.topcoat("gc", "--older-than", "-1", code=2)

    def test_a_base_without_a_shell_is_never_pinned(self) -> None:
        profile = self.tree / "profiles/test.yaml"
        before = profile.read_text()
        self.topcoat("base", "--write", code=1)
        self.assertEqual(before, profile.read_text())

    def git(self, *words: str) -> str:
        return subprocess.run(["git", "-C", str(self.tree), *words], check=True, capture_output=True, text=True).stdout.strip()

    def push_base(self, tag: str, filler: int) -> str:
        """A base as upstream would publish it."""
        data = layer(*GOOD, filler=filler)
        image, blobs = make_image(data)
        return Publisher(self.registries()).publish(f"{self.server.host}/upstream/{self.space}", image, blobs, [tag]).digest

    def test_a_new_base_is_mirrored_and_committed_and_builds_start_from_the_mirror(self) -> None:
        old, mirror = self.push_base("stream", 5000), f"{self.server.host}/{self.space}/mirrored"
        self.write_profile(f"image: '{self.server.host}/upstream/{self.space}:stream', mirror: '{mirror}'", old)
        for words in (("init", "-q"), ("add", "-A"), ("-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "-m", "site")):
            self.git(*words)
        before = self.git("rev-parse", "HEAD")

        self.assertIn("as pinned", self.topcoat("base", "--commit").stdout)
        self.assertEqual(before, self.git("rev-parse", "HEAD"), "nothing newer, nothing committed")
        self.assertEqual(old, self.client().head(f"{self.space}/mirrored", old), "the base in use cannot vanish either")
        self.assertIn(f"FROM {mirror}@{old}", self.topcoat("render", "^base$").stdout)

        new = self.push_base("stream", 5001)
        self.assertIn(new, self.topcoat("base", "--commit", "--dry-run").stdout)
        self.assertEqual((before, ""), (self.git("rev-parse", "HEAD"), self.git("status", "--porcelain")))
        answer = json.loads(self.topcoat("base", "--commit", "--format", "json").stdout)
        self.assertEqual((old, new, True), (answer["pinned"], answer["newest"], answer["changed"]))
        self.assertEqual("", self.git("status", "--porcelain"))
        changed = [line for line in self.git("show", "--format=", "--unified=0", "HEAD").splitlines() if line[:2] in ("- ", "+ ")]
        self.assertEqual([f"-  base_digest: {old}  # tested", f'+  base_digest: "{new}"  # tested'], changed)
        self.assertIn(new, self.git("log", "-1", "--format=%B"))
        self.client().delete_manifest(f"upstream/{self.space}", new)
        self.assertIn(f"FROM {mirror}@{new}", self.topcoat("render", "^base$").stdout)
        self.assertEqual(new, self.client().head(f"{self.space}/mirrored", new), "what upstream removed is still there")

    def test_zuul_artifacts_are_copied_by_digest(self) -> None:
        name = f"{self.server.host}/{self.space}/nova-api"
        metadata = {"type": "container_image", "repository": "nova-api", "tag": HASH, "digest": self.digests["nova-api"]}
        artifacts = [{"name": "nova-api", "url": f"docker://{name}:{HASH}", "metadata": metadata}]
        (self.tree / "artifacts.json").write_text(json.dumps(artifacts))
        self.topcoat("copy", "--artifacts", str(self.tree / "artifacts.json"), "--to", f"{self.server.host}/site", "--tag", "review-1")
        self.assertEqual(self.digests["nova-api"], self.client().head("site/nova-api", "review-1"))
        self.topcoat("copy", "--to", f"{self.server.host}/site", code=2)
