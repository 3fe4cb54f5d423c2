"""``topcoat verify`` on images whose packages bring files to places where mostly leftovers lie."""

from __future__ import annotations

import json

from click.testing import CliRunner

from tests.functional.equality.zoo import volatile
from tests.functional.updater.world import WorldCase
from topcoat.cli import root
from topcoat_demo.rpms import File, RpmSpec, ghost, symlink

PROFILE = """\
variables: {host: null}
distro: demo
release: "9"
arch: x86_64
registry: "${host}"
namespace: ""
base: {image: "x.y/base:1"}
"""


class Owned(WorldCase):
    def leftovers(self, reference: str) -> list[str]:
        place = self.world.path("recipes")
        (place / "profiles").mkdir(parents=True)
        (place / "profiles/site.yaml").write_text(PROFILE)
        access = ["--authfile", str(self.world.server.authfile), "--ca-file", str(self.world.server.ca_file)]
        site = ["--recipes", str(place), "--profile", "site", "--set", f"host={self.world.server.host}"]
        done = CliRunner().invoke(root, [*site, *access, "verify", f"{self.world.server.host}/{reference}", "--format", "json"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        problems = json.loads(done.output)["images"][0]["problems"]
        self.assertEqual(1 if problems else 0, done.exit_code)
        return [problem["sentence"] for problem in problems if problem["code"] == "leftover"]

    def test_what_packages_brought_is_no_leftover(self) -> None:
        linked = RpmSpec("linked", "1", files=(symlink("/opt/scratch", "../var/tmp"),), requires=("filesystem",))
        through = RpmSpec("through", "1", files=(File("/opt/scratch/through", "x"),), requires=("linked",))
        base = self.world.base("owned", [RpmSpec("volatile", "1", files=volatile("x"), requires=("filesystem",)), linked, through])
        self.assertTrue((base.root / "var/tmp/through").is_file())
        self.assertEqual([], self.leftovers("owned:current-passed-ci"))
        update = self.world.repository("update", [RpmSpec("volatile", "2", files=volatile("y"))])
        self.world.publish(self.world.update(base, update), "owned", source="owned")
        self.assertEqual([], self.leftovers("owned:updated"))

    def test_what_nobody_owns_is_one_beside_it(self) -> None:
        tree = self.world.root([RpmSpec("volatile", "1", files=(File("/tmp/owned.txt", "x"), ghost("/var/tmp/ghost")))])
        for path in ("tmp/other.txt", "var/tmp/owned.txt", "var/tmp/ghost", "var/lib/rpm/.rpm.lock"):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text("left")
        self.world.publish_root(tree, "left")
        expected = [
            f"/{path} was left behind by the build" for path in ("tmp/other.txt", "var/lib/rpm/.rpm.lock", "var/tmp/ghost", "var/tmp/owned.txt")
        ]
        self.assertEqual(expected, self.leftovers("left:current-passed-ci"))
