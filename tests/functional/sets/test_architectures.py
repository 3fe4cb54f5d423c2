"""Two architectures from profile to promotion: each by its own run, joined, promoted and collected as one set, and read by other people's tools."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.functional.runs.site import Site
from tests.functional.runs.test_given import ORDINARY
from tests.functional.runs.test_main_job import SiteTest
from tests.functional.updater.world import World, rpm
from topcoat.model import ImageRepository
from topcoat.registry import Image
from topcoat.registry.oci import OCI_INDEX, index_manifest
from topcoat.sets.index import describe
from topcoat_demo.rpms import File, RpmSpec, make_repository

RECIPES = """\
base:
  from: profile
  packages: [basetool]

tool:
  from: base
  packages: [tool]
  entrypoint: [/usr/bin/tool]

only-arm:
  from: base
  when: { arch: aarch64 }
  packages: [armtool]
"""
ARCHITECTURES = ("x86_64", "aarch64")


def specs(version: str, arch: str) -> list[RpmSpec]:
    """The packages of one architecture; those of another machine have no scriptlets, and none that this one would run."""
    return [
        RpmSpec("basetool", "1", files=(File("/usr/share/basetool", "1"),)),
        RpmSpec("tool", version, arch="noarch" if version == "1" else arch, files=(File("/usr/bin/tool", f"{version} {arch}"),)),
        RpmSpec("armtool", "1", files=(File("/usr/share/armtool", "1"),)),
    ]


class TwoArchitectures(SiteTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Site.RECIPES, before = RECIPES, Site.RECIPES
        try:
            self.site = Site(Path(folder.name))
        finally:
            Site.RECIPES = before
        self.addCleanup(self.site.close)
        tiny, here = self.site.tiny, ImageRepository(self.site.server.host, "tiny")
        other = Image({**tiny.image.config, "architecture": "arm64"}, tiny.image.layers)
        self.site.publisher.publish(here, other, {layer.digest: here for layer in other.layers}, ["arm"])
        entries = [describe(*self.site.client.image("tiny", target), arch) for arch, target in zip(ARCHITECTURES, (tiny.digest, "arm"), strict=True)]
        self.site.tiny.digest = self.site.client.put_manifest("tiny", "9", index_manifest(entries), OCI_INDEX)
        self.repositories("1")
        self.profile()

    def repositories(self, version: str) -> None:
        for arch in ARCHITECTURES:
            make_repository(self.site.path("repository"), specs(version, arch)).rename(self.site.directory / f"{arch}-{version}")

    def profile(self, version: str = "1", missing: str = "fail") -> None:
        """The site takes one state of the repositories."""
        place = f"{self.site.directory.as_uri()}/${{arch}}-{version}"
        self.site.write_profile(repositories=[{"id": "current", "baseurl": place}], architectures=["x86_64", {"arch": "aarch64", "missing": missing}])

    def build(self, arch: str, tag: str, *words: str) -> dict:
        return self.succeed("build", "--tag", tag, *words, work=f"work-{arch}", environment={"TOPCOAT_ARCH": arch}).receipt

    def platforms(self, name: str, tag: str) -> dict[str, str]:
        """An index as skopeo reads it: architecture -> digest, in its order."""
        document = json.loads(self.tool("skopeo", "inspect", "--raw", f"docker://{self.site.server.host}/site/{name}:{tag}"))
        return {entry["platform"]["architecture"]: entry["digest"] for entry in document["manifests"]}

    def tool(self, *words: str) -> str:
        """What a tool of others prints that is told of the registry by the surroundings that all of its kind read."""
        place = self.site.directory / "containers"
        if not place.exists():
            place.mkdir()
            (place / "auth.json").write_text(self.site.server.authfile.read_text())  # podman 4.3 reads no other for this
        access = {"XDG_RUNTIME_DIR": str(self.site.directory), "SSL_CERT_FILE": str(self.site.server.ca_file)}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **access})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def index(self, tag: str) -> tuple[dict, str]:
        """Join, as nobody in particular: (result, what was said)."""
        command = [*ORDINARY, *self.site.command("index", "--tag", tag, "--format", "json", work="given")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.site.directory)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout), done.stderr

    def rename(self) -> None:
        """Write a list by which the image tool was called implement before."""
        (self.site.tree / "lists").mkdir()
        images = [{"image": name, "parameters": [f"{name.title()}Image"]} for name in ("base", "tool")]
        aliases = [{"name": "implement", "image": "tool", "until": "2999-12-31"}]
        (self.site.tree / "lists/deploy.yaml").write_text(json.dumps({"images": images, "aliases": aliases}))

    def require_old_name(self, tag: str, digests: dict[str, str]) -> None:
        """The old name shows the same index as the new one under a tag, each image is there whole, and what is attached to it."""
        client = self.site.client
        self.assertEqual(client.head("site/implement", tag), client.head("site/tool", tag))
        self.assertEqual(list(self.platforms("implement", tag).values()), list(digests.values()))
        for digest in digests.values():
            for blob in client.manifest("site/implement", digest, cached=False).blobs:
                self.assertEqual(client.blob_problem("site/implement", blob), "")
            self.assertTrue(client.referrers("site/implement", digest))

    def test_the_life_of_a_set_of_two_architectures(self):
        client = self.site.client
        self.rename()
        first = {"x86_64": self.build("x86_64", "t1")}
        self.fail_with(1, "t1 is not made: aarch64: no run of it has finished t1-aarch64", "index", "--tag", "t1")
        self.assertIsNone(client.head("site/tool", "t1"))
        first["aarch64"] = self.build("aarch64", "t1")
        joined, _ = self.index("t1")
        self.assertEqual((joined["notes"], joined["skew"]), ([], []))
        made = {arch: {image["name"]: image["digest"] for image in receipt["images"]} for arch, receipt in first.items()}
        for name in ("base", "tool"):
            self.assertEqual(list(self.platforms(name, "t1").items()), [("amd64", made["x86_64"][name]), ("arm64", made["aarch64"][name])])
        self.assertEqual(self.platforms("only-arm", "t1"), {"arm64": made["aarch64"]["only-arm"]})
        seen = json.loads(self.tool("podman", "manifest", "inspect", f"{self.site.server.host}/site/tool:t1"))
        self.assertEqual([entry["platform"]["architecture"] for entry in seen["manifests"]], ["amd64", "arm64"])
        seen = json.loads(self.tool("skopeo", "inspect", "--override-arch", "arm64", f"docker://{self.site.server.host}/site/tool:t1"))
        self.assertEqual((seen["Architecture"], seen["Labels"]["io.topcoat.image"]), ("arm64", "tool"))
        self.succeed("promote", "--from", "t1", "--to", "current-passed-ci")
        self.assertEqual(client.head("site/only-arm", "current-passed-ci"), client.head("site/only-arm", "t1"))
        tools = {arch: made[arch]["tool"] for arch in ARCHITECTURES}
        for tag in ("t1", "current-passed-ci"):
            self.require_old_name(tag, tools)
        environment = self.site.directory / "environment.yaml"
        self.succeed("discover", "--output", str(self.site.directory / "found.yaml"), "--environment", str(environment))
        self.assertIn(f"site/tool@{client.head('site/tool', 't1')}", environment.read_text())

        # The slow architecture does not hold the fast one up; what only it has stays what it was.
        self.repositories("2")
        self.profile("2", missing="late")
        second = {"x86_64": self.build("x86_64", "t2")}
        (line,) = [image for image in second["x86_64"]["images"] if image["name"] == "tool"]
        self.assertEqual((line["action"], line["base_digest"]), ("update", made["x86_64"]["tool"]))
        joined, _ = self.index("t2")
        self.assertIn("aarch64 is missing in 2 images, because no run of it has finished t2-aarch64", joined["notes"])
        self.assertEqual(self.platforms("tool", "t2"), {"amd64": line["digest"]})
        self.assertEqual(client.head("site/only-arm", "t2"), client.head("site/only-arm", "t1"))
        self.profile("2", missing="carry")
        joined, _ = self.index("t2")
        self.assertEqual(self.platforms("tool", "t2"), {"amd64": line["digest"], "arm64": made["aarch64"]["tool"]})
        self.assertEqual(joined["skew"], ["tool is 2-1.el9 for x86_64, 1-1.el9 for aarch64, in image tool"])

        # Another machine's packages, on this one.
        second["aarch64"] = self.build("aarch64", "t2", "--update-way", "auto")
        (line,) = [image for image in second["aarch64"]["images"] if image["name"] == "tool"]
        self.assertEqual((line["method"], line["base_digest"]), ("composed", made["aarch64"]["tool"]))
        joined, said = self.index("t2")
        self.assertEqual((joined["notes"], joined["skew"]), ([], []))
        self.assertIn("1 of 3 indexes are new", said)
        self.assertEqual(client.head("site/base", "t2"), client.head("site/base", "t1"))
        arm = self.platforms("tool", "t2")["arm64"]
        with World.tree(self.site, "site/tool", arm) as root:
            self.assertEqual((root / "usr/bin/tool").read_text(), "2 aarch64")
            self.assertIn("tool-2-1.el9.aarch64", rpm(root, "-qa").split())
        self.succeed("promote", "--from", "t2", "--to", "current-passed-ci")

        # Of what was promoted every image stays, with what lies below its update and what is attached to it; tags of runs go.
        self.succeed("gc", "--older-than", "0", "--keep-newest", "0", "--delete")
        self.assertEqual({tag for tag in self.tags("tool") if tag.startswith("t")}, {"t1", "t2"})
        for name, digest in (("tool", arm), ("tool", made["aarch64"]["tool"]), ("only-arm", made["aarch64"]["only-arm"])):
            self.assertEqual(client.head(f"site/{name}", digest), digest)
            self.assertTrue(client.referrers(f"site/{name}", digest))
        shown = self.succeed("--arch", "aarch64", "changes", "current-passed-ci.previous", "current-passed-ci", "--format", "json")
        self.assertEqual([(row["source"], row["kind"]) for row in json.loads(shown.output)["packages"]], [("tool", "updated")])

        # The old name went the whole way: it moved with the set, nothing that it needs was collected, and it goes back with the set.
        self.require_old_name("current-passed-ci", self.platforms("tool", "t2"))
        self.assertEqual({tag for tag in self.tags("implement") if tag.startswith("t")}, {"t1", "t2"})
        self.succeed("promote", "--rollback", "--to", "current-passed-ci")
        self.require_old_name("current-passed-ci", tools)
