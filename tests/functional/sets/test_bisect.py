"""``topcoat bisect``: forty packages changed, one of them is guilty; each step is a set of real images with a layer each."""

from __future__ import annotations

import json
import shlex
import shutil

from tests import schemas
from tests.functional.runs.site import packages
from tests.functional.runs.test_main_job import SiteTest
from tests.functional.sets.test_changes import OLD
from topcoat_demo.rpms import RpmSpec, make_repository, script

NAMES = [f"lib{number:02}" for number in range(40)]
RECIPES = f"""\
base:
  from: profile
  packages: [basetool]

app:
  from: base
  packages: [python3-oslo, {", ".join(NAMES)}]
  entrypoint: [/usr/bin/app]

other:
  from: base
  packages: [lib17, lib18]
"""
GUILTY = "lib17"
MEND = (1_710_000_000, "An Author <a@example.org> - 1.1-1", "- quicker, change 871234")


def libraries(version: str) -> list[RpmSpec]:
    """The packages; of version 1.1 two go only together."""
    found = []
    for name in NAMES:
        needs = {"lib20": ("lib21 = 1.1",), "lib21": ("lib20 = 1.1",)}.get(name, ()) if version == "1.1" else ()
        changelog = {"1.0": (OLD,), "1.1": (MEND, OLD)}[version] if name == GUILTY else ()
        found.append(RpmSpec(name, version, files=(script(f"/usr/lib/{name}", f"echo {version}"),), requires=needs, changelog=changelog))
    return found


class Bisect(SiteTest):
    """The good set is one whose images were updated: their layer must be kept."""

    def setUp(self):
        super().setUp()
        self.site.write_recipes(RECIPES)
        self.publish_packages("1.0", "1.0")
        self.succeed("build", "--tag", "one", "--floating-tag", "current-passed-ci")
        self.publish_packages("1.0", "1.1")
        self.succeed("build", "--tag", "good", "--floating-tag", "current-passed-ci")
        self.publish_packages("1.1", "1.1")
        self.succeed("build", "--tag", "bad", "--floating-tag", "current-passed-ci")

    def publish_packages(self, version, oslo):
        make_repository(
            self.site.current, [*libraries(version), *(spec for spec in packages(oslo=oslo) if spec.name in ("basetool", "python3-oslo"))]
        )

    def judge(self, words, *, counted=True):
        """A command that looks into the set's own image; each call leaves a line."""
        path = self.site.directory / "judge"
        asked = shlex.join(self.site.command("inventory"))
        count = f"echo $TOPCOAT_TAG >> {self.site.directory}/asked\n" if counted else ""
        path.write_text(
            f'#!/bin/sh\n{count}{asked} "$TOPCOAT_REGISTRY/$TOPCOAT_NAMESPACE/app:$TOPCOAT_TAG" > {self.site.directory}/list || exit 125\n{words}\n'
        )
        path.chmod(0o755)
        return str(path)

    def asked(self):
        return (self.site.directory / "asked").read_text().split()

    def test_the_guilty_one_of_forty_is_named_in_seven_steps_and_what_was_broken_off_goes_on(self):
        command = self.judge(f"! grep -q {GUILTY}-1.1 {self.site.directory}/list")
        # the first two steps, then a command that cannot be run any more
        page = self.site.directory / "bisect.html"
        words = ("bisect", "--good", "good", "--bad", "bad", "--run", command, "--html", str(page), "--format", "json")
        broken = self.judge(f"[ $(wc -l < {self.site.directory}/asked) -le 2 ] || kill -9 $PPID; ! grep -q {GUILTY}-1.1 {self.site.directory}/list")
        self.assertEqual(command, broken)
        self.assertNotEqual(0, self.site.topcoat(*words).code)
        self.assertEqual(3, len(self.asked()))
        self.judge(f"! grep -q {GUILTY}-1.1 {self.site.directory}/list")
        found = json.loads(self.succeed(*words).output)
        schemas.check("bisect", found)
        self.assertEqual([GUILTY], [row["source"] for row in found["guilty"]])
        self.assertEqual("lib17 1.0-1.el9 → 1.1-1.el9 is guilty, alone on the good set.", found["sentence"])
        self.assertEqual(40, found["changed"])
        self.assertLessEqual(len(found["steps"]), 7)
        # the step that was killed is the only one that was made twice
        self.assertEqual(len(found["steps"]) + 1, len(self.asked()))
        self.assertEqual([MEND[2]], [entry["text"] for entry in found["guilty"][0]["changelog"]])
        text = page.read_text()
        self.assertIn("change 871234", text)
        self.assertIn("lib17 1.0-1.el9 → 1.1-1.el9 is guilty", text)
        self.steps(found["steps"])
        # a third time nothing is tried, though nothing of it is left on this machine
        shutil.rmtree(self.site.directory / "work")
        count = len(self.asked())
        self.assertEqual(found["guilty"], json.loads(self.succeed(*words).output)["guilty"])
        self.assertEqual(count, len(self.asked()))

    def steps(self, steps):
        """Every step is the good set and what was applied, nothing else."""
        for step in steps:
            listed = self.succeed("inventory", f"{self.site.server.host}/site/app:{step['tag']}").output.split()
            new = {line.rsplit("-", 2)[0] for line in listed if line.startswith("lib") and "-1.1-" in line}
            self.assertEqual(set(step["applied"]), new)
            self.assertIn("python3-oslo-1.1-1.el9.noarch", listed)
            self.assertEqual("lib20" in new, "lib21" in new)

    def test_what_is_not_the_packages_fault_is_said(self):
        found = json.loads(self.succeed("bisect", "--good", "good", "--bad", "bad", "--run", "true", "--format", "json").output)
        self.assertIn("No step was bad", found["sentence"])
        self.assertEqual([], found["guilty"])
        self.fail_with(1, "no package differs", "bisect", "--good", "good", "--bad", "good", "--run", "true")
        for path in self.site.current.glob("lib*-1.1-*.rpm"):
            path.unlink()
        self.publish_packages("1.0", "1.1")
        self.fail_with(1, "are in no repository", "bisect", "--good", "good", "--bad", "bad", "--run", "false")
        kept = make_repository(self.site.directory / "kept", libraries("1.1"))
        self.site.write_recipes(RECIPES.replace("/usr/bin/app", "/usr/bin/App"))
        words = ("bisect", "--good", "good", "--bad", "bad", "--run", "false", "--packages", str(kept))
        self.fail_with(2, "the recipes are not those of the good set", *words)
