"""A tcib tree goes through the same run as our own recipes: built, found unchanged, built again where a gathered file changed."""

from __future__ import annotations

import shutil
import tempfile
import unittest
from pathlib import Path

from tests.functional.runs.site import Site
from tests.needs import needs

BASE = """\
tcib_labels: { maintainer: us, tcib_managed: True }
tcib_envs: { LANG: C.UTF-8 }
tcib_runs: ["echo {{ tcib_distro }}{{ tcib_release }} >/etc/made-for"]
tcib_stopsignal: SIGINT
"""
SERVICE = """\
tcib_gather_files: [greeting.txt]
tcib_actions:
- copy: [greeting.txt, /etc/greeting.txt]
- run: cat /etc/made-for /etc/greeting.txt >/etc/both
tcib_entrypoint: /bin/cat /etc/both
tcib_workdir: /etc
"""


@needs("buildah", "docker-registry", "rpm", "createrepo_c")
class TcibBuilds(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="topcoat-tcib-", ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.site = Site(Path(folder.name))
        self.addCleanup(self.site.close)
        tree = Path(folder.name) / "foreign"
        self.service = tree / "tcib/base/service"
        self.service.mkdir(parents=True)
        (tree / "tcib/base/base.yaml").write_text(BASE)
        (self.service / "service.yaml").write_text(SERVICE)
        (self.service / "greeting.txt").write_text("hello\n")
        shutil.copytree(self.site.tree / "profiles", tree / "profiles")
        self.site.tree = tree

    def test_files_that_a_lookup_gathered_are_copied_by_the_path_that_was_written(self) -> None:
        home = self.service.parent.parent.parent
        (home / "kolla/service").mkdir(parents=True)
        (home / "kolla/service/start.sh").write_text("#!/bin/sh\n")
        there = "/usr/share/elsewhere/container-images/kolla/service"
        (self.service / "service.yaml").write_text(
            f"tcib_gather_files: \"{{{{ lookup('fileglob', '{there}/*', wantlist=True) }}}}\"\n"
            f"tcib_actions:\n- copy: {there}/start.sh /usr/local/bin/start\n- run: chmod 755 /usr/local/bin/start && test -x /usr/local/bin/start\n"
        )
        self.assertEqual(self.build("one").actions(), {"base": "build", "service": "build"})

    def test_an_image_on_a_base_of_its_own(self) -> None:
        other = self.site.base("other", [], config={"Env": ["OTHER=yes"]})
        tool = self.service.parent.parent / "tool"
        tool.mkdir()
        (tool / "tool.yaml").write_text(
            f"tcib_args: {{ BASE: {self.site.server.host}/other, WORD: hello }}\n"
            "tcib_from: $BASE:current-passed-ci\n"
            "tcib_runs: [test $OTHER = yes && echo $WORD >/etc/word]\n"
        )
        self.assertEqual(self.build("one").actions(), {"base": "build", "service": "build", "tool": "build"})
        _, image = self.site.client.image("site/tool", "one")
        self.assertEqual([layer.digest for layer in image.layers][:-1], [layer.digest for layer in other.image.layers])
        self.assertIn("OTHER=yes", image.config["config"]["Env"])
        self.assertEqual(image.labels["org.opencontainers.image.base.digest"], other.digest)
        self.assertEqual(self.build("two").actions()["tool"], "reuse")

    def build(self, tag: str):  # type: ignore[no-untyped-def]
        answer = self.site.topcoat("build", "--tag", tag, "--floating-tag", "current-passed-ci", "--no-coverage")
        self.assertEqual(answer.code, 0, answer.output + answer.errors)
        return answer

    def test_build_reuse_and_a_changed_file(self) -> None:
        first = self.build("one")
        self.assertEqual(first.actions(), {"base": "build", "service": "build"})
        config = self.site.client.image("site/service", "one")[1].config["config"]
        self.assertEqual((config["Entrypoint"], config["StopSignal"]), (["/bin/cat", "/etc/both"], "SIGINT"))
        self.assertIn("io.topcoat.fingerprint", config["Labels"])
        self.assertEqual(config["Labels"]["maintainer"], "us")
        second = self.build("two")
        self.assertEqual(second.actions(), {"base": "reuse", "service": "reuse"})
        self.assertEqual(second.digests(), first.digests())
        (self.service / "greeting.txt").write_text("good morning\n")
        third = self.build("three")
        self.assertEqual(third.actions(), {"base": "reuse", "service": "build"})
        self.assertEqual(third.image("service")["reason"], "file-changed")
